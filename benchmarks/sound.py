"""What the way from sound to log mel and back, and through the codec, does to what one hears.

Held-out sounds of at most two seconds, each at a peak of 1, go through their true log mel and Griffin-Lim (`true mel`,
the ceiling) and through the VQ-VAE's as well (`codec`), freshly trained for each set and seed by the pipeline's own
stages. With `--seeds 0` nothing is trained, and all sounds of a set go through their true log mels.

`buzz` is the modulation at the hop rate (waves.py), the median over noisy sounds, of which there are so many; `buzz of
original` the same of the sounds themselves. Means over all sounds: LSD-20 (measures.py) and spectral convergence over
windows of 2048, 1024 and 512 (SC). Medians over all sounds: `pre-echo` at the attack, with a third of a second of
silence before the sound, the first sample, and the level (waves.py).
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
from distill.codec.load import build_networks
from distill.configs import STRIDE, SpectrogramConfig
from distill.dataset.scan import SILENCE_PEAK
from distill.dataset.store import PreparedDataset
from distill.dataset.walk import find_files
from distill.live.events import Listeners
from distill.live.stopping import StopRequest
from distill.models.stft_losses import multi_resolution
from distill.models.vqvae import ConvVQVAE
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call
from measures import distances
from output import Report, parser, sounds
from quality import held_out, prepared
from waves import first_sample, is_noisy, level, modulation, pre_echo

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
    "first sample",
    "level",
]
# An attack is where a sound first reaches this share of its peak.
_ATTACK = 0.05
_CONFIG = SpectrogramConfig()

Way = Callable[[Tensor], Tensor]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", default=["kit", "mixed", "tabla"], help="folders of sounds")
    options.add_argument("--seeds", type=int, default=3, help="seeds 0 to n-1, each with its own split; 0: no codec")
    args = options.parse_args()
    args.set = []
    torch.set_num_threads(args.threads)
    report, rows = Report(args), list[list[Any]]()
    for name in args.sets:
        if not args.seeds:
            paths = [found.path for found in find_files(sounds(name))]
            rows.append([f"{name}: true mel", *_figures(_sounds(paths[:4] if args.quick else paths), lambda mel: mel)])
        for seed in range(1 if args.quick and args.seeds else args.seeds):
            rows += _through_codec(name, seed, args)
    report.show(COLUMNS, rows)


def _through_codec(name: str, seed: int, args: argparse.Namespace) -> Iterator[list[Any]]:
    with tempfile.TemporaryDirectory() as folder:
        workspace = prepared(Path(folder), name, seed, args)
        run_stage("train_vqvae", Call(workspace, Listeners(), StopRequest()))
        torch.use_deterministic_algorithms(False)
        vqvae = build_networks(read_model(workspace.vqvae), workspace.vqvae).vqvae
        found = _sounds(held_out(PreparedDataset(workspace.prepared), name))
    ways: dict[str, Way] = {"true mel": lambda mel: mel, "codec": lambda mel: _rebuilt(vqvae, mel)}
    for label, way in ways.items():
        yield [f"{name} {seed}: {label}", *_figures(found, way)]


@torch.no_grad()
def _rebuilt(vqvae: ConvVQVAE, log_mel: Tensor) -> Tensor:
    frames = log_mel.shape[-1]
    padded = torch.nn.functional.pad(log_mel, (0, -frames % STRIDE))
    return vqvae(padded[:, None])[0][:, 0, :, :frames].float()


def _sounds(paths: list[Path]) -> list[np.ndarray]:
    """Beginnings of sounds, of whole hops; unreadable and silent ones are left out."""
    made = []
    for path in paths:
        try:
            samples = to_mono(read_sound(path), _CONFIG.sample_rate)[: int(MOST_SECONDS * _CONFIG.sample_rate)]
        except SoundError:
            continue
        peak = np.abs(samples).max(initial=0.0)
        if peak >= SILENCE_PEAK:
            made.append(np.pad(samples / np.float32(peak), (0, -len(samples) % _CONFIG.hop_length)))
    return made


def _figures(found: list[np.ndarray], way: Way) -> list[Any]:
    rate, transform = _CONFIG.sample_rate, MelTransform(_CONFIG)

    def back(samples: np.ndarray) -> np.ndarray:
        log_mel = transform.log_mel(torch.from_numpy(samples))[None]
        made: np.ndarray = griffin_lim(way(log_mel), _CONFIG)[0].numpy()
        return made

    def buzz(samples: np.ndarray) -> float:
        return modulation(samples, rate, rate / _CONFIG.hop_length)

    silence = np.zeros(rate // 3 // _CONFIG.hop_length * _CONFIG.hop_length, np.float32)
    buzzes, apart, echoes, others = [], [], [], []
    for samples in found:
        made = back(samples)
        if is_noisy(samples, rate):
            buzzes.append((buzz(samples), buzz(made)))
        waves = [torch.from_numpy(each)[None] for each in (made, samples)]
        convergence, _ = multi_resolution(*waves)
        apart.append((distances(*(transform.power(wave) for wave in waves)).lsd_20, float(convergence)))
        behind = np.concatenate([silence, samples])
        attack = int(np.argmax(np.abs(behind) > _ATTACK))
        echoes.append([pre_echo(each, rate, attack) for each in (behind, back(behind))])
        others.append((first_sample(made), level(made, samples)))
    return [
        len(found),
        len(buzzes),
        *([median(column) for column in zip(*buzzes, strict=True)] or [None, None]),
        *(mean(column) for column in zip(*apart, strict=True)),
        *(median(column) for rows in (echoes, others) for column in zip(*rows, strict=True)),
    ]


if __name__ == "__main__":
    main()
