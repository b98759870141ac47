"""How near new sounds are to held-out ones, as sets of sounds; no pretrained network takes part.

For each set and seed a workspace goes through prepare, configure, train_vqvae and train_prior, and the model makes
sounds that end by themselves, finished as `distill generate` does. They are compared with the held-out sounds, always
beside two rows that say what the figures mean: `train`, real sounds of the training in their place (the floor: no
generator should beat it), and `codec`, the held-out sounds themselves after the VQ-VAE and the mel inversion (what a
perfect prior would give).

A sound has a peak of 1 as a whole, as in training, and is cut into chunks of one second: raised by itself, the faint
end of a decay would count as much as an attack. A chunk's features are the mean, the deviation and the mean absolute
change over time of its mel power in dB (not below -20 dB) in 32 bands, projected on the principal components of the
training's chunks.

- `FD`: Frechet distance of two Gaussians (Heusel et al., "GANs trained by a two time-scale update rule", 2017), in dB^2
  for each feature;
- `KD`: unbiased kernel distance with a cubic kernel (Binkowski et al., "Demystifying MMD GANs", 2018), features divided
  by their mean deviation in the training;
- `precision`: share of the chunks within the reach of a held-out one, which is the distance to its 5th neighbour
  (Kynkaanniemi et al., "Improved precision and recall metric", 2019);
- `coverage`: share of the held-out chunks with a chunk within reach (Naeem et al., "Reliable fidelity and diversity
  metrics", 2020);
- `duration`, `loudness`, `onsets`, `attack`, `buzz`, `texture`: Wasserstein distances of the durations in s, of the
  levels of active frames in dB, of the onsets of a sound, of the attacks in ms, of the modulation at the hop rate of
  noisy sounds (waves.py), and of the depths of modulation in dB, their mean over all bands and rates (texture.py). A
  rate of onsets would be one of durations: most sounds have a single one;
- `first sample`: its median over the peak; `column`: excess of change in dB where columns meet, of new sounds as they
  are made (texture.py); `silent`: share of the draws of which nothing is heard, none of them drawn again.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

from distill.audio.invert import griffin_lim
from distill.audio.mel import MelTransform
from distill.audio.spool import Spool
from distill.codec.codec import Samples, normalize
from distill.configs import STRIDE, SpectrogramConfig
from distill.dataset.scan import SILENCE_PEAK
from distill.dataset.store import PreparedDataset
from distill.generation import TOP_P
from distill.generation.finish import finish_of
from distill.generation.generator import Generator, default_conditioning, is_audible, levels_of, waveform_blocks
from distill.generation.sampler import SamplingConfig
from distill.generation.sampling import sample_codes
from distill.pictures import spectrogram_png
from output import Report, parser
from texture import column_excess, column_steps, texture
from waves import attack_of, attack_time, first_sample, is_noisy, modulation
from workspaces import files, generator_of, kept, train, waveforms

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import sqrtm
from scipy.signal import find_peaks
from scipy.stats import wasserstein_distance

Values = npt.NDArray[np.float64]

BANDS, COMPONENTS, NEIGHBOURS, PICTURES = 32, 16, 5, 32
DISTANCES = ("duration", "loudness", "onsets", "attack", "buzz", "texture")
SHOWN = ("frechet", "kernel", "precision", "coverage", *DISTANCES, "first sample", "column", "silent")


@dataclass(frozen=True)
class Described:
    """A set of sounds: features of their chunks `[chunks, features]`, and numbers for its sounds or chunks.

    Attributes:
        features: of the chunks.
        numbers: what is compared as distributions; `texture` has a row `[bands * rates]` for each sound.
        first_sample: its median over the peak.
    """

    features: Values
    numbers: dict[str, Values]
    first_sample: float


def describe(sounds: Sequence[Samples], config: SpectrogramConfig) -> Described:
    """Features and distributions of sounds `[n]` with a peak of 1 each."""
    transform, rate = MelTransform(config), config.sample_rate
    features, loudness = list[Values](), list[float]()
    for samples in sounds:
        for start in range(0, len(samples), rate):
            chunk = samples[start : start + rate]
            if np.abs(chunk).max() < SILENCE_PEAK:
                continue
            padded = np.pad(chunk, (0, rate - len(chunk)))
            power = transform.to_power(transform.log_mel(torch.from_numpy(padded))).numpy().astype(np.float64)
            features.append(_features(power))
            energy = power.sum(0)
            active = energy > max(1e-5 * energy.max(), 10.0)
            loudness.append(float(np.mean(10 * np.log10(energy[active]))) if active.any() else 0.0)
    numbers = {
        "duration": np.array([len(each) / rate for each in sounds]),
        "loudness": np.array(loudness),
        "onsets": np.array([_onsets(each, config) for each in sounds], np.float64),
        "attack": np.array([attack_time(each, rate, attack_of(each)) for each in sounds]),
        "buzz": np.array([modulation(each, rate, rate / config.hop_length) for each in sounds if is_noisy(each, rate)]),
        "texture": np.array([texture(each, rate).ravel() for each in sounds]),
    }
    return Described(np.array(features), numbers, median(first_sample(each) for each in sounds))


def _features(power: Values) -> Values:
    level = 10 * np.log10(power.clip(min=1e-2))
    bands = level.reshape(BANDS, -1, level.shape[1]).mean(1)
    return np.concatenate([bands.mean(1), bands.std(1), np.abs(np.diff(bands, axis=1)).mean(1)])


def _onsets(samples: Samples, config: SpectrogramConfig) -> int:
    """Peaks of the spectral flux that rise 3 dB above what is around, at least 50 ms apart."""
    transform = MelTransform(config)
    padded = np.pad(samples, (0, config.sample_rate // 10))
    power = transform.to_power(transform.log_mel(torch.from_numpy(padded))).numpy().astype(np.float64)
    level = 10 * np.log10(power.clip(min=1.0))
    flux = np.pad(np.diff(level, axis=1, prepend=0.0).clip(min=0).mean(0), 1)
    apart = max(1, round(0.05 * config.sample_rate / config.hop_length))
    return len(find_peaks(flux, prominence=3.0, distance=apart)[0])


class Comparison:
    """Distances to held-out sounds, in the space of the training sounds' principal components."""

    def __init__(self, training: Described, held_out: Described) -> None:
        self.held_out = held_out
        self._mean = training.features.mean(0)
        _, spread, axes = np.linalg.svd(training.features - self._mean, full_matrices=False)
        self._axes = axes[: min(COMPONENTS, len(spread))]
        self._scale = float(spread[: len(self._axes)].mean() / np.sqrt(len(training.features)))
        self._target = self._project(held_out)

    def _project(self, described: Described) -> Values:
        return (described.features - self._mean) @ self._axes.T

    def of(self, described: Described) -> dict[str, float]:
        """The figures of SHOWN that a set of sounds has by itself."""
        points, target = self._project(described), self._target
        reach = np.sort(_distances(target, target), axis=1)[:, min(NEIGHBOURS, len(target) - 1)]
        within = _distances(points, target) <= reach
        return {
            "frechet": frechet(points, target) / points.shape[1],
            "kernel": kernel(points / self._scale, target / self._scale),
            "precision": float(within.any(1).mean()),
            "coverage": float(within.any(0).mean()),
            **{name: _apart(described.numbers[name], self.held_out.numbers[name]) for name in DISTANCES},
            "first sample": described.first_sample,
        }


