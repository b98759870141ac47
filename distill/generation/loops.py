"""Sounds that go round: the end leads into the beginning in the codes, in the decoder and in the waveform."""

import numpy as np

from distill.audio.space import in_two, side_of
from distill.codec.codec import Codec, Grid, Samples
from distill.configs import STRIDE
from distill.generation.generator import Generator
from distill.generation.sampler import SamplingConfig
from distill.generation.sampling import draw_codes
from distill.generation.seeds import further_seed
from distill.generation.sound_request import Request
from distill.generation.space import with_space
from distill.models.grid import CONTEXT_COLUMNS, FREE
from distill.models.space import distances

# Of a shorter grid nothing would be left that the last column could go with.
LEAST_COLUMNS = 3
CANDIDATES = 16
# How often the space of a loop is drawn anew, and behind how many of its last columns.
PLACES, _LEAD_COLUMNS = 4, 4
# Frames around a border that count to it.
_AROUND = 2
# Frames on each side of the join that are made again, and of these how many next to it are free.
_REMADE_FRAMES, _FREE_FRAMES = 64, 16


def samples_to_draw(codec: Codec, request: Request) -> int:
    """How long a sound is drawn, in samples at the model's rate: of a loop as many columns as are nearest to it."""
    samples = request.frames(codec.spectrogram.sample_rate)
    if not request.loop:
        return samples
    return max(1, round(samples / codec.column_samples)) * codec.column_samples - codec.spectrogram.hop_length


