"""Sounds for requests, in blocks, before they are written."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.audio.loop_chunks import Loop
from distill.audio.pitch import tuned
from distill.audio.sound import Sound
from distill.codec.codec import Grid, Samples
from distill.errors import UsageError
from distill.generation.conditioning import Target, draw_grids, measured_again
from distill.generation.continuation import continue_sound, fill_sound
from distill.generation.finish import Frames
from distill.generation.generator import GeneratedSound, Generator, waveform_blocks
from distill.generation.loops import close_loop, loop_waveform, samples_to_draw, with_space_around
from distill.generation.sidecar import Properties
from distill.generation.sound_request import BEATS, Request
from distill.generation.space import width_of, with_space
from distill.generation.variation import morph_sound, vary_sound

# Of a sound that is longer than asked for, once it has its pitch.
_FADE_SAMPLES = 480

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """A sound that is being made.

    Attributes:
        blocks: `[n]` or `[n, channels]`, in turn.
        sample_rate: of the blocks, in Hz.
        level_given: whether it has a level that is to be kept.
        frames: how long it shall be, at the sample rate that it is wanted at; None: as long as it is.
        codes: those of what is new, and of a given sound of what the model heard or of the whole that became of it.
        got: what was measured of it.
        loop: its end leads into its beginning.
    """

    blocks: Iterable[Frames]
    sample_rate: int
    level_given: bool
    frames: int | None
    codes: Grid
    got: Properties | None = None
    loop: Loop | None = None


def new_sounds(
    generator: Generator, request: Request, target: Target | None, seeds: Sequence[int], sample_rate: int | None = None
) -> Iterator[tuple[int, Made]]:
    """Each seed with its new sound.

    Args:
        generator: the model.
        request: of new sounds.
        target: what the sounds are to be, as `target_of` says.
        seeds: one for each sound.
        sample_rate: that the sounds are wanted at, in Hz; None: the model's.

    Raises:
        ArtifactError: the model's weights are damaged.
    """
    codec = generator.codec
    rate = codec.spectrogram.sample_rate
    wanted, frames = request.frames(rate), request.frames(sample_rate or rate)
    drawn = samples_to_draw(codec, request)
    settings: dict[str, Any] = {"config": request.config, "natural": request.natural}
    width = width_of(codec, request.channels, request.width)
    for seed, drawn_grid, got in draw_grids(generator, seeds, drawn, target, **settings):
        if request.loop:
            turning = close_loop(generator, drawn_grid, seed=seed, config=request.config)
            turning = with_space_around(codec, turning, seed=seed, config=request.config)
            samples = loop_waveform(codec, turning, wanted, frames, width)
            loop = Loop(request.bpm, BEATS * (request.bars or 0))
            yield seed, Made([samples], sample_rate or rate, False, frames, turning, got, loop)
            continue
        grid = with_space(codec, drawn_grid, seed=seed, config=request.config)
        blocks = codec.in_two_channels(waveform_blocks(generator, grid, wanted), grid, width)
        if target is not None and target.hertz is not None:
            samples = _ended(_tuned(np.concatenate(list(blocks)), rate, target.hertz, seed), wanted)
            got = None if got is None else measured_again(got, samples, codec.spectrogram)
            blocks = iter([samples])
        yield seed, Made(blocks, rate, False, None if request.natural else frames, grid, got)


def changed_sound(
    generator: Generator, request: Request, given: Sequence[Sound], seed: int
) -> tuple[GeneratedSound, Properties | None]:
    """What becomes of a given sound, or of two, and what is measured of it.

    Raises:
        DataError: a given sound cannot be used.
        UsageError: a part does not lie in the sound, or there is no such level.
        ArtifactError: the model's weights are damaged.
    """
    first, *others = given
    if request.action in ("continue", "fill") and request.width != 1.0 and len(first.samples) != 2:
        raise UsageError("the given sound is not stereo: omit the width")
    renewed = request.levels or ()
    if renewed and min(renewed) >= generator.codec.levels and len(first.samples) != 2:
        raise UsageError("the given sound is not stereo: it has no level Space to renew")
    config, width = request.config, width_of(generator.codec, request.channels, request.width)
    made_with: dict[str, Any] = {"seed": seed, "config": config, "width": width}
    match request.action:
        case "continue":
            seconds, natural = request.seconds or 0.0, request.natural
            return continue_sound(generator, first, seconds=seconds, natural=natural, **made_with), None
        case "vary":
            made, distance = vary_sound(
                generator, first, strength=request.strength or 0.0, keep=request.keep, **made_with
            )
            return made, Properties(distance=round(distance, 4))
        case "morph":
            return morph_sound(generator, first, others[0], weight=request.weight or 0.0, width=width), None
        case _:
            start, end, levels = request.start or 0.0, request.end or 0.0, request.levels
            return fill_sound(generator, first, start=start, end=end, levels=levels, **made_with), None


def _ended(samples: Samples, most: int) -> Samples:
    """A sound `[n]` or `[n, channels]` of at most so many samples, which fades out where it is longer."""
    if len(samples) <= most:
        return samples
    fade = np.linspace(1.0, 0.0, min(most, _FADE_SAMPLES), dtype=np.float32)
    ended = samples[:most].copy()
    ended[-len(fade) :] *= fade.reshape(-1, *[1] * (samples.ndim - 1))
    return ended


def _tuned(samples: Samples, sample_rate: int, hertz: float, seed: int) -> Samples:
    """A sound `[n]` or `[n, channels]` at the speed that gives it a pitch."""
    found = tuned(samples, sample_rate, hertz)
    if found is None:
        logger.warning("the sound of seed %d has no clear pitch, so its speed stays as it is", seed)
    return samples if found is None else found