def _apart(ours: Values, theirs: Values) -> float:
    """Wasserstein distance of two sets of numbers, or the mean over their columns; NaN stands for no number."""
    if ours.ndim < 2:
        return float(wasserstein_distance(ours, theirs)) if len(ours) and len(theirs) else float("nan")
    pairs = [(one[~np.isnan(one)], other[~np.isnan(other)]) for one, other in zip(ours.T, theirs.T, strict=True)]
    return mean(float(wasserstein_distance(*pair)) for pair in pairs if all(len(each) for each in pair))


def frechet(points: Values, others: Values) -> float:
    """Frechet distance of the Gaussians of `[n, d]` and `[m, d]`."""
    first, second = (np.cov(each, rowvar=False) for each in (points, others))
    root = np.real(sqrtm(first @ second))
    offset = points.mean(0) - others.mean(0)
    return float(offset @ offset + np.trace(first + second - 2 * root))


def kernel(points: Values, others: Values) -> float:
    """Unbiased squared maximum mean discrepancy of `[n, d]` and `[m, d]` with the kernel (x y / d + 1)^3."""

    def products(a: Values, b: Values) -> Values:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Values) -> float:
        values = products(a, a)
        return float((values.sum() - np.trace(values)) / (len(a) * (len(a) - 1)))

    return within(points) + within(others) - 2 * float(products(points, others).mean())


