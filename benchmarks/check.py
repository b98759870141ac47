"""Time and peak memory of the check for memorization against the number and the duration of the training sounds.

Synthetic sounds are written to a temporary folder and prepared, with four speed variants each unless said otherwise.
Then a model with random weights, of the size of the preset `tuned`, generates its 32 sounds of 3 s, and they are held
against the training sounds: what `distill check` does before it writes the page. Each check runs in a fresh process,
whose peak resident memory (VmHWM of /proc/self/status, file pages included) is what is shown.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from memory import RATE, peak
from output import Report, parser

import numpy as np
import soundfile

# Number and duration in s.
SIZES = ("20x1", "40x1", "80x1", "20x10", "100x10", "500x10")
GENERATED, GENERATED_SECONDS = 32, 3.0


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", nargs="+", default=SIZES, help="training sounds by their duration in s, as 500x10")
    options.add_argument("--variants", type=float, nargs="*", default=[-2.0, -1.0, 1.0, 2.0], help="in semitones")
    options.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.child:
        sys.stdout.write(json.dumps(_check(args.child, args.threads, quick=args.quick)))
        return
    report = Report(args)
    rows: list[list[Any]] = []
    for size in SIZES[:2] if args.quick else args.sizes:
        count, seconds = (int(part) for part in size.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            _prepare(Path(folder), count, seconds, args.variants)
            command = [sys.executable, __file__, "--child", folder, "--threads", str(args.threads)]
            command += ["--quick"] if args.quick else []
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append([size, *json.loads(done.stdout)])
    report.show(["sounds", "generating s", "comparing s", "CPU s", "peak MiB"], rows, variants=args.variants)


def _prepare(folder: Path, count: int, seconds: int, variants: list[float]) -> None:
    """Strokes at random times, each with a pitch and a decay of its own, and some noise; then the stage `prepare`."""
    from distill.live.events import Listeners
    from distill.live.stop_request import StopRequest
    from distill.params import parse_params, write_params
    from distill.stages.pipeline import run_stage
    from distill.stages.workspace import Call, Workspace

    (folder / "sounds").mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        samples = 0.003 * rng.standard_normal(RATE * seconds)
        for begin in [0, *rng.integers(0, len(samples) - RATE // 4, 3 * seconds - 1)]:
            at = np.arange(len(samples) - begin) / RATE
            stroke = np.sin(2 * np.pi * rng.uniform(60, 4000) * at) * np.exp(-rng.uniform(2, 20) * at)
            samples[begin:] += 0.3 * stroke
        peak_1 = (samples / np.abs(samples).max()).astype(np.float32)
        soundfile.write(folder / "sounds" / f"{index:05}.wav", peak_1, RATE, subtype="PCM_16")
    workspace = Workspace(folder)
    values = {"data": {"speed_semitones": variants}, "run": {"device": "cpu"}}
    write_params(workspace.params_file, parse_params(values, where="the benchmark"))
    run_stage("prepare", Call(workspace, Listeners(), StopRequest()))


def _check(folder: Path, threads: int, *, quick: bool) -> list[float]:
    """Seconds of generating and of comparing, seconds of processor time, peak memory in MiB."""
    from common import make_audible
    from distill.adaptive import TUNED_PRIOR
    from distill.codec.codec import Codec
    from distill.configs import PriorConfig
    from distill.dataset.store import PreparedDataset
    from distill.generation.generator import Generator
    from distill.memorization.of_model import CheckSettings, findings_of
    from distill.models.vqvae import ConvVQVAE
    from distill.stages.workspace import Workspace
    from distill.training.prior import build_prior
    from distill.training.runtime import Runtime

    import torch

    Runtime("cpu", "fp32", threads, 0).apply()
    torch.manual_seed(0)
    dataset = PreparedDataset(Workspace(folder).prepared)
    vqvae = ConvVQVAE().eval()
    with torch.no_grad():
        # Codes that are used as those of a trained codec are.
        batch = dataset.clean_batch("train", range(min(16, len(dataset.chunks("train")))))
        vectors = vqvae.encode(torch.from_numpy(batch)[:, None])
        vqvae.quantizer.place_codes(vectors.transpose(0, 1).flatten(1).T)
    make_audible(vqvae)
    codec = Codec(vqvae, dataset.spectrogram)
    prior = build_prior(PriorConfig(**TUNED_PRIOR), vqvae, dataset.spectrogram.n_mels).eval()
    prior.trained_columns.fill_(prior.context_columns)
    settings = CheckSettings(4 if quick else GENERATED, GENERATED_SECONDS, 1.0, 0)
    begun, generated, worked = time.perf_counter(), 0.0, time.process_time()

    def tell(done: int, _count: int) -> None:
        nonlocal generated
        if done == settings.sounds:
            generated = time.perf_counter() - begun

    findings_of(Generator(codec, prior), dataset, settings, tell=tell)
    return [generated, time.perf_counter() - begun - generated, time.process_time() - worked, peak()]


if __name__ == "__main__":
    main()
