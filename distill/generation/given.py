"""Going on from a given sound, or renewing a part of it; what is given stays as it is, sample by sample."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from distill.audio.sound import Sound, resample, to_mono
from distill.codec.codec import Grid, Samples, normalise
from distill.configs import STRIDE
from distill.errors import DataError, UsageError
from distill.generation.choice import SamplingConfig
from distill.generation.drawing import window_columns
from distill.generation.inpainting import Region, inpaint
from distill.generation.limits import LOUDEST_DB, check_request
from distill.generation.render import GeneratedSound, Generator, audible
from distill.generation.sampling import MOST_PASSED_OVER, further_seed, sample_codes

# So many columns of what is given, on each side, hold the phases of what is new.
_JOINT_COLUMNS = 6
_RAMP_SECONDS = 0.02
# New samples below this, where what is given has a peak of 1, are no sound that goes on.
_NEARLY_SILENT = 10 ** (-50 / 20)
# A step that is left at a joint dies away so fast.
_STEP_SECONDS = 0.001


@dataclass(frozen=True)
class Known:
    """A given sound in mono at the model's rate, with a peak of 1 as the model knows it, and by what it was divided."""

    samples: Samples
    peak: float


def continue_sound(
    generator: Generator,
    sound: Sound,
    *,
    seconds: float,
    seed: int,
    config: SamplingConfig | None = None,
    natural: bool = False,
) -> GeneratedSound:
    """A sound followed by what the prior makes of it.

    The prior hears as much of the end as its window holds. What is new has one channel, given to all channels of the
    sound, and begins in phase with it.

    Args:
        generator: the model.
        sound: what is given, at any sample rate.
        seconds: duration of what is new; with `natural` the greatest duration.
        seed: decides what is new, with the settings.
        config: how codes are chosen.
        natural: end where the prior ends the sound; what is nearly silent then is passed over, up to 7 times.

    Returns:
        Samples `[channels, n]` at the sound's own rate; the grid is that of what the prior heard and made.

    Raises:
        DataError: the sound is silent, or shorter than a column of codes; or the prior always ends it where it is.
        UsageError: the duration is out of its range.
        ArtifactError: the model's weights are damaged.
    """
    codec, given = generator.codec, as_known(generator, sound, least=generator.codec.column_samples)
    check_request(count=1, seconds=seconds, seed=seed)
    wanted = max(1, codec.samples_of(seconds))
    # Columns are counted back from the end, where what is new begins.
    heard = min(len(given.samples) // codec.column_samples, window_columns(generator.prior))
    context = given.samples[len(given.samples) - heard * codec.column_samples :]
    codes = codec.encode(context)[:heard]
    lead = min(heard, _JOINT_COLUMNS)
    known = context[(heard - lead) * codec.column_samples :]
    lost = _lost(generator, context[: heard * codec.column_samples], codes)
    for number in range(MOST_PASSED_OVER + 1):
        [grid] = sample_codes(
            generator.prior,
            columns=heard + codec.columns_of(wanted),
            seeds=[further_seed(seed, number)],
            config=config,
            natural=natural,
            given=codes,
            from_start=len(context) == len(given.samples),
            heard=partial(audible, codec),
        )
        made = _waveform(generator, grid[heard - lead :], [(0, known / lost)])[: len(known) + wanted]
        if not natural or lost * np.abs(made[len(known) :]).max(initial=0.0) > _NEARLY_SILENT:
            break
    else:
        raise DataError("the model lets it end here, and nothing that is heard follows: ask for an exact duration")
    rate = codec.spectrogram.sample_rate
    new = _as_given(made, sound, rate, float(given.peak * lost))[:, round(len(known) * sound.sample_rate / rate) :]
    new = _joined(_softened(new, sound, ends=False), sound, sound.samples[:, -1])
    samples = np.concatenate([sound.samples, new], axis=1)
    return GeneratedSound(samples, sound.sample_rate, grid, seed)


def fill_sound(
    generator: Generator,
    sound: Sound,
    *,
    start: float,
    end: float,
    seed: int,
    levels: tuple[int, ...] | None = None,
    config: SamplingConfig | None = None,
) -> GeneratedSound:
    """A sound with a part renewed, so that it goes with what stands before and after it.

    The part grows to whole columns of the code grid. Where only some levels are renewed, the others keep what the
    sound had there. What is new has one channel, given to all channels of the sound.

    Args:
        generator: the model.
        sound: what is given, at any sample rate.
        start: where the part begins, in s.
        end: where it ends, in s.
        seed: decides what is new, with the settings.
        levels: levels to renew, from 0; by default all.
        config: how codes are chosen.

    Returns:
        Samples `[channels, n]` at the sound's own rate and of its length, and the whole grid.

    Raises:
        DataError: the sound is silent, or shorter than a column of codes.
        UsageError: the part does not lie in the sound, or there is no such level.
        ArtifactError: the model's weights are damaged.
    """
    codec, given = generator.codec, as_known(generator, sound, least=generator.codec.column_samples)
    if not 0 <= start < end <= sound.seconds + 1e-6:
        raise UsageError(f"{start:g} s to {end:g} s is no part of a sound of {sound.seconds:.3f} s")
    grid, column = codec.encode(given.samples), codec.column_samples
    lost = _lost(generator, given.samples, grid)
    first = codec.samples_of(start) // column
    last = min(len(grid), -(-codec.samples_of(end) // column))
    grid = inpaint(generator.prior, grid, Region(first, last, levels), seed=seed, config=config)
    begin, stop = max(0, first - _JOINT_COLUMNS), min(len(grid), last + _JOINT_COLUMNS)
    before = given.samples[begin * column : first * column] / lost
    after = given.samples[last * column : stop * column] / lost
    made = _waveform(generator, grid[begin:stop], [(0, before), ((last - begin) * column, after)])
    made = made[: min(stop * column, len(given.samples)) - begin * column]
    rate = codec.spectrogram.sample_rate
    new = _as_given(made, sound, rate, float(given.peak * lost))
    samples = sound.samples.copy()
    origin, at, to = (round(each * column * sound.sample_rate / rate) for each in (begin, first, last))
    to = min(to, samples.shape[1], origin + new.shape[1])
    part = _softened(new[:, at - origin : to - origin], sound, ends=to < samples.shape[1])
    if at:
        part = _joined(part, sound, samples[:, at - 1])
    if to < samples.shape[1]:
        part = _joined(part[:, ::-1], sound, samples[:, to])[:, ::-1]
    samples[:, at:to] = part
    return GeneratedSound(samples, sound.sample_rate, grid, seed)


def as_known(generator: Generator, sound: Sound, *, least: int = 0) -> Known:
    """A given sound as the model knows sounds.

    Raises:
        DataError: it is silent, or has fewer samples than `least`.
    """
    rate = generator.codec.spectrogram.sample_rate
    mono = to_mono(sound, rate)
    normalised = normalise(mono)
    if len(mono) < least:
        raise DataError(f"a sound of {sound.seconds:.3f} s is too short: give at least {least / rate:.3f} s")
    return Known(normalised.samples, 10 ** (-normalised.gain_db / 20))


def _lost(generator: Generator, samples: Samples, grid: Grid) -> np.float32:
    """By what a given sound `[n]` is louder than what its codes decode to."""
    codec = generator.codec
    log_mel = codec.log_mel(samples)[:, : STRIDE * len(grid)]
    return np.float32(10 ** (codec.lost_db(log_mel, grid) / 20))


def _waveform(generator: Generator, grid: Grid, given: list[tuple[int, Samples]]) -> Samples:
    """The waveform of a grid, `[16 * hop_length * columns]`, with given samples in their places."""
    codec = generator.codec
    log_mel = codec.decode_log_mel(grid)
    # Frames stand at the middle of their windows: one more makes the last column whole.
    log_mel = np.concatenate([log_mel, log_mel[:, -1:]], axis=1)
    known = np.full((log_mel.shape[1] - 1) * codec.spectrogram.hop_length, np.nan, np.float32)
    for at, samples in given:
        known[at : at + len(samples)] = samples
    return codec.waveform(log_mel, known)


def _as_given(made: Samples, sound: Sound, rate: int, peak: float) -> npt.NDArray[np.float32]:
    """What is new at the level and rate of the given sound, for each of its channels, `[channels, n]`."""
    samples = resample(made, rate, sound.sample_rate) * np.float32(peak)
    return np.tile(samples.astype(np.float32), (len(sound.samples), 1))


def _softened(new: npt.NDArray[np.float32], sound: Sound, *, ends: bool) -> npt.NDArray[np.float32]:
    """New samples `[channels, n]` that do not clip: quieter as a whole, but for the joints, which keep their level."""
    # What is new may be louder than what is given, but it must not clip.
    limit = max(10 ** (LOUDEST_DB / 20), float(np.abs(sound.samples).max()))
    loudest = float(np.abs(new).max(initial=0.0))
    if loudest <= limit:
        return new
    ramp = min(round(_RAMP_SECONDS * sound.sample_rate), new.shape[1] // 2)
    gain = np.full(new.shape[1], limit / loudest, np.float32)
    gain[:ramp] = np.linspace(1.0, limit / loudest, ramp)
    if ends:
        gain[new.shape[1] - ramp :] = gain[:ramp][::-1]
    return np.clip(new * gain, -limit, limit)


def _joined(new: npt.NDArray[np.float32], sound: Sound, neighbour: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """New samples `[channels, n]` that begin where their neighbour `[channels]` is, not with a click."""
    times = np.arange(new.shape[1], dtype=np.float32) / (_STEP_SECONDS * sound.sample_rate)
    return new + (neighbour - new[:, 0])[:, None] * np.exp(-times)
