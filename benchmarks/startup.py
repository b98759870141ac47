"""Seconds until a command answers: medians over fresh processes, timed in turns with a bare start of Python.

`distill model info` reads a model of about 100 MB, made for this in a temporary folder; `read_manifest` is the reading
alone, within a process. The commands that use a model take one of a single block and 1 s of sound.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import interleave, make_audible
from distill.artifact.architecture import PriorArchitecture
from distill.artifact.lineage import Environment, Lineage
from distill.artifact.manifest import Manifest
from distill.artifact.model_file import read_manifest, write_model
from distill.configs import SpectrogramConfig, VQVAEConfig
from distill.models.health import health_of_counts
from distill.models.prior import CodePrior
from distill.models.vqvae import ConvVQVAE
from output import Report, parser

import torch


def main() -> None:
    options = parser(__doc__, rounds=15)
    options.add_argument("--layers", type=int, default=8, help="blocks of the model's prior: 8 make about 100 MB")
    args = options.parse_args()
    rounds = 2 if args.quick else args.rounds
    report = Report(args)
    distill = Path(sys.executable).with_name("distill")
    command = [str(distill)] if distill.exists() else [sys.executable, "-m", "distill"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.distill"
        write_example(path, layers=1 if args.quick else args.layers)
        small, sound, grid = (str(Path(folder) / name) for name in ("small.distill", "small_0000.wav", "grid.json"))
        write_example(Path(small), layers=1)
        generate = [*command, "generate", small, "--duration", "1", "--seed", "0", "--force", "-q", "-o", folder]
        encode = [*command, "encode", small, sound, "--force", "-q", "-o", grid]
        decode = [*command, "decode", small, grid, "--force", "-q", "-o", str(Path(folder) / "again.wav")]
        for each in (generate, encode):
            _run(each)()
        work: dict[str, Callable[[], object]] = {
            "python -c pass": _run([sys.executable, "-c", "pass"]),
            "python -c 'import distill'": _run([sys.executable, "-c", "import distill"]),
            "distill --help": _run([*command, "--help"]),
            "distill model info": _run([*command, "model", "info", str(path)]),
            "distill model info --json": _run([*command, "model", "info", str(path), "--json"]),
            "python -c 'import torch'": _run([sys.executable, "-c", "import torch"]),
            "distill generate": _run(generate),
            "distill encode": _run(encode),
            "distill decode": _run(decode),
            "read_manifest": lambda: read_manifest(path),
        }
        timings = interleave(work, rounds)
        size = path.stat().st_size / 1e6
    rows: list[list[Any]] = [
        [
            name,
            timings.milliseconds(name),
            timings.ratio(name, "python -c pass"),
            timings.ratio(name, "python -c 'import torch'"),
            1000 * min(timings.seconds[name]),
        ]
        for name in work
    ]
    report.show(["command", "ms", "x bare python", "x torch", "fastest ms"], rows, model_megabytes=round(size, 1))


def _run(command: list[str]) -> Callable[[], object]:
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def write_example(path: Path, *, layers: int) -> None:
    """A model with random weights and a prior of width 512."""
    vqvae, config = ConvVQVAE(), VQVAEConfig()
    architecture = PriorArchitecture(
        hidden=512, layers=layers, heads=8, dropout=0.1, codebook_size=256, num_quantizers=3, bands=8, context=2048
    )
    manifest = Manifest.model_validate(
        {
            "vqvae_config": {
                "codebook_dim": 128,
                "codebook_size": 256,
                "num_quantizers": 3,
                "decay": 0.95,
                "commitment_weight": 0.25,
                "threshold_ema_dead_code": 2,
                "dropout": 0.2,
                "n_mels": 128,
            },
            "spectrogram_config": SpectrogramConfig(),
            "training_config": config.model_dump(mode="json"),
            "codebook_health_snapshot": health_of_counts(torch.ones(3, 256, dtype=torch.int64).numpy()),
            "loss_curve_history": {"train_losses": [1.0] * 300, "val_losses": [1.0] * 300},
            "metadata": {"name": "large"},
            "lineage": Lineage.of(
                code_versions={"prepare": 1},
                data_digest="0" * 64,
                parameters={},
                seed=0,
                environment=Environment(
                    torch=torch.__version__,
                    vector_quantize_pytorch="1",
                    processor="any",
                    threads=1,
                    precision="fp32",
                    device="cpu",
                ),
            ),
            "prior_config": architecture,
            "prior_metadata": {
                "epochs": 1,
                "best_epoch": 1,
                "perplexity": {"train": 2.0, "validation": 3.0},
                "perplexity_per_level": {},
                "perplexity_threshold": 3.0,
                "history": {},
                "memorization_warnings": [],
            },
        }
    )
    make_audible(vqvae)
    write_model(path, manifest, vqvae.state_dict(), CodePrior(**architecture.arguments()).state_dict())


if __name__ == "__main__":
    main()
