"""A small model that knows space, with random weights, and stereo sounds."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

import artifact_example
from codes_util import IDENTITY
from distill.artifact.architecture import SpaceArchitecture
from distill.artifact.manifest import Manifest, SpaceMetadata
from distill.artifact.model_file import write_model
from distill.audio.sound import Sound
from distill.codec.codec import Codec
from distill.codec.load import Networks
from distill.codes.grid import CodeGrid, Source
from distill.codes.model import CodesModel
from distill.generation.generator import Generator
from distill.models.space import SpaceModel
from distill.models.vqvae import ConvVQVAE
from model_example import BANDS, LEVELS, SIZE, manifest, prior, vqvae
from sounds_util import noise, save, tone

RATE = 48_000
HIDDEN = 12


def space_model() -> SpaceModel:
    """Code 0 is alike in both channels; the others lie anywhere."""
    torch.manual_seed(3)
    model = SpaceModel(SIZE, BANDS, manifest().vqvae_config.codebook_dim, HIDDEN).eval()
    random = np.random.default_rng(5)
    places = np.stack([random.uniform(-20, 20, SIZE), random.uniform(0.0, 1.0, SIZE)], axis=1).astype(np.float32)
    with torch.no_grad():
        model.entries[1:] = torch.from_numpy(places[1:, None, None])
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return model


def audible_vqvae() -> ConvVQVAE:
    network = vqvae()
    with torch.no_grad():
        network.decoder.project.weight.mul_(100.0)
        network.decoder.out[0].bias.add_(2.0)
    return network


def stereo_manifest() -> Manifest:
    values = artifact_example.manifest(
        prior_config=artifact_example.PRIOR, prior_metadata=artifact_example.PRIOR_METADATA
    )
    known = {"space_config": SpaceArchitecture(hidden=HIDDEN), "space_metadata": SpaceMetadata(stereo_sounds=3)}
    return Manifest(**{**dict(values), **known})


@lru_cache(maxsize=1)
def stereo_codec() -> Codec:
    return Codec(audible_vqvae(), manifest().spectrogram_config, space=space_model())


@lru_cache(maxsize=1)
def stereo_generator() -> Generator:
    return Generator(stereo_codec(), prior())


@lru_cache(maxsize=1)
def stereo_model() -> CodesModel:
    codec = stereo_codec()
    return CodesModel(codec, IDENTITY, Networks(codec.vqvae, prior(), Path("bells.distill"), None, codec.space))


def write_stereo(path: Path) -> Path:
    states = [part.state_dict() for part in (audible_vqvae(), prior(), space_model())]
    write_model(path, stereo_manifest(), states[0], states[1], space_state=states[2])
    return path


def panned(samples: np.ndarray, at: float) -> np.ndarray:
    """A sound `[n]` between two channels `[n, 2]`, from -1, left, to 1, right, by constant power."""
    angle = (at + 1.0) * np.pi / 4.0
    return (samples[:, None] * np.array([np.cos(angle), np.sin(angle)])).astype(np.float32)


def stereo_sound(seconds: float = 0.8, at: float = 0.5, rate: int = 44_100) -> Sound:
    samples = panned(tone(seconds, 300, rate), at) + panned(noise(seconds, 1, rate, 0.1), -at)
    return Sound(np.ascontiguousarray(samples.T), rate, "FLOAT", "WAV")


def stereo_grid(columns: int = 6, seed: int = 0) -> CodeGrid:
    codes = np.random.default_rng(seed).integers(0, SIZE, (columns, BANDS, LEVELS + 1))
    return stereo_model().grid(codes, Source(f"{seed}.wav", columns * 8192 / RATE, -3.5))


def stereo_folder(folder: Path) -> Path:
    """Six sounds hard left or right, four wide ones, and two mono ones."""
    fade = np.linspace(1, 0, round(0.4 * RATE), dtype=np.float32)
    for number in range(6):
        save(folder / f"tone{number}.wav", panned(tone(0.4, 150 * 1.4**number, RATE), (-1) ** number), RATE)
    for number in range(4):
        mid, side = (noise(0.4, seed, RATE) * fade for seed in (number, 10 + number))
        save(folder / f"wide{number}.wav", np.stack([mid + 0.5 * side, mid - 0.5 * side], axis=1), RATE)
    for number in range(2):
        save(folder / f"mono{number}.wav", noise(0.4, 20 + number, RATE) * fade, RATE)
    return folder
