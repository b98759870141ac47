"""How near new sounds are to held-out ones, as sets of sounds; no pretrained network takes part.

For each set and seed a workspace goes through prepare, configure, train_vqvae and train_prior, and the model makes
sounds that end by themselves. They are compared with the held-out sounds, always beside two rows that say what the
figures mean: `train`, real sounds of the training in their place (the floor: no generator should beat it), and `codec`,
the held-out sounds themselves after the VQ-VAE and the mel inversion (what a perfect prior would give).

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
- `duration`, `loudness`, `onsets`: Wasserstein distances of the durations in s, of the levels of active frames in dB,
  and of the onsets a second.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from distill.artifact.model_file import read_model
from distill.artifact.prior_file import read_prior
from distill.audio.invert import griffin_lim
from distill.audio.mel import MelTransform
from distill.audio.sound import SoundError, read_sound, to_mono
from distill.codec.codec import Codec, normalise
from distill.codec.load import build_networks
from distill.configs import SpectrogramConfig
from distill.dataset.scan import SILENCE_PEAK
from distill.dataset.store import PreparedDataset
from distill.errors import DataError
from distill.generation import TOP_P
from distill.generation.choice import SamplingConfig
from distill.generation.render import Generator, generate
from distill.live.events import Listeners
from distill.live.stopping import StopRequest
from distill.params import parse_params, with_settings, write_params
from distill.pictures import spectrogram_png
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from output import Report, parser, sounds

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import sqrtm
from scipy.signal import find_peaks
from scipy.stats import wasserstein_distance

Values = npt.NDArray[np.float64]
Samples = npt.NDArray[np.float32]

BANDS, COMPONENTS, NEIGHBOURS, PICTURES = 32, 16, 5, 16
QUICK = ["vqvae.epochs=2", "prior.epochs=2", "vqvae.augmentation_expansion=1", "vqvae.kmeans_chunks=0"]
SHOWN = ("frechet", "kernel", "precision", "coverage", "duration", "loudness", "onsets")


@dataclass(frozen=True)
class Described:
    """A set of sounds: features of their chunks `[chunks, features]`, and a number for each sound or chunk."""

    features: Values
    durations: Values
    loudness: Values
    onsets: Values


def describe(waveforms: Sequence[Samples], config: SpectrogramConfig) -> Described:
    """Features and distributions of sounds `[n]` with a peak of 1 each."""
    transform, rate = MelTransform(config), config.sample_rate
    features, loudness, onsets = list[Values](), list[float](), list[float]()
    for samples in waveforms:
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
            onsets.append(_onsets(power, config) * rate / len(chunk))
    durations = np.array([len(samples) / rate for samples in waveforms])
    return Described(np.array(features), durations, np.array(loudness), np.array(onsets))


def _features(power: Values) -> Values:
    level = 10 * np.log10(power.clip(min=1e-2))
    bands = level.reshape(BANDS, -1, level.shape[1]).mean(1)
    return np.concatenate([bands.mean(1), bands.std(1), np.abs(np.diff(bands, axis=1)).mean(1)])


def _onsets(power: Values, config: SpectrogramConfig) -> int:
    """Peaks of the spectral flux that rise 3 dB above what is around, at least 50 ms apart."""
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
        """The figures of SHOWN."""
        points, target = self._project(described), self._target
        reach = np.sort(_distances(target, target), axis=1)[:, min(NEIGHBOURS, len(target) - 1)]
        within = _distances(points, target) <= reach
        return {
            "frechet": frechet(points, target) / points.shape[1],
            "kernel": kernel(points / self._scale, target / self._scale),
            "precision": float(within.any(1).mean()),
            "coverage": float(within.any(0).mean()),
            "duration": float(wasserstein_distance(described.durations, self.held_out.durations)),
            "loudness": float(wasserstein_distance(described.loudness, self.held_out.loudness)),
            "onsets": float(wasserstein_distance(described.onsets, self.held_out.onsets)),
        }


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
    options.add_argument("--pictures", type=Path, help="folder for 16 spectrograms of new and of held-out sounds")
    args = options.parse_args()
    report = Report(args)
    rows: list[list[Any]] = []
    for name in args.sets:
        results = [run(name, seed, args) for seed in range(1 if args.quick else args.seeds)]
        for label in results[0]:
            rows.append([f"{name}, {label}", *(mean(each[label][key] for each in results) for key in SHOWN)])
    columns = ["set", "FD", "KD", "precision", "coverage", "duration", "loudness", "onsets"]
    settings = {"set": args.set, "seeds": args.seeds, "count": args.count}
    report.show(columns, rows, settings={**settings, "temperature": args.temperature, "top_p": args.top_p})


def run(name: str, seed: int, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Train once, make sounds and compare."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(args.keep / f"{name}-{seed}" if args.keep else Path(folder))
        values = {
            "data": {"path": str(sounds(name))},
            "run": {"seed": seed, "device": "cpu", "threads": args.threads},
        }
        params = with_settings(parse_params(values, where="the benchmark"), args.set + (QUICK if args.quick else []))
        if not workspace.prior.exists():
            workspace.root.mkdir(parents=True, exist_ok=True)
            write_params(workspace.params_file, params)
            _train(workspace)
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(args.threads)
        dataset = PreparedDataset(workspace.prepared)
        generator = _generator(workspace)
    training, held_out = (_waveforms(dataset, split, name) for split in ("train", "validation"))
    spectrogram = generator.codec.spectrogram
    longest = max(len(each) for each in held_out) / spectrogram.sample_rate
    count, config = 8 if args.quick else args.count, SamplingConfig(args.temperature, top_p=args.top_p)
    made = [
        normalise(sound.samples).samples
        for sound in generate(generator, count=count, seconds=longest, config=config, natural=True)
        if np.abs(sound.samples).max() >= SILENCE_PEAK
    ]
    if args.pictures:
        for label, waveforms in (("new", made), ("held-out", held_out)):
            _draw(args.pictures / f"{name}-{seed}-{label}.png", waveforms, spectrogram)
    comparison = Comparison(describe(training, spectrogram), describe(held_out, spectrogram))
    rebuilt = [_through(generator, samples) for samples in held_out]
    return {
        label: comparison.of(describe(waveforms, spectrogram))
        for label, waveforms in (("train", training), ("codec", rebuilt), ("new", made))
    }


def _train(workspace: Workspace) -> None:
    for stage in ("prepare", "configure", "train_vqvae", "train_prior"):
        run_stage(stage, Call(workspace, Listeners(), StopRequest()))


def _generator(workspace: Workspace) -> Generator:
    model = read_model(workspace.vqvae)
    trained = read_prior(workspace.prior, vqvae_digest=model.digest)
    networks = build_networks(model, workspace.prior, prior_config=trained.config, prior_state=trained.state)
    return Generator(Codec(networks.vqvae, model.manifest.spectrogram_config), networks.prior)


def _waveforms(dataset: PreparedDataset, split: str, name: str) -> list[Samples]:
    found = []
    table, rate = dataset.manifest, dataset.spectrogram.sample_rate
    for path in table["path"][table["split"] == split]:
        try:
            found.append(normalise(to_mono(read_sound(sounds(name) / path), rate)).samples)
        except (SoundError, DataError):
            continue
    return found


def _through(generator: Generator, samples: Samples) -> Samples:
    codec = generator.codec
    log_mel = torch.from_numpy(codec.decode_log_mel(codec.encode(samples)))
    return normalise(griffin_lim(log_mel[None], codec.spectrogram)[0].numpy()[: len(samples)]).samples


def _draw(path: Path, waveforms: Sequence[Samples], config: SpectrogramConfig) -> None:
    transform = MelTransform(config)
    chosen = waveforms[:: max(1, len(waveforms) // PICTURES)][:PICTURES]
    path.parent.mkdir(parents=True, exist_ok=True)
    mels = {str(index): transform.log_mel(torch.from_numpy(each)).numpy() for index, each in enumerate(chosen)}
    spectrogram_png(path, mels, config)


if __name__ == "__main__":
    main()
