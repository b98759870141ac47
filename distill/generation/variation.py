"""What a given sound can become: variations of it, and what lies between it and another one."""

import numpy as np
import numpy.typing as npt

from distill.audio.knobs import power_of
from distill.audio.loudness import loudest_lufs
from distill.audio.nearness import apart
from distill.audio.sound import Sound
from distill.codec.codec import Codec, Grid, Samples
from distill.codec.vectors import codebooks, quantize, sum_of_vectors
from distill.configs import STRIDE, SpectrogramConfig
from distill.generation.continuation import Known, as_known, space_codes
from distill.generation.generator import GeneratedSound, Generator, sample_grids, waveform_blocks
from distill.generation.inpainting import complete
from distill.generation.limits import MAX_GAIN_DB, below_clipping
from distill.generation.sampler import SamplingConfig
from distill.generation.seeds import VARIED, stream
from distill.generation.sound_request import Keep
from distill.generation.space import with_space
from distill.models.grid import FREE
from distill.models.prior import CodePrior

# Something begins where the power rises by so much within two frames, unless it stays so far below the loudest.
ONSET_DB, ONSET_FLOOR_DB = 6.0, 30.0
# A grid that is completed has few given codes that could tell its candidates apart.
CANDIDATES = 4

Cells = npt.NDArray[np.bool_]


def vary_sound(
    generator: Generator,
    sound: Sound,
    *,
    strength: float,
    seed: int,
    keep: Keep | None = None,
    config: SamplingConfig | None = None,
    width: float | None = None,
) -> tuple[GeneratedSound, float]:
    """A variation of a sound, and how far it is from what the codec makes of the sound itself.

    At strength 0 it has the sound's codes. From there on the finest level is drawn anew, cell by cell, then the next
    coarser one, and at 1 all of them: what comes then is a new sound, at most as long as the given one. With the same
    seed what is drawn anew at one strength is so at any higher one.

    Args:
        generator: the model.
        sound: what is given, at any sample rate.
        strength: from 0 to 1.
        seed: decides the result, with the settings.
        keep: what stays at any strength.
        config: how codes are chosen.
        width: by how much what tells two channels apart is scaled; None: the variation is mono.

    Returns:
        Samples `[n]` or `[2, n]` at the model's sample rate, as loud as the given sound; the distance from 0 to 1.41,
        mean over windows of the mono mix, as `distill.audio.nearness` measures it.

    Raises:
        DataError: the sound is silent.
        ArtifactError: the model's weights are damaged.
    """
    codec, given = generator.codec, as_known(generator, sound)
    log_mel = codec.log_mel(given.samples)
    grid = codec.encode_log_mel(log_mel)
    kept = cells_to_keep(log_mel, grid, codec.spectrogram, keep)
    if strength >= 1.0 and keep is None:
        [(_, codes)] = sample_grids(generator, [seed], len(given.samples), config=config, natural=True)
    else:
        codes = vary_codes(generator.prior, grid, strength=strength, kept=kept, seed=seed, config=config)
    space = space_codes(codec, given, len(grid))
    if space is not None:
        # Where something begins stays where it is, and so does a whole column where that is kept.
        free = free_cells((*space.shape, 1), strength, seed)[..., 0] & ~kept.all(2)
        known = np.where(free, FREE, space)[: len(codes)]
        codes = with_space(codec, codes, seed=seed, config=config, given=known)
    made = _sound(generator, codes, len(given.samples), _lufs(codec, given), seed, width)
    return made, apart(codec.decode_log_mel(codes), codec.decode_log_mel(grid), codec.spectrogram)


def vary_codes(
    prior: CodePrior,
    grid: Grid,
    *,
    strength: float,
    seed: int,
    kept: Cells | None = None,
    config: SamplingConfig | None = None,
) -> Grid:
    """A grid with a share of its codes drawn anew, so that they go with those that stay.

    Args:
        prior: in evaluation mode.
        grid: a whole sound, `[columns, bands, levels]`.
        strength: from 0 to 1.
        seed: decides the result, with the settings.
        kept: cells that stay at any strength, of the grid's shape.
        config: how codes are chosen.
    """
    free = free_cells(grid.shape, strength, seed)
    if kept is not None:
        free &= ~kept
    if not free.any():
        return grid
    return complete(prior, np.where(free, FREE, grid), seed=seed, config=config, candidates=CANDIDATES)


