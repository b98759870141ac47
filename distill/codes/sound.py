"""From sounds to grids and back, and how well that keeps the codes."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.audio.mel import frames_of
from distill.audio.sound import Sound, read_sound, to_mono
from distill.codec.codec import Codec, Normalised, Samples, normalise
from distill.codec.kept import keep_codes
from distill.codec.vectors import codebooks, relative_distance, sum_of_vectors
from distill.codes.grid import CodeGrid, Codes, Source
from distill.codes.model import CodesModel
from distill.configs import STRIDE
from distill.errors import DataError
from distill.generation.limits import PEAK_DB, below_clipping
from distill.models.grid import columns_of

MAX_GAIN_DB = 40.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RoundTrip:
    """How many codes change when what was decoded is encoded again.

    Attributes:
        by_spectrogram: share of the codes of each level, without making a waveform.
        by_sound: the same by way of the waveform, at the level that it has.
        by_file: the same by way of the waveform with a peak of 1, as every sound file is encoded.
        like_grid: the same by way of the waveform, encoded like the grid.
        distance: RMS distance of the code vectors by file to those before, relative to their RMS size.
    """

    by_spectrogram: tuple[float, ...]
    by_sound: tuple[float, ...]
    by_file: tuple[float, ...]
    like_grid: tuple[float, ...]
    distance: float


def encode_file(model: CodesModel, path: Path, *, like: CodeGrid | None = None) -> CodeGrid:
    """The grid of a sound file of any length, as in training: mono, at the model's rate, with a peak of 1.

    Its codes are those that the prior learned from, so it knows what to make of them.

    Args:
        model: whose codes they are.
        path: the file.
        like: a grid that this sound comes from. Its gain is taken instead of a peak of 1, as another level has other
            codes, and its codes stay where the sound is what it was.

    Raises:
        ArtifactError: `like` belongs to another model.
        DataError: the file is not a sound that can be used, or it is silent, or `like` was not made from a sound.
    """
    sound = read_sound(path)
    if sound.note:
        logger.warning("%s: %s", path, sound.note)
    return encode_sound(model, sound, path.name, like=like)


def encode_sound(model: CodesModel, sound: Sound, name: str, *, like: CodeGrid | None = None) -> CodeGrid:
    """The grid of a sound; see `encode_file`.

    Raises:
        ArtifactError: `like` belongs to another model.
        DataError: the sound is silent, or `like` was not made from a sound.
    """
    samples = to_mono(sound, model.sample_rate)
    normalised = normalise(samples)
    if like is not None:
        model.require(like, "the grid whose codes are to stay")
        if like.source is None:
            raise DataError("the grid whose level is wanted was not made from a sound: it has no level")
        normalised = Normalised(scaled(samples, like.source.gain_db), like.source.gain_db)
    seconds = len(samples) / model.sample_rate
    log_mel = model.codec.log_mel(normalised.samples)
    codes = model.codec.encode_log_mel(log_mel)
    if like is not None:
        codes = keep_codes(model.codec, log_mel, codes, like.codes)
        return model.grid(codes, Source(name, seconds, normalised.gain_db))
    return model.grid(codes, Source(name, seconds, normalised.gain_db - model.codec.lost_db(log_mel, codes)))


def decode(model: CodesModel, grid: CodeGrid) -> Samples:
    """The sound of a grid at the model's own level, `[n]` with whole columns; it depends on the codes alone.

    Raises:
        ArtifactError: the grid belongs to another model, or the model's weights are damaged.
    """
    model.require(grid)
    return waveform(model.codec, model.codec.decode_log_mel(grid.codes))


def waveform(codec: Codec, log_mel: Samples, known: Samples | None = None) -> Samples:
    """A waveform `[columns * column_samples]` of a log mel `[n_mels, 16 * columns]`.

    Args:
        codec: whose log mel it is.
        log_mel: whole columns, with the frame that follows them where the sound goes on.
        known: samples of the same length that are kept as they are; NaN where they are to be found.
    """
    if log_mel.shape[1] % STRIDE == 0:
        # Frames stand at the middle of their windows: one more makes the last column whole.
        log_mel = np.concatenate([log_mel, log_mel[:, -1:]], axis=1)
    return codec.waveform(log_mel, known)


def as_source(model: CodesModel, grid: CodeGrid, samples: Samples) -> Samples:
    """A decoded sound `[n]` at the level of the sound that was encoded, below clipping, and as long if it can be.

    It keeps whole columns where edits changed their number. What was not made from a sound gets a peak of -1 dB.
    """
    source = grid.source
    if source is not None:
        wanted = model.codec.samples_of(source.seconds)
        if columns_of(frames_of(wanted, model.codec.spectrogram)) == len(grid):
            samples = samples[:wanted]
    return at_source_level(model, grid, samples)


def at_source_level(model: CodesModel, grid: CodeGrid, samples: Samples) -> Samples:
    """Some decoded samples `[n]` of a grid at the level of the sound that was encoded, below clipping.

    Phases that are found anew raise single peaks: they are held, by 6 dB at most. What was not made from a sound gets a
    peak of -1 dB.
    """
    if grid.source is None:
        return scaled(samples, PEAK_DB - peak_db(samples))
    return below_clipping(samples, -grid.source.gain_db, model.sample_rate)


def audible(samples: Samples) -> Samples:
    """Samples `[n]` with a peak of -1 dB, for hearing codes alone, but with at most 40 dB of gain.

    An entry of a finer level is nearly silent; what was made much louder still is mostly the decoder's own floor.
    """
    return scaled(samples, min(PEAK_DB - peak_db(samples), MAX_GAIN_DB))


def peak_db(samples: Samples) -> float:
    """The highest absolute sample, in dB; -180 in silence."""
    return 20.0 * float(np.log10(max(float(np.max(np.abs(samples), initial=0.0)), 1e-9)))


def scaled(samples: Samples, gain_db: float) -> Samples:
    """Samples with a gain in dB."""
    return (samples * np.float32(10 ** (gain_db / 20))).astype(np.float32)


def round_trip(model: CodesModel, grid: CodeGrid) -> RoundTrip:
    """Encode what is decoded, and compare.

    Raises:
        ArtifactError: the grid belongs to another model, or the model's weights are damaged.
        DataError: the grid decodes to silence.
    """
    model.require(grid)
    codec, columns = model.codec, len(grid)
    log_mel = codec.decode_log_mel(grid.codes)
    made = waveform(codec, log_mel)
    heard = codec.log_mel(made)
    as_sound = codec.encode_log_mel(heard)
    as_file = codec.encode(normalise(made).samples)[:columns]
    books = codebooks(codec)
    distance = relative_distance(sum_of_vectors(books, as_file), sum_of_vectors(books, grid.codes))
    return RoundTrip(
        by_spectrogram=_changed(grid.codes, codec.encode_log_mel(log_mel)),
        by_sound=_changed(grid.codes, as_sound[:columns]),
        by_file=_changed(grid.codes, as_file),
        like_grid=_changed(grid.codes, keep_codes(codec, heard, as_sound, grid.codes)[:columns]),
        distance=distance,
    )


def _changed(before: Codes, after: Codes) -> tuple[float, ...]:
    return tuple(np.mean(before != after, axis=(0, 1)).tolist())