def close_loop(generator: Generator, grid: Grid, *, seed: int, config: SamplingConfig | None = None) -> Grid:
    """A grid `[columns, bands, levels]` whose last column leads into the first one.

    The prior draws some last columns between what is before and the beginning. Of these and the one that is there, that
    is taken in which, borders and all, the decoded spectrogram rises least.
    """
    if len(grid) < LEAST_COLUMNS:
        return grid
    # What stands before and behind the join is seen: two columns at least.
    codec, half = generator.codec, max(2, len(grid) // 2)
    # In the middle of the turned grid the end stands before the beginning.
    turned, last = np.roll(grid, half, axis=0), half - 1
    given = turned.copy()
    given[last] = FREE
    columns = slice(max(0, last - CONTEXT_COLUMNS - 1), last + CONTEXT_COLUMNS + 2)
    seeds = [further_seed(seed, number) for number in range(1, CANDIDATES + 1)]
    drawn = draw_codes(generator.prior, columns=last + 1, seeds=seeds, config=config, given=given[: last + 1])
    candidates = np.repeat(turned[None], 1 + CANDIDATES, axis=0)
    candidates[1:, last] = [each.grid[last] for each in drawn]
    rises = np.diff(codec.decode_log_mels(list(candidates[:, columns])), axis=2).clip(min=0.0).mean(1)
    begin = STRIDE * (last - columns.start) - _AROUND
    greatest = rises[:, begin : begin + STRIDE + 2 * _AROUND].max(1)
    return np.roll(candidates[int(greatest.argmin())], -half, axis=0)


def with_space_around(codec: Codec, grid: Grid, *, seed: int, config: SamplingConfig | None = None) -> Grid:
    """A loop's grid `[columns, bands, levels]` with its space, whose end leads into its beginning.

    It is drawn a few times, each time behind its own last end; that is taken whose place moves least at the join.
    """
    drawn = with_space(codec, grid, seed=seed, config=config)
    if codec.space is None:
        return drawn
    lead, best = min(_LEAD_COLUMNS, len(grid)), drawn
    for number in range(1, PLACES + 1):
        given = np.full((lead + len(grid), codec.bands), FREE)
        given[:lead] = drawn[-lead:, :, -1]
        behind = np.concatenate([grid[-lead:], grid])
        drawn = with_space(codec, behind, seed=further_seed(seed, number), config=config, given=given)[lead:]
        best = min(best, drawn, key=lambda each: _moved(codec, each))
    return best


def _moved(codec: Codec, grid: Grid) -> float:
    """By how much the place of a loop changes from its end to its beginning."""
    assert codec.space is not None
    last, first = codec.space.cells(grid[[-1, 0], :, -1])
    return float(distances(last[:, -1:], first[:, :1]).mean())


def loop_waveform(codec: Codec, grid: Grid, samples: int, length: int, width: float | None = None) -> Samples:
    """A loop of a grid: its join sounds as any other place.

    Args:
        codec: of the grid.
        grid: `[columns, bands, levels]`; the last column goes on in the first.
        samples: how long the loop is at the model's sample rate.
        length: how many samples it shall have, at whatever rate.
        width: by how much what tells two channels apart is scaled; None: the loop is mono.

    Returns:
        `[length]` or `[length, 2]`, with the level of the codes. It is stretched from whole columns to `samples`
        without a change of pitch, but for half a hop, of which a loop of a second is 0.5 % faster or slower at most.

    Raises:
        ArtifactError: the model's weights are damaged.
    """
    hop = codec.spectrogram.hop_length
    log_mel = _stretched(_log_mel(codec, grid), max(2, round(samples / hop)))
    frames = log_mel.shape[1]
    made = codec.waveform(np.concatenate([log_mel, log_mel[:, :1]], axis=1))
    remade = min(_REMADE_FRAMES, frames // 2)
    around = np.arange(-remade, remade + 1)
    known = np.concatenate([made[len(made) - remade * hop :], made[: remade * hop]])
    free = min(_FREE_FRAMES, remade // 2) * hop
    middle = remade * hop
    known[middle - free : middle + free] = np.nan
    joined = codec.waveform(np.take(log_mel, around, axis=1, mode="wrap"), known)
    made[len(made) - middle :], made[:middle] = joined[:middle], joined[middle:]
    if width is not None:
        made = _in_two_channels(codec, grid, made, width)
    return _resampled(made, length)


def _in_two_channels(codec: Codec, grid: Grid, made: Samples, width: float) -> Samples:
    """A loop `[n]` of whole hops in its place, `[n, 2]`."""
    around = np.arange(-1, len(grid) + 1)
    space = codec.space_of(np.take(grid, around, axis=0, mode="wrap"))
    if space is None:
        return made
    hop = codec.spectrogram.hop_length
    turning = _stretched(space[STRIDE:-STRIDE].reshape(STRIDE * len(grid), -1).T, len(made) // hop)
    before = min(_REMADE_FRAMES, len(made) // hop)
    frames = np.arange(-before, len(made) // hop + before)
    wrapped = np.take(turning, frames, axis=1, mode="wrap").T.reshape(len(frames), *space.shape[1:])
    samples = np.take(made, np.arange(-before * hop, len(made) + before * hop), mode="wrap")
    side = side_of(samples, wrapped, codec.spectrogram)[before * hop :][: len(made)]
    return in_two(made, np.float32(width) * side).T


def _log_mel(codec: Codec, grid: Grid) -> Samples:
    """The log mel of a grid `[n_mels, 16 * columns]`, decoded as one that goes round."""
    around = np.arange(-CONTEXT_COLUMNS, len(grid) + CONTEXT_COLUMNS)
    decoded = codec.decode_log_mel(np.take(grid, around, axis=0, mode="wrap"))
    whole: Samples = decoded[:, STRIDE * CONTEXT_COLUMNS :][:, : STRIDE * len(grid)]
    return whole


def _stretched(log_mel: Samples, frames: int) -> Samples:
    """A log mel that goes round, with another number of frames: each between its two neighbours."""
    if frames == log_mel.shape[1]:
        return log_mel
    places = np.arange(frames) * (log_mel.shape[1] / frames)
    before = places.astype(np.int64)
    after = (before + 1) % log_mel.shape[1]
    share = (places - before).astype(np.float32)
    found: Samples = (1 - share) * log_mel[:, before] + share * log_mel[:, after]
    return found


def _resampled(samples: Samples, length: int) -> Samples:
    """A period `[n]` or `[n, 2]` of a sound that goes round, with another length: the same Fourier series."""
    if length == len(samples):
        return samples
    series = np.fft.irfft(np.fft.rfft(samples, axis=0), length, axis=0)
    found: Samples = (series * (length / len(samples))).astype(np.float32)
    return found