def free_cells(shape: tuple[int, ...], strength: float, seed: int) -> Cells:
    """The cells of a grid `[columns, bands, levels]` that are drawn anew: of the finest level first.

    Of each coarser one when the finer ones are free as a whole. With one seed those of a strength are among those of
    any higher one.
    """
    levels = shape[2]
    shares = np.clip(strength * levels - np.arange(levels)[::-1], 0.0, 1.0)
    numbers = stream(seed, VARIED).random(shape)
    free: Cells = numbers < shares
    return free


def cells_to_keep(log_mel: Samples, grid: Grid, config: SpectrogramConfig, keep: Keep | None) -> Cells:
    """The cells of a grid that stay: those of columns in which something begins, or those of the coarsest level."""
    cells = np.zeros(grid.shape, dtype=bool)
    if keep == "structure":
        cells[..., 0] = True
    elif keep == "attack":
        level = 10.0 * np.log10(power_of(log_mel, config).sum(0) + 1e-12)
        before = np.concatenate([np.full(2, -np.inf), level[:-2]])
        begins = (level - before >= ONSET_DB) & (level >= level.max() - ONSET_FLOOR_DB)
        cells[np.unique(np.flatnonzero(begins) // STRIDE)] = True
    return cells


def morph_sound(
    generator: Generator, sound: Sound, other: Sound, *, weight: float, width: float | None = None
) -> GeneratedSound:
    """What lies between two sounds, which begin together; see `between`.

    Args:
        generator: the model.
        sound: the one sound, at any sample rate.
        other: the other one.
        weight: from 0, what the codec makes of the one, to 1, what it makes of the other.
        width: by how much what tells two channels apart is scaled; None: the sound is mono.

    Returns:
        Samples `[n]` or `[2, n]` at the model's sample rate; duration and loudness lie between those of the two.

    Raises:
        DataError: a sound is silent.
        ArtifactError: the model's weights are damaged.
    """
    codec = generator.codec
    knowns = [as_known(generator, each) for each in (sound, other)]
    grids = [codec.encode(each.samples) for each in knowns]
    grids = [codec.whole(grid, space_codes(codec, each, len(grid))) for each, grid in zip(knowns, grids, strict=True)]
    first, last = (_lufs(codec, each) for each in knowns)
    samples = round((1.0 - weight) * len(knowns[0].samples) + weight * len(knowns[1].samples))
    codes = between(codec, grids[0], grids[1], weight)[: codec.columns_of(samples)]
    return _sound(generator, codes, samples, (1.0 - weight) * first + weight * last, 0, width)


def between(codec: Codec, grid: Grid, other: Grid, weight: float) -> Grid:
    """The codes between those of two sounds: their vectors, and where they lie, are interpolated and quantized again.

    Behind the end of the shorter one stands silence. At weight 0 it is the one grid, at 1 the other.

    Args:
        codec: of both.
        grid: `[columns, bands, levels]`.
        other: the same, of any length.
        weight: from 0 to 1.

    Returns:
        A grid as long as the longer one.
    """
    if weight in (0.0, 1.0):
        return other if weight else grid
    books = codebooks(codec)
    columns = max(len(grid), len(other))
    both = [codec.lengthened(each, columns) for each in (grid, other)]
    ours, theirs = (sum_of_vectors(books, codec.without_space(each)) for each in both)
    target = (1.0 - weight) * ours + weight * theirs
    codes = quantize(books, target.astype(np.float32), np.full((columns, codec.bands, codec.levels), FREE))
    if codec.space is None or grid.shape[2] == codec.levels:
        return codes
    ours, theirs = (codec.space.cells(each[..., -1]) for each in both)
    return codec.whole(codes, codec.space.codes_of((1.0 - weight) * ours + weight * theirs))


def _sound(
    generator: Generator, codes: Grid, samples: int, lufs: float, seed: int, width: float | None
) -> GeneratedSound:
    """A sound of whole columns at a loudness; where they end less than a hop too early, with silence behind it."""
    codec = generator.codec
    missing = codec.columns_of(samples) - len(codes)
    if missing == 1:
        codes = codec.lengthened(codes, len(codes) + 1)
    blocks = list(waveform_blocks(generator, codes, samples))
    rate = codec.spectrogram.sample_rate
    found = loudest_lufs([np.concatenate(blocks)[:, None]], rate)
    made = np.concatenate(list(codec.in_two_channels(blocks, codes, width))).T
    # What is hardly heard is not made as loud as a sound.
    return GeneratedSound(below_clipping(made, min(lufs - found, MAX_GAIN_DB), rate), rate, codes, seed)


def _lufs(codec: Codec, known: Known) -> float:
    """How loud a given sound is in mono."""
    return loudest_lufs([known.samples[:, None]], codec.spectrogram.sample_rate) + 20 * float(np.log10(known.peak))
