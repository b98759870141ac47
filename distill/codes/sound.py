"""From sounds to grids and back, and how well that keeps the codes."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.audio.loudness import peak_db
from distill.audio.samples import to_mono, two_channels
from distill.audio.sound import Sound, read_sound
from distill.codec.codec import Normalized, Samples, normalize
from distill.codec.unchanged_codes import keep_codes
from distill.codec.vectors import codebooks, relative_distance, sum_of_vectors
from distill.codes.grid import CodeGrid, Codes, Source
from distill.codes.model import CodesModel
from distill.errors import DataError
from distill.generation.limits import PEAK_DB, below_clipping
from distill.models.grid import columns_of_frames
from distill.models.space import distances

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
    """The grid of a sound file of any length, as in training: its mix at the model's rate, with a peak of 1.

    Of a model that knows space it says, too, where the sound lies between its two channels.

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
    if not _is_utf8(path.name):
        raise DataError(f"{path} has bytes in its name that are no UTF-8, and a grid says its name: rename it")
    sound = read_sound(path)
    if sound.note:
        logger.warning("%s: %s", path, sound.note)
    return encode_sound(model, sound, path.name, like=like)


def _is_utf8(name: str) -> bool:
    return name.encode(errors="replace").decode() == name


def encode_sound(model: CodesModel, sound: Sound, name: str, *, like: CodeGrid | None = None) -> CodeGrid:
    """The grid of a sound; see `encode_file`.

    Raises:
        ArtifactError: `like` belongs to another model.
        DataError: the sound is silent, or `like` was not made from a sound.
    """
    samples = to_mono(sound, model.sample_rate)
    normalized = normalize(samples)
    if like is not None:
        model.require(like, "the grid whose codes are to stay")
        if like.source is None:
            raise DataError("the grid whose level is wanted was not made from a sound: it has no level")
        normalized = Normalized(scaled(samples, like.source.gain_db), like.source.gain_db)
    seconds = len(samples) / model.sample_rate
    log_mel = model.codec.log_mel(normalized.samples)
    codes = model.codec.encode_log_mel(log_mel)
    if like is not None:
        codes = keep_codes(model.codec, log_mel, codes, model.codec.without_space(like.codes))
        gain_db = normalized.gain_db
    else:
        gain_db = normalized.gain_db - model.codec.lost_db(log_mel, codes)
    channels = None if model.codec.space is None else two_channels(sound, model.sample_rate)
    if channels is not None:
        known = None if like is None or like.levels == model.codec.levels else like.codes[..., -1]
        codes = model.codec.whole(codes, _space(model, scaled(channels, normalized.gain_db), len(codes), known))
    return model.grid(model.codec.whole(codes), Source(name, seconds, gain_db))


def _space(model: CodesModel, channels: Samples, columns: int, known: Codes | None) -> Codes:
    """The space of channels `[2, n]`; what was known before stays where it fits about as well."""
    space = model.codec.space
    assert space is not None
    found = model.codec.space_codes(channels, columns)
    if known is None:
        return found
    cells = model.codec.space_cells(channels)
    both = min(columns, len(known), len(cells))
    before, now = (distances(space.cells(each[:both]), cells[:both]) for each in (known, found))
    found[:both] = np.where(before <= now + 1.0, known[:both], found[:both])
    return found


def decode(model: CodesModel, grid: CodeGrid, *, width: float | None = 1.0) -> Samples:
    """The sound of a grid at the model's own level, whole columns `[n]` or, with space, `[2, n]`.

    It depends on the codes alone. What tells the channels apart is scaled by `width`; None: the sound is mono.

    Raises:
        ArtifactError: the grid belongs to another model, or the model's weights are damaged.
    """
    model.require(grid)
    return model.place(grid.codes, model.codec.column_waveform(model.codec.decode_log_mel(grid.codes)), width)


def as_source(model: CodesModel, grid: CodeGrid, samples: Samples) -> Samples:
    """A decoded sound `[n]` or `[2, n]` at the level of the one that was encoded, below clipping, as long if it can be.

    It keeps whole columns where edits changed their number. What was not made from a sound gets a peak of -1 dB.
    """
    source = grid.source
    if source is not None:
        wanted = model.codec.samples_of(source.seconds)
        if columns_of_frames(model.codec.spectrogram.frames_of(wanted)) == len(grid):
            samples = samples[..., :wanted]
    return at_source_level(model, grid, samples)


def at_source_level(model: CodesModel, grid: CodeGrid, samples: Samples) -> Samples:
    """Some decoded samples `[n]` or `[2, n]` of a grid at the level of the sound that was encoded, below clipping.

    Phases that are found anew raise single peaks: they are held, by 6 dB at most. What was not made from a sound gets a
    peak of -1 dB.
    """
    if grid.source is None:
        return scaled(samples, PEAK_DB - peak_db(samples))
    return below_clipping(samples, -grid.source.gain_db, model.sample_rate)


def amplify(samples: Samples) -> Samples:
    """Samples, any shape, with a peak of -1 dB, for hearing codes alone, but with at most 40 dB of gain.

    An entry of a finer level is nearly silent; what was made much louder still is mostly the decoder's own floor.
    """
    return scaled(samples, min(PEAK_DB - peak_db(samples), MAX_GAIN_DB))


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
    made = codec.column_waveform(log_mel)
    heard = codec.log_mel(made)
    as_sound = codec.encode_log_mel(heard)
    as_file = codec.encode(normalize(made).samples)[:columns]
    books, codes = codebooks(codec), codec.without_space(grid.codes)
    distance = relative_distance(sum_of_vectors(books, as_file), sum_of_vectors(books, codes))
    # A level moves no space.
    moved: tuple[float, ...] = ()
    moved_like: tuple[float, ...] = ()
    if grid.levels > codec.levels:
        placed, space = model.place(grid.codes, made), grid.codes[..., -1]
        moved, moved_like = (
            (float(np.mean(_space(model, placed, columns, known) != space)),) for known in (None, space)
        )
    return RoundTrip(
        by_spectrogram=(*_changed(codes, codec.encode_log_mel(log_mel)), *(0.0 for _ in moved)),
        by_sound=(*_changed(codes, as_sound[:columns]), *moved),
        by_file=(*_changed(codes, as_file), *moved),
        like_grid=(*_changed(codes, keep_codes(codec, heard, as_sound, codes)[:columns]), *moved_like),
        distance=distance,
    )


def _changed(before: Codes, after: Codes) -> tuple[float, ...]:
    return tuple(np.mean(before != after, axis=(0, 1)).tolist())
