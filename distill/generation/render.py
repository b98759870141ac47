"""New sounds: codes drawn from the prior, decoded, and made audible."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.artifact.model_file import read_model
from distill.audio.sound import EXTENSIONS, write_sound
from distill.codec.codec import Codec, Grid, Samples
from distill.codec.load import build_networks, codec_of
from distill.dataset.scan import SILENCE_PEAK
from distill.errors import StorageError, UsageError
from distill.generation.sampling import ROWS, SamplingConfig, sample_codes
from distill.models.prior import CodePrior
from distill.training.runtime import device_present

PEAK_DB = -1.0
# A sound that the model made much quieter than those it learned from is nearly silence; louder it would be hiss.
MAX_GAIN_DB = 12.0
MAX_SECONDS = 3600.0
MAX_COUNT = 10_000
MAX_SEED = 2**63 - 1

# Encodings better than the format's default.
_SUBTYPES = {".wav": "PCM_24", ".aif": "PCM_24", ".aiff": "PCM_24", ".flac": "PCM_24"}


@dataclass(frozen=True)
class GeneratedSound:
    """A new sound.

    Attributes:
        samples: float32 `[n]`, with a peak of -1 dB, or lower where that would take more than 12 dB of gain.
        sample_rate: in Hz.
        grid: the codes that it was made from, `[columns, bands, levels]`.
        seed: the seed that gives it again.
    """

    samples: Samples
    sample_rate: int
    grid: Grid
    seed: int


@dataclass(frozen=True)
class Generator:
    """What it takes to make sounds: a codec and a prior on the same device."""

    codec: Codec
    prior: CodePrior

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "Generator":
        """The generator of a `.distill` file.

        Raises:
            ArtifactError: the file cannot be used, or has no prior.
            StorageError: the file is there and cannot be read.
            UsageError: the device is not present.
        """
        device = _present(device)
        model = read_model(path)
        networks = build_networks(model, path)
        prior = networks.prior.to(device)
        return cls(codec_of(model, networks, device), prior)


def generate(
    model: Path | Generator,
    *,
    count: int = 1,
    seconds: float,
    seed: int = 0,
    config: SamplingConfig | None = None,
    natural: bool = False,
    device: str = "cpu",
) -> list[GeneratedSound]:
    """Make new sounds.

    Args:
        model: a `.distill` file with a prior, or what was loaded from one.
        count: number of sounds.
        seconds: exact duration of each; with `natural` the greatest duration.
        seed: seed of the first sound; each further sound has the next.
        config: how codes are chosen; by default as the prior says.
        natural: end a sound where the prior ends it.
        device: where to compute: auto, cpu, cuda or mps; of no effect on what is loaded already.

    Raises:
        UsageError: a number is out of its range, or the device is not present.
        ArtifactError: the file cannot be used, has no prior, or its weights are damaged.
        StorageError: the file cannot be read.
    """
    _check(count, seconds, seed)
    generator = model if isinstance(model, Generator) else Generator.load(model, device)
    return list(_generate(generator, range(seed, seed + count), seconds, config, natural))


def write_sounds(
    folder: Path, sounds: Sequence[GeneratedSound], *, stem: str, format: str = "wav", force: bool = False
) -> list[Path]:
    """Write each sound as `STEM_SEED.FORMAT`, whole or not at all.

    Returns:
        The files, in the order of the sounds.

    Raises:
        UsageError: the format is unknown or cannot hold the sounds.
        StorageError: a file exists (without `force`) or cannot be written.
    """
    suffix = f".{format.lower().removeprefix('.')}"
    if suffix not in EXTENSIONS:
        known = ", ".join(extension[1:] for extension in EXTENSIONS)
        raise UsageError(f"unknown format {format}; known: {known}")
    paths = [folder / f"{stem}_{sound.seed:04d}{suffix}" for sound in sounds]
    if not force:
        for path in paths:
            if path.exists() or path.is_symlink():
                raise StorageError(f"{path} exists: choose another seed or folder, or replace it with --force")
    for path, sound in zip(paths, sounds, strict=True):
        write_sound(path, sound.samples, sound.sample_rate, _SUBTYPES.get(suffix))
    return paths


def _check(count: int, seconds: float, seed: int) -> None:
    if not 1 <= count <= MAX_COUNT:
        raise UsageError(f"the number of sounds must lie between 1 and {MAX_COUNT}, not {count}")
    if not 0 < seconds <= MAX_SECONDS:
        raise UsageError(f"the duration must be above 0 and at most {MAX_SECONDS:g} s, not {seconds:g}")
    if not 0 <= seed <= MAX_SEED - count:
        raise UsageError(f"the seed must lie between 0 and {MAX_SEED - count}, not {seed}")


def _present(device: str) -> str:
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if device_present(name))
    if not device_present(device.partition(":")[0]):
        raise UsageError(f"device {device} is not present here: use auto or cpu")
    return device


def _generate(
    generator: Generator, seeds: Sequence[int], seconds: float, config: SamplingConfig | None, natural: bool
) -> Iterator[GeneratedSound]:
    codec = generator.codec
    wanted = max(1, codec.samples_of(seconds))
    for first in range(0, len(seeds), ROWS):
        chosen = seeds[first : first + ROWS]
        grids = sample_codes(
            generator.prior, columns=codec.columns_of(wanted), seeds=chosen, config=config, natural=natural
        )
        for seed, grid in zip(chosen, grids, strict=True):
            # One by one: a convolution over a batch has other last bits than over a single sound.
            waveform = codec.waveform(codec.decode_log_mel(grid))[:wanted]
            yield GeneratedSound(_at_peak(waveform), codec.spectrogram.sample_rate, grid, seed)


def _at_peak(waveform: Samples) -> Samples:
    peak = float(np.max(np.abs(waveform)))
    if peak < SILENCE_PEAK:
        return waveform
    gain = min(10 ** (PEAK_DB / 20) / peak, 10 ** (MAX_GAIN_DB / 20))
    return (waveform * np.float32(gain)).astype(np.float32)