def _distances(points: Values, others: Values) -> Values:
    return np.linalg.norm(points[:, None] - others[None], axis=-1)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", default=["kit", "mixed", "tabla", "digits"], help="folders of sounds")
    options.add_argument("--seeds", type=int, default=1, help="seeds 0 to n-1, each with its own split")
    options.add_argument("--count", type=int, default=192, help="new sounds")
    options.add_argument("--set", action="append", default=[], help="section.key=value, as in the command")
    options.add_argument("--temperature", type=float, default=1.0, help="of the new sounds")
    options.add_argument("--top-p", type=float, default=TOP_P, help="of the new sounds")
    options.add_argument("--keep", type=Path, help="folder for the workspaces; one that is trained is taken as it is")
    options.add_argument("--pictures", type=Path, help=f"folder for {PICTURES} spectrograms of new and of real sounds")
    args = options.parse_args()
    report = Report(args)
    rows: list[list[Any]] = []
    for name in args.sets:
        results = [run(name, seed, args) for seed in range(1 if args.quick else args.seeds)]
        for label in results[0]:
            rows.append([f"{name}, {label}", *(_mean([each[label].get(key) for each in results]) for key in SHOWN)])
    columns = ["set", "FD", "KD", *SHOWN[2:]]
    settings = {"set": args.set, "seeds": args.seeds, "count": args.count}
    report.show(columns, rows, settings={**settings, "temperature": args.temperature, "top_p": args.top_p})


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and value == value]
    return mean(known) if known else None


def run(name: str, seed: int, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Train once, make sounds and compare."""
    with kept(name, seed, args) as workspace:
        if not workspace.prior.exists():
            train(workspace, "train_vqvae", "train_prior")
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(args.threads)
        dataset, generator = PreparedDataset(workspace.prepared), generator_of(workspace)
    config = generator.codec.spectrogram
    rate = config.sample_rate
    training, held_out = (waveforms(files(dataset, split, name), rate) for split in ("train", "validation"))
    longest = max(len(each) for each in training + held_out)
    count = 8 if args.quick else args.count
    raw = list(_drawn(generator, count, longest, SamplingConfig(args.temperature, top_p=args.top_p)))
    made = [normalize(_finished(each, rate)).samples for each in raw]
    if args.pictures:
        for label, some in (("new", made), ("real", held_out + training)):
            _draw(args.pictures / f"{name}-{seed}-{label}.png", some[:PICTURES], config)
    comparison = Comparison(describe(training, config), describe(held_out, config))
    rebuilt = [_through(generator, samples) for samples in held_out]
    figures = {
        label: comparison.of(describe(some, config))
        for label, some in (("train", training), ("codec", rebuilt), ("new", made))
    }
    for label, some in (("train", training), ("codec", rebuilt), ("new", raw)):
        figures[label]["column"] = column_excess([column_steps(each, rate, config.hop_length, STRIDE) for each in some])
    figures["new"]["silent"] = 1 - len(raw) / count
    return figures


def _drawn(generator: Generator, count: int, longest: int, config: SamplingConfig) -> Iterable[Samples]:
    """Sounds as the model makes them, of so many draws those of which anything is heard."""
    codec = generator.codec
    grids = sample_codes(
        generator.prior,
        columns=codec.columns_of(longest),
        seeds=range(count),
        config=config,
        natural=True,
        levels=partial(levels_of, codec),
        conditioning=default_conditioning(generator.conditions, range(count)),
    )
    for grid in grids:
        if is_audible(codec, grid):
            yield np.concatenate(list(waveform_blocks(generator, grid, longest)))


def _finished(samples: Samples, rate: int) -> Samples:
    with Spool() as spool:
        spool.add(samples[:, None])
        return np.concatenate(list(finish_of(spool, rate, trim=True, most_gain=1.0).blocks(spool)))[:, 0]


def _through(generator: Generator, samples: Samples) -> Samples:
    codec = generator.codec
    log_mel = torch.from_numpy(codec.decode_log_mel(codec.encode(samples)))
    return normalize(griffin_lim(log_mel[None], codec.spectrogram)[0].numpy()[: len(samples)]).samples


def _draw(path: Path, sounds: Sequence[Samples], config: SpectrogramConfig) -> None:
    transform = MelTransform(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    mels = {str(index): transform.log_mel(torch.from_numpy(each)).numpy() for index, each in enumerate(sounds)}
    spectrogram_png(path, mels, config)


if __name__ == "__main__":
    main()
