"""Continuing a given sound, or filling a part of it anew; the given samples stay as they are."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from distill.audio.downmix import turned_over
from distill.audio.samples import mixed, resample, to_mono, two_channels
from distill.audio.sound import Sound
from distill.codec.codec import Codec, Grid, Samples, normalize
from distill.configs import STRIDE
from distill.errors import DataError, UsageError
from distill.generation.autoregressive import heard_columns
from distill.generation.generator import GeneratedSound, Generator, is_audible
from distill.generation.inpainting import Region
from distill.generation.limits import LOUDEST_DB, check_request
from distill.generation.sampler import SamplingConfig
from distill.generation.sampling import MOST_PASSED_OVER, sample_codes
from distill.generation.seeds import further_seed
from distill.generation.space import renew_region, with_space

# How many given columns on each side the phases of new ones are found with.
_JOINT_COLUMNS = 6
_RAMP_SECONDS = 0.02
# A continuation that stays below this, beside a given sound with a peak of 1, counts as silence.
_NEARLY_SILENT = 10 ** (-50 / 20)
# Time constant, in s, with which a step at a joint dies away.
_STEP_SECONDS = 0.001
# Duration, in s, of the transition from the given side to the new one.
_SIDE_SECONDS = 0.01


@dataclass(frozen=True)
class Known:
    """A given sound in mono at the model's rate, with a peak of 1 as the model knows it, and by what it was divided.

    `channels` are its two channels `[2, n]`, as loud, where they differ and the model knows space.
    """

    samples: Samples
    peak: float
    channels: Samples | None = None

    def part(self, first: int) -> "Known":
        """From a sample on; one below 0 counts from the end."""
        channels = None if self.channels is None else self.channels[:, first:]
        return replace(self, samples=self.samples[first:], channels=channels)


def continue_sound(
    generator: Generator,
    sound: Sound,
    *,
    seconds: float,
    seed: int,
    config: SamplingConfig | None = None,
    natural: bool = False,
    width: float | None = None,
) -> GeneratedSound:
    """A sound followed by what the prior makes of it.

    The prior hears as much of the end as its window holds. What is new begins in phase with it. It has one channel,
    given to all channels of the sound, or two where the sound has two and the model knows space.

    Args:
        generator: the model.
        sound: what is given, at any sample rate.
        seconds: duration of what is new; with `natural` the greatest duration.
        seed: decides what is new, with the settings.
        config: how codes are chosen.
        natural: end where the prior ends the sound; what is nearly silent then is passed over, up to 7 times.
        width: by how much what tells two channels apart is scaled in what is new; None: it is the same in all channels.

    Returns:
        Samples `[channels, n]` at the sound's own rate; the grid is that of what the prior heard and made.

    Raises:
        DataError: the sound is silent, or shorter than a column of codes; or the prior always ends it where it is.
        UsageError: the duration is out of its range.
        ArtifactError: the model's weights are damaged.
    """
    check_request(count=1, seconds=seconds, seed=seed)
    sound, polarity = _in_phase(sound)
    codec, given = generator.codec, as_known(generator, sound, least=generator.codec.column_samples)
    rate = codec.spectrogram.sample_rate
    # At least a sample at the sound's own rate.
    wanted = max(-(-rate // sound.sample_rate), codec.samples_of(seconds))
    # Columns are counted back from the end, where what is new begins.
    heard = min(len(given.samples) // codec.column_samples, heard_columns(generator.prior))
    context = given.samples[len(given.samples) - heard * codec.column_samples :]
    codes = codec.encode(context)[:heard]
    lead = min(heard, _JOINT_COLUMNS)
    known = context[(heard - lead) * codec.column_samples :]
    lost = _lost(generator, context[: heard * codec.column_samples], codes)
    grid, made = _draw_behind(
        generator,
        codes,
        known,
        lost,
        wanted,
        seed=seed,
        config=config,
        natural=natural,
        from_start=len(context) == len(given.samples),
    )
    heard_space = space_codes(codec, given.part(-heard * codec.column_samples), heard)
    grid = with_space(codec, grid, seed=seed, config=config, given=heard_space)
    channels = _channels(codec, made, grid[heard - lead :], sound, width)
    new = _at_given_level(channels, sound, rate, float(given.peak * lost))[
        :, round(len(known) * sound.sample_rate / rate) :
    ]
    new = _lead_side(new, sound.samples[:, ::-1], sound, channels)
    new = _join(_soften(new, sound, ends=False), sound, sound.samples[:, -1])
    samples = np.concatenate([sound.samples, new], axis=1)
    return GeneratedSound(samples * polarity, sound.sample_rate, grid, seed)


def fill_sound(
    generator: Generator,
    sound: Sound,
    *,
    start: float,
    end: float,
    seed: int,
    levels: tuple[int, ...] | None = None,
    config: SamplingConfig | None = None,
    width: float | None = None,
) -> GeneratedSound:
    """A sound with a part renewed, so that it goes with what stands before and after it.

    The part grows to whole columns of the code grid. Where only some levels are renewed, the others keep what the
    sound had there. What is new has one channel, given to all channels of the sound, or two as in `continue_sound`.

    Args:
        generator: the model.
        sound: what is given, at any sample rate.
        start: where the part begins, in s.
        end: where it ends, in s.
        seed: decides what is new, with the settings.
        levels: levels to renew, from 0; by default all.
        config: how codes are chosen.
        width: as in `continue_sound`.

    Returns:
        Samples `[channels, n]` at the sound's own rate and of its length, and the whole grid.

    Raises:
        DataError: the sound is silent, or shorter than a column of codes.
        UsageError: the part does not lie in the sound, or there is no such level.
        ArtifactError: the model's weights are damaged.
    """
    sound, polarity = _in_phase(sound)
    codec, given = generator.codec, as_known(generator, sound, least=generator.codec.column_samples)
    first, last = part_in_columns(codec, sound, start, end)
    grid, column = codec.encode(given.samples), codec.column_samples
    lost = _lost(generator, given.samples, grid)
    last = min(len(grid), last)
    grid = codec.whole(grid, space_codes(codec, given, len(grid)))
    grid = renew_region(codec, generator.prior, grid, Region(first, last, levels), seed=seed, config=config)
    begin, stop = max(0, first - _JOINT_COLUMNS), min(len(grid), last + _JOINT_COLUMNS)
    before = given.samples[begin * column : first * column] / lost
    after = given.samples[last * column : stop * column] / lost
    made = _waveform(codec, grid[begin:stop], [(0, before), ((last - begin) * column, after)])
    made = made[: min(stop * column, len(given.samples)) - begin * column]
    rate = codec.spectrogram.sample_rate
    channels = _channels(codec, made, grid[begin:stop], sound, width)
    new = _at_given_level(channels, sound, rate, float(given.peak * lost))
    samples = sound.samples.copy()
    origin, at, to = (round(each * column * sound.sample_rate / rate) for each in (begin, first, last))
    to = min(to, samples.shape[1], origin + new.shape[1])
    samples[:, at:to] = _between(new[:, at - origin : to - origin], samples[:, :at], samples[:, to:], sound, channels)
    return GeneratedSound(samples * polarity, sound.sample_rate, grid, seed)


def part_in_columns(codec: Codec, sound: Sound, start: float, end: float) -> tuple[int, int]:
    """The whole columns, from the first to the one after the last, that a part of a sound, in s, lies in.

    Raises:
        UsageError: the part does not lie in the sound.
    """
    if end <= start:
        raise UsageError(f"{start:g} s to {end:g} s: the end must be after the start")
    if not (start >= 0 and end <= sound.seconds + 1e-6):
        raise UsageError(f"{start:g} s to {end:g} s is not within a sound of {sound.seconds:.3f} s")
    return codec.samples_of(start) // codec.column_samples, -(-codec.samples_of(end) // codec.column_samples)


def _draw_behind(
    generator: Generator,
    codes: Grid,
    known: Samples,
    lost: np.float32,
    wanted: int,
    *,
    seed: int,
    config: SamplingConfig | None,
    natural: bool,
    from_start: bool,
) -> tuple[Grid, Samples]:
    """Draw what follows known codes and samples: the whole grid, and `wanted` samples behind the known ones.

    The samples are as loud as the grid decodes, the known ones by `lost` louder. A natural continuation that is nearly
    silent is drawn again.

    Raises:
        DataError: all of them are.
    """
    codec, lead = generator.codec, len(known) // generator.codec.column_samples
    for number in range(MOST_PASSED_OVER + 1):
        [grid] = sample_codes(
            generator.prior,
            columns=len(codes) + codec.columns_of(wanted),
            seeds=[further_seed(seed, number)],
            config=config,
            natural=natural,
            given=codes,
            from_start=from_start,
            is_audible=partial(is_audible, codec),
        )
        made = _waveform(codec, grid[len(codes) - lead :], [(0, known / lost)])[: len(known) + wanted]
        if not natural or lost * np.abs(made[len(known) :]).max(initial=0.0) > _NEARLY_SILENT:
            return grid, made
    raise DataError("the model ends the sound here, and nothing audible follows: ask for an exact duration (--chain)")


def as_known(generator: Generator, sound: Sound, *, least: int = 0) -> Known:
    """A given sound as the model knows sounds.

    Raises:
        DataError: it is silent, or has fewer samples than `least`.
    """
    rate = generator.codec.spectrogram.sample_rate
    mono = to_mono(sound, rate)
    normalized = normalize(mono)
    if len(mono) < least:
        raise DataError(f"a sound of {sound.seconds:.3f} s is too short: give at least {least / rate:.3f} s")
    peak = 10 ** (-normalized.gain_db / 20)
    channels = None if generator.codec.space is None else two_channels(sound, rate)
    return Known(normalized.samples, peak, None if channels is None else (channels / peak).astype(np.float32))


def space_codes(codec: Codec, known: Known, columns: int) -> Grid | None:
    """The space `[columns, bands]` of a given sound; None of a model without space."""
    if codec.space is None:
        return None
    if known.channels is None:
        return np.zeros((columns, codec.bands), np.int64)
    return codec.space_codes(known.channels, columns)


def _lost(generator: Generator, samples: Samples, grid: Grid) -> np.float32:
    """By what a given sound `[n]` is louder than what its codes decode to."""
    codec = generator.codec
    log_mel = codec.log_mel(samples)[:, : STRIDE * len(grid)]
    return np.float32(10 ** (codec.lost_db(log_mel, grid) / 20))


def _waveform(codec: Codec, grid: Grid, given: list[tuple[int, Samples]]) -> Samples:
    """The waveform of a grid, `[columns * column_samples]`, with given samples in their places."""
    known = np.full(len(grid) * codec.column_samples, np.nan, np.float32)
    for at, samples in given:
        known[at : at + len(samples)] = samples
    return codec.column_waveform(codec.decode_log_mel(grid), known)


def _at_given_level(made: Samples, sound: Sound, rate: int, peak: float) -> npt.NDArray[np.float32]:
    """What is new `[n]` or `[2, n]` at the level and rate of the given sound, in each of its channels."""
    samples = np.stack([resample(np.ascontiguousarray(each), rate, sound.sample_rate) for each in np.atleast_2d(made)])
    scaled = (samples * np.float32(peak)).astype(np.float32)
    return np.broadcast_to(scaled, (len(sound.samples), scaled.shape[1])).copy()


def _in_phase(sound: Sound) -> tuple[Sound, npt.NDArray[np.float32]]:
    """A sound whose two channels do not cancel each other, and what `[channels, 1]` makes them the given ones again."""
    mix, _ = mixed(sound.samples)
    if mix.turned is None:
        return sound, np.ones((1, 1), np.float32)
    back = turned_over(np.ones((1, 2), np.float32), mix.turned).T
    return replace(sound, samples=sound.samples * back), back


def _channels(codec: Codec, made: Samples, grid: Grid, sound: Sound, width: float | None) -> Samples:
    """What is new `[n]` in two channels `[2, n]`, where the sound has two and a width is given."""
    if width is None or len(sound.samples) != 2:
        return made
    return np.concatenate(list(codec.in_two_channels([made], grid, width))).T


def _lead_side(new: Samples, given: Samples, sound: Sound, made: Samples) -> Samples:
    """New channels `[2, n]` whose side comes out of that of a given neighbour `[2, m]`, which is told away from it.

    The given side goes on as its reflection for 10 ms, and the new one takes its place; the mix is not touched.
    """
    ramp = min(round(_SIDE_SECONDS * sound.sample_rate), new.shape[1], given.shape[1])
    if made.ndim == 1 or not ramp:
        return new
    share = np.sin(np.linspace(0, np.pi / 2, ramp, dtype=np.float32)) ** 2
    before, after = ((each[0, :ramp] - each[1, :ramp]) / 2 for each in (given, new))
    change = (1 - share) * (before - after)
    led = new.copy()
    led[:, :ramp] += np.stack([change, -change])
    return led


def _between(new: Samples, before: Samples, after: Samples, sound: Sound, made: Samples) -> Samples:
    """New samples `[channels, n]` that join what is given on both sides of them, `[channels, m]` each."""
    new = _lead_side(new, before[:, ::-1], sound, made)
    new = _lead_side(new[:, ::-1], after, sound, made)[:, ::-1]
    new = _soften(new, sound, ends=after.shape[1] > 0)
    if before.shape[1]:
        new = _join(new, sound, before[:, -1])
    if after.shape[1]:
        new = _join(new[:, ::-1], sound, after[:, 0])[:, ::-1]
    return new


def _soften(new: npt.NDArray[np.float32], sound: Sound, *, ends: bool) -> npt.NDArray[np.float32]:
    """New samples `[channels, n]` that do not clip: quieter as a whole, but for the joints, which keep their level."""
    limit = _limit(sound)
    loudest = float(np.abs(new).max(initial=0.0))
    if loudest <= limit:
        return new
    ramp = min(round(_RAMP_SECONDS * sound.sample_rate), new.shape[1] // 2)
    gain = np.full(new.shape[1], limit / loudest, np.float32)
    gain[:ramp] = np.linspace(1.0, limit / loudest, ramp)
    if ends:
        gain[new.shape[1] - ramp :] = gain[:ramp][::-1]
    return np.clip(new * gain, -limit, limit)


def _join(new: npt.NDArray[np.float32], sound: Sound, neighbour: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """New samples `[channels, n]` that begin where their neighbour `[channels]` is, not with a click."""
    times = np.arange(new.shape[1], dtype=np.float32) / (_STEP_SECONDS * sound.sample_rate)
    limit = _limit(sound)
    # Else what is given would be made softer for a peak of what leads to it.
    return np.clip(new + (neighbour - new[:, 0])[:, None] * np.exp(-times), -limit, limit)


def _limit(sound: Sound) -> float:
    """The loudest sample beside a given sound: what is new may be louder than what is given, but it must not clip."""
    return max(10 ** (LOUDEST_DB / 20), float(np.abs(sound.samples).max()))
