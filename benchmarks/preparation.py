"""Preparation of a folder of sounds: times real time, against a plain loop.

The sets are copied into one folder, so that every file is in the system's cache. `prepare` is the library's: it checks
each file, mixes, resamples, normalizes, makes and stores spectrograms; with variants it does so for the training files
at four other speeds too. `plain` reads each file with soundfile, mixes, resamples with soxr, normalizes and makes the
spectrogram with torchaudio, in one process, and stores nothing. All of them are timed in turns. `x real time` is the
duration of the source sounds over that of the work; `with variants` counts only the source sounds too.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import floors, interleave
from distill.configs import DataConfig, SpectrogramConfig
from distill.dataset.prepare import prepare
from distill.dataset.scan import SILENCE_PEAK
from distill.dataset.walk import find_files
from output import Report, parser, sounds
from plain import plain_mel

import numpy as np
import soundfile
import soxr
import torch

DEFAULT_SETS = ("mixed", "tabla", "kit", "drums", "digits")


def main() -> None:
    options = parser(__doc__, rounds=7)
    options.add_argument("--sets", nargs="+", help="folders of sounds (default: the usual ones that are there)")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    report, config = Report(args), SpectrogramConfig()
    chosen = args.sets or [name for name in DEFAULT_SETS if (sounds() / name).is_dir()]
    with tempfile.TemporaryDirectory() as temporary:
        source, out = Path(temporary) / "sounds", Path(temporary) / "prepared"
        for name in chosen[-1:] if args.quick else chosen:
            shutil.copytree(sounds(name), source / name)
        summary = prepare(source, out, DataConfig(), config, 0)
        seconds = summary.seconds_used
        variants: dict[str, tuple[float, ...]] = {"": (), ", with variants": DataConfig().speed_semitones}
        work: dict[str, Callable[[], object]] = {
            f"prepare, {workers} {'worker' if workers == 1 else 'workers'}{label}": _preparing(
                source, out, config, semitones, workers
            )
            for label, semitones in variants.items()
            for workers in (1, 2)
        }
        work["plain"] = lambda: plain(source, config)
        timings = interleave({**work, **floors()}, 1 if args.quick else args.rounds)
    rows: list[list[Any]] = [
        [name, timings.milliseconds(name), 1000 * seconds / timings.milliseconds(name), timings.ratio("plain", name)]
        for name in work
    ]
    facts = {"sets": chosen, "files": summary.usable, "seconds": seconds, "prepared_frames": summary.frames}
    floor = {precision: round(timings.rate(precision)) for precision in ("fp32", "bf16")}
    report.show(["work", "ms", "x real time", "x faster than plain"], rows, sounds=facts, floor_gflops=floor)


def _preparing(
    source: Path, out: Path, config: SpectrogramConfig, semitones: tuple[float, ...], workers: int
) -> Callable[[], object]:
    return lambda: prepare(source, out, DataConfig(speed_semitones=semitones), config, 0, workers=workers)


def plain(source: Path, config: SpectrogramConfig) -> None:
    """Every sound's log mel, one after the other."""
    mel = plain_mel(config)
    for found in find_files(source):
        try:
            samples, rate = soundfile.read(found.path, dtype="float32", always_2d=True)
        except soundfile.SoundFileError:
            continue
        mono = soxr.resample(samples.mean(1), rate, config.sample_rate, quality="HQ")
        peak = float(np.abs(mono).max(initial=0.0))
        if peak >= SILENCE_PEAK and len(mono) > config.n_fft:
            torch.log1p(mel(torch.from_numpy(mono / np.float32(peak))) / 10 ** (config.floor_db / 10)).half()


if __name__ == "__main__":
    main()
