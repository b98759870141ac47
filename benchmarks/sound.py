"""What the way from sound to log mel and back, and through the codec, does to what one hears.

Held-out sounds of at most two seconds, each at a peak of 1, go through their true log mel and Griffin-Lim (`true mel`,
the ceiling) and through the VQ-VAE's as well (`codec`), freshly trained for each set and seed by the pipeline's own
stages. With `--seeds 0` nothing is trained, and all sounds of a set go through their true log mels.

`buzz` is the modulation at the hop rate (waves.py), the median over noisy sounds, of which there are so many; `buzz of
original` the same of the sounds themselves. Means over all sounds: LSD-20 (measures.py) and spectral convergence over
windows of 2048, 1024 and 512 (SC). Medians over all sounds: `pre-echo` and `attack` at the attack, with a third of a
second of silence and a part of a hop before the sound, `decay`, the first sample, and the level (waves.py). The level
through the codec is the one that a grid of codes knows of its sound. With `--mos` also the mean of ViSQOL's opinion
score in audio mode (`pip install visqol-python`): of a sound with a peak of 0.5, a tenth of a second of silence before
and half a second behind it. A sound itself has 4.73.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

from distill.artifact.model_file import read_model
from distill.audio.invert import griffin_lim
from distill.audio.mel import MelTransform
from distill.audio.sound import SoundError, read_sound, to_mono
from distill.codec.codec import Codec
from distill.codec.load import build_networks
from distill.configs import SpectrogramConfig
from distill.dataset.scan import SILENCE_PEAK
from distill.dataset.store import PreparedDataset
from distill.dataset.walk import find_files
from distill.live.events import Listeners
from distill.live.stopping import StopRequest
from distill.models.stft_losses import multi_resolution
from distill.params import Params, with_settings
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call
from measures import distances
from output import Report, parser, sounds
from quality import held_out, prepared
from waves import attack_time, decay_error, first_sample, is_noisy, level, modulation, pre_echo

import numpy as np
import torch
from torch import Tensor

MOST_SECONDS = 2.0
COLUMNS = [
    "set and way",
    "sounds",
    "noisy",
    "buzz of original",
    "buzz",
    "LSD-20",
    "SC",
    "pre-echo of original",
    "pre-echo",
    "attack of original",
    "attack",
    "decay",
    "first sample",
    "level",
    "MOS",
]
# An attack is where a sound first reaches this share of its peak.
_ATTACK = 0.05

# From a log mel `[n_mels, frames]` to one that is inverted, and the gain of what comes of it.
Way = Callable[[Tensor], tuple[Tensor, float]]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", default=["kit", "mixed", "tabla"], help="folders of sounds")
    options.add_argument("--seeds", type=int, default=3, help="seeds 0 to n-1, each with its own split; 0: no codec")
    options.add_argument("--mos", action="store_true", help="ViSQOL's mean opinion score, which takes its time")
    options.add_argument("--set", action="append", default=[], help="section.key=value, as in the command")
    args = options.parse_args()
    config = with_settings(Params(), args.set).spectrogram
    torch.set_num_threads(args.threads)
    report, rows = Report(args), list[list[Any]]()
    for name in args.sets:
        if not args.seeds:
            paths = [found.path for found in find_files(sounds(name))]
            found = _sounds(paths[:4] if args.quick else paths, config)
            rows.append([f"{name}: true mel", *_figures(found, _as_it_is, config, mos=args.mos)])
        for seed in range(1 if args.quick and args.seeds else args.seeds):
            rows += _through_codec(name, seed, args, config)
    report.show(COLUMNS, rows, settings={"set": args.set})


def _through_codec(name: str, seed: int, args: argparse.Namespace, config: SpectrogramConfig) -> Iterator[list[Any]]:
    with tempfile.TemporaryDirectory() as folder:
        workspace = prepared(Path(folder), name, seed, args)
        run_stage("train_vqvae", Call(workspace, Listeners(), StopRequest()))
        torch.use_deterministic_algorithms(False)
        codec = Codec(build_networks(read_model(workspace.vqvae), workspace.vqvae).vqvae, config)
        found = _sounds(held_out(PreparedDataset(workspace.prepared), name), config)
    ways: dict[str, Way] = {"true mel": _as_it_is, "codec": lambda mel: _rebuilt(codec, mel)}
    for label, way in ways.items():
        yield [f"{name} {seed}: {label}", *_figures(found, way, config, mos=args.mos)]


def _as_it_is(log_mel: Tensor) -> tuple[Tensor, float]:
    return log_mel, 1.0


def _rebuilt(codec: Codec, log_mel: Tensor) -> tuple[Tensor, float]:
    grid = codec.encode_log_mel(log_mel.numpy())
    rebuilt = codec.decode_log_mel(grid)[:, : log_mel.shape[-1]]
    return torch.from_numpy(rebuilt), 10 ** (codec.lost_db(log_mel.numpy(), grid) / 20)


def _sounds(paths: list[Path], config: SpectrogramConfig) -> list[np.ndarray]:
    """Beginnings of sounds, of whole hops; unreadable and silent ones are left out."""
    made = []
    for path in paths:
        try:
            samples = to_mono(read_sound(path), config.sample_rate)[: int(MOST_SECONDS * config.sample_rate)]
        except SoundError:
            continue
        peak = np.abs(samples).max(initial=0.0)
        if peak >= SILENCE_PEAK:
            made.append(np.pad(samples / np.float32(peak), (0, -len(samples) % config.hop_length)))
    return made


def _figures(found: list[np.ndarray], way: Way, config: SpectrogramConfig, *, mos: bool) -> list[Any]:
    rate, hop, transform = config.sample_rate, config.hop_length, MelTransform(config)

    def back(samples: np.ndarray) -> np.ndarray:
        log_mel, gain = way(transform.log_mel(torch.from_numpy(samples)))
        made: np.ndarray = griffin_lim(log_mel[None], config)[0].numpy()
        return made * np.float32(gain)

    def buzz(samples: np.ndarray) -> float:
        return modulation(samples, rate, rate / hop)

    score = _scorer(rate) if mos else None
    buzzes, apart, echoes, others, scores = [], [], [], [], []
    for index, samples in enumerate(found):
        made = back(samples)
        if is_noisy(samples, rate):
            buzzes.append((buzz(samples), buzz(made)))
        waves = [torch.from_numpy(each)[None] for each in (made, samples)]
        convergence, _ = multi_resolution(*waves)
        apart.append((distances(*(transform.power(wave) for wave in waves)).lsd_20, float(convergence)))
        # Attacks lie anywhere between two frames.
        part = index * 97 % hop
        behind = np.pad(samples, (rate // 3 // hop * hop + part, -part % hop))
        attack = int(np.argmax(np.abs(behind) > _ATTACK))
        echoes.append([of(each, rate, attack) for of in (pre_echo, attack_time) for each in (behind, back(behind))])
        others.append((decay_error(made, samples), first_sample(made), level(made, samples)))
        if score:
            scores.append(score(samples, made))
    return [
        len(found),
        len(buzzes),
        *([median(column) for column in zip(*buzzes, strict=True)] or [None, None]),
        *(mean(column) for column in zip(*apart, strict=True)),
        *(median(column) for rows in (echoes, others) for column in zip(*rows, strict=True)),
        mean(scores) if scores else None,
    ]


def _scorer(rate: int) -> Callable[[np.ndarray, np.ndarray], float]:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="audio")

    def score(original: np.ndarray, made: np.ndarray) -> float:
        ready = [
            np.pad(0.5 * each.astype(np.float64) / max(np.abs(each).max(), 1e-9), (rate // 10, rate // 2))
            for each in (original, made)
        ]
        return float(api.measure_from_arrays(ready[0], ready[1], rate).moslqo)

    return score


if __name__ == "__main__":
    main()
