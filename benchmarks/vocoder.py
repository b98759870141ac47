"""The ways from log mel to sound on held-out sounds: Griffin-Lim, the vocoder, and both.

For each set and seed a fresh workspace is prepared, configured and trained by the pipeline's own stages, the vocoder's
among them. That stage compares the inverses itself (distill/training/inverses.py): spectral convergence, the mean over
windows of 2048, 1024 and 512, and the log-spectral distance of the mel power in dB (LSD-20), means over held-out sounds
of at most 3 s, from true log mels (the ceiling) and after the VQ-VAE. `chosen` marks what the model file would use.

`seconds` is what the stage took, without the stages before it, and `ms a second` what a second of sound takes with each
inverse, timed in turns. `--epochs` makes the vocoder's training shorter or longer; `--head-only` leaves out the losses
that need phases, which makes a step about twice as fast and leaves the phases of `vocoder` as they were at first.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from common import interleave
from distill.artifact.model_file import read_model
from distill.artifact.vocoder_file import read_vocoder
from distill.audio.mel import MelTransform
from distill.configs import SpectrogramConfig
from distill.live.events import Listeners
from distill.live.stop_request import StopRequest
from distill.models.vocoder import Vocoder, invert
from distill.params import parse_params, write_params
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from distill.training.inverses import INVERSES
from output import Report, parser, sounds

import torch

COLUMNS = [
    "set, seed and inverse",
    "true SC",
    "true LSD-20",
    "model SC",
    "model LSD-20",
    "chosen",
    "ms a second",
    "seconds",
]


def main() -> None:
    options = parser(__doc__, rounds=12)
    options.add_argument("--sets", nargs="+", default=["kit", "mixed"], help="folders of sounds")
    options.add_argument("--seeds", type=int, default=1, help="number of seeds")
    options.add_argument("--epochs", type=int, default=20, help="epochs of the vocoder's training")
    options.add_argument("--random", action="store_true", help="start from random weights, not from the base's vocoder")
    options.add_argument("--head-only", action="store_true", help="train the magnitudes alone")
    args = options.parse_args()
    report, rows = Report(args), list[list[Any]]()
    for name in args.sets:
        for seed in range(1 if args.quick else args.seeds):
            rows += _rows(name, seed, args)
    report.show(COLUMNS, rows)


def _rows(name: str, seed: int, args: Any) -> list[list[Any]]:
    vocoder: dict[str, Any] = {"enabled": True, "epochs": args.epochs}
    if args.head_only:
        vocoder |= {"weight_convergence": 0.0, "weight_log_magnitude": 0.0, "weight_mel": 0.0}
    if args.quick:
        vocoder |= {"epochs": 1, "steps_per_epoch": 2}
    values: dict[str, dict[str, Any]] = {
        "data": {"path": str(sounds(name).resolve())},
        "run": {"seed": seed, "device": "cpu", "precision": "fp32", "threads": args.threads},
        "vqvae": {"epochs": 1} if args.quick else {},
        "vocoder": vocoder,
    }
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        write_params(workspace.params_file, parse_params(values, where="benchmark"))
        workspace.journal("train_vqvae").parent.mkdir()
        workspace.journal("train_vqvae").touch()
        call = Call(workspace, Listeners(), StopRequest())
        for stage in ("prepare", "configure", "train_vqvae"):
            run_stage(stage, call)
        if args.random:
            # Only what is trained from here on sees it.
            values["vqvae"]["base"] = "none"
            write_params(workspace.params_file, parse_params(values, where="benchmark"))
        begun = time.perf_counter()
        found = run_stage("train_vocoder", call)
        seconds = time.perf_counter() - begun
        trained = read_vocoder(workspace.vocoder, vqvae_digest=read_model(workspace.vqvae).digest)
    assert trained is not None
    torch.use_deterministic_algorithms(False)
    spectrogram = SpectrogramConfig()
    network = Vocoder(**trained.config.arguments(), spectrogram=spectrogram).eval()
    network.load_state_dict(dict(trained.state))
    log_mel = MelTransform(spectrogram).log_mel(torch.randn(1, spectrogram.sample_rate) * 0.1)
    work = {each: lambda each=each: invert(log_mel, spectrogram, inverse=each, vocoder=network) for each in INVERSES}
    timings = interleave(work, 2 if args.quick else args.rounds)  # type: ignore[arg-type]
    return [
        [
            f"{name} {seed}: {inverse}",
            *(
                found["inverses"][inverse][source][figure]
                for source in ("true_mel", "after_model")
                for figure in ("spectral_convergence", "lsd_db")
            ),
            "yes" if inverse == found["inverse"] else "",
            timings.milliseconds(inverse),
            seconds,
        ]
        for inverse in INVERSES
    ]


if __name__ == "__main__":
    main()
