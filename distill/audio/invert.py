"""Log mel back to a waveform: phases for estimated magnitudes, by accelerated Griffin-Lim."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from distill.audio.attacks import Hush
from distill.audio.magnitudes import linear_power, scale_to_mel
from distill.audio.mel import MelTransform
from distill.audio.phases import first_angles
from distill.audio.tails import TAIL_FRAMES, with_tails
from distill.configs import SpectrogramConfig

# LSD-20 of the true mels of 48 chunks of drums and 48 of mixed sounds is 1.37 and 1.26 dB; 20 rounds: 1.32 and 1.21; 12
# from phases of sines alone: 1.38 and 1.27.
ROUNDS = 12
# Alpha, beta and gamma of the method. With the momentum of Perraudin et al. alone LSD-20 was .02 to .05 dB more (by 20
# rounds from random phases).
_AHEAD, _BEYOND, _REACH = 0.99, 1.1, 1.25
# The magnitudes are fitted to the mel when so many rounds are left: rarely while the phases are far from what they will
# be. Three times in place of five LSD-20 is .06 dB more.
_FITS = (0, 1, 2, 4, 7)
# A longer sound is made in pieces of so many frames (22 s at 48 kHz), each beginning with the end of the one before.
PIECE_FRAMES = 2048
# The last frames of a piece know nothing of what follows: they are made again, from the phases that they have, and
# some before them lead into the next piece. Both versions of the former are faded into each other.
_LEAD_FRAMES, _REMADE_FRAMES, _FADE_FRAMES = 16, 16, 12
_SHARED_FRAMES = _LEAD_FRAMES + _REMADE_FRAMES
# So many frames at a time that their windows and spectra stay in a core's cache.
_BLOCK_FRAMES = 128
# What begins at once would begin with a click.
_RISE_SECONDS = 0.0005
_TINY = 1e-12

# The log mel `[n_mels, last - first]` of a sound from one frame up to, and without, another.
LogMel = Callable[[int, int], Tensor]


class Estimate(Protocol):
    """What Griffin-Lim begins with."""

    def __call__(self, log_mel: LogMel, frames: int, first: int, last: int) -> tuple[Tensor, Tensor | None]:
        """Magnitudes `[last - first, bins]` of some frames of a sound, and their phases.

        Phases are complex numbers of modulus 1 and the same shape; None stands for those of `first_angles`.
        """


@torch.no_grad()
def griffin_lim(
    log_mel: Tensor,
    config: SpectrogramConfig,
    *,
    rounds: int = ROUNDS,
    known: Tensor | None = None,
    estimate: Estimate | None = None,
) -> Tensor:
    """A waveform whose log mel is near the given one.

    Phases follow Nenov, Nguyen, Balazs and Bot, "Faster than fast: accelerating the Griffin-Lim algorithm" (2023). A
    sound comes out the same alone and in a batch. A mel leaves open how the power of a band is spread over its bins:
    now and then the magnitudes become those that the waveform has by then, fitted to the mel. Samples that are known
    are put back in every round, so that what is new joins them in phase. Beyond its ends a sound is its reflection, as
    where a log mel is taken. Before an attack it is held at the level it had (attacks.py), below the floor it dies away
    (tails.py), and where it begins it rises within half a millisecond. Memory beside input and output does not grow
    with the length.

    Args:
        log_mel: `[batch, n_mels, frames]`.
        config: the spectrogram that it was made with.
        rounds: number of projections.
        known: samples `[batch, (frames - 1) * hop_length]` at the log mel's level, NaN where they are to be found.
        estimate: where the magnitudes come from; by default from `linear_power`, with the phases of `first_angles`.

    Returns:
        `[batch, (frames - 1) * hop_length]`, at the level of the log mel: the peak may lie above 1.
    """
    count, _, frames = log_mel.shape
    hop = config.hop_length
    if known is None:
        known = log_mel.new_full((count, (frames - 1) * hop), torch.nan)
    out = torch.empty_like(known)
    for piece in _pieces(frames, config, log_mel.device):
        first, last = piece.first, piece.last
        # One sound after the other: its spectra then stay in the cache, and no sound feels its neighbours.
        for index in range(count):
            place = slice(first * hop, (last - 1) * hop)
            before = out[index, first * hop :][: (_SHARED_FRAMES - 1) * hop] if first else None
            out[index, place] = piece.waveform(
                _within(log_mel[index]), frames, estimate, rounds, known[index, place], before
            )
    return out


@torch.no_grad()
def griffin_lim_blocks(
    log_mel: LogMel,
    frames: int,
    config: SpectrogramConfig,
    *,
    rounds: int = ROUNDS,
    estimate: Estimate | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[Tensor]:
    """The waveform that `griffin_lim` makes of one sound, block by block: a long one is nowhere as a whole.

    Args:
        log_mel: where the log mel comes from.
        frames: frames of the whole sound.
        config: the spectrogram that it was made with.
        rounds: number of projections.
        estimate: as for `griffin_lim`.
        device: where the log mel is.

    Yields:
        Blocks `[n]`, together `(frames - 1) * hop_length` samples.
    """
    hop = config.hop_length
    before: Tensor | None = None
    for piece in _pieces(frames, config, torch.device(device)):
        known = torch.full(((piece.last - piece.first - 1) * hop,), torch.nan, device=device)
        made = piece.waveform(log_mel, frames, estimate, rounds, known, before)
        done = len(made) if piece.last == frames else (PIECE_FRAMES - _REMADE_FRAMES) * hop
        yield made[_LEAD_FRAMES * hop if piece.first else 0 : done]
        before = made[(PIECE_FRAMES - _SHARED_FRAMES) * hop :]


def _bounds(frames: int) -> Iterator[tuple[int, int]]:
    """First frame and the one after the last of each piece; each shares frames with the next."""
    first = 0
    while first + PIECE_FRAMES < frames:
        yield first, first + PIECE_FRAMES
        first += PIECE_FRAMES - _SHARED_FRAMES
    yield first, frames


@dataclass(frozen=True)
class _Ends:
    """Whether a sound begins where a piece of it does, and ends where that does."""

    begins: bool
    ends: bool


@dataclass(frozen=True)
class _Piece:
    """Frames `first` up to, and without, `last` of a sound."""

    first: int
    last: int
    config: SpectrogramConfig
    overlap: "_Overlap"

    def waveform(
        self,
        log_mel: LogMel,
        frames: int,
        estimate: Estimate | None,
        rounds: int,
        known: Tensor,
        before: Tensor | None,
    ) -> Tensor:
        """`[(last - first - 1) * hop_length]` of a sound, equal to `known` where that is a number.

        `before` are the samples `[(_SHARED_FRAMES - 1) * hop_length]` that the piece before made of the same frames.
        """
        power = self._power(log_mel)
        if estimate:
            magnitude, phase = estimate(log_mel, frames, self.first, self.last)
        else:
            blocks = [linear_power(block, self.config).sqrt_() for block in power.split(_BLOCK_FRAMES)]
            magnitude, phase = torch.cat(blocks), None
        if phase is None:
            start = self._first_spectrum(magnitude, before)
        else:
            known_phase = phase

            def start(block: slice) -> Tensor:
                return magnitude[block] * known_phase[block]

        at_end = self.last == frames and bool(known[-1:].isnan().all())
        if before is None:
            at_start = not self.first and bool(known[:1].isnan().all())
            made = self._phases(start, magnitude, power, rounds, known, _Ends(at_start, at_end))
            if at_start:
                rise = min(len(made), round(_RISE_SECONDS * self.config.sample_rate))
                made[:rise] *= torch.linspace(0, torch.pi / 2, rise + 2, device=made.device)[1:-1].sin_().square_()
            return made
        lead, fade = (frames * self.overlap.hop for frames in (_LEAD_FRAMES, _FADE_FRAMES))
        made = self._phases(
            start, magnitude, power, rounds, torch.cat([before[:lead], known[lead:]]), _Ends(False, at_end)
        )
        faded, ramp = slice(lead, lead + fade), torch.linspace(0, 1, fade, device=made.device)
        made[faded] = torch.lerp(before[faded], made[faded], ramp)
        return made

    def _power(self, log_mel: LogMel) -> Tensor:
        """Mel power `[last - first, n_mels]`, with what follows below the floor."""
        begin = max(0, self.first - TAIL_FRAMES)
        part = log_mel(begin, self.last)
        transform = MelTransform(self.config, part.device)
        return with_tails(transform.to_power(part).T.contiguous(), transform.floor)[self.first - begin :]

    def _first_spectrum(self, magnitude: Tensor, before: Tensor | None) -> Callable[[slice], Tensor]:
        """Spectra of blocks of frames with the phases of `first_angles`, which go on from what is before."""
        angle = first_angles(magnitude, self.config.hop_length / self.config.n_fft, self.first)
        if before is not None:
            found = self.overlap.angles(before)
            angle += found[-1] - angle[len(found) - 1]
            angle[: len(found)] = found
        # A block at a time: the spectrum of a whole piece would be the largest thing in memory.
        return lambda block: torch.polar(torch.ones_like(angle[block]), angle[block]).mul_(magnitude[block])

    def _phases(
        self,
        start: Callable[[slice], Tensor],
        magnitude: Tensor,
        mel_power: Tensor,
        rounds: int,
        held: Tensor,
        ends: _Ends,
    ) -> Tensor:
        """The waveform that magnitudes `[frames, bins]` lead to, equal to `held` where that is a number.

        `start` gives the spectrum of a block of frames to begin with; `ends` says where the sound itself ends.
        """
        overlap, is_held = self.overlap, ~held.isnan()
        any_held, hush = bool(is_held.any()), Hush(magnitude.square(), self.config)

        def into(out: Tensor, spectrum: Callable[[slice], Tensor]) -> Tensor:
            overlap.waveform(spectrum, out)
            inner = overlap.inner(out)
            hush(inner)
            if any_held:
                torch.where(is_held, held, inner, out=inner)
            overlap.reflect(out, ends)
            return out

        made = into(overlap.rows(), start)
        now, ahead, beyond = made.clone(), made.clone(), made.clone()
        for left in reversed(range(rounds)):

            def projected(block: slice, now: Tensor = now, fits: bool = left in _FITS) -> Tensor:
                if fits:
                    power = _modulus(overlap.spectrum(now, block)).square_()
                    magnitude[block] = scale_to_mel(power, mel_power[block], self.config).sqrt_()
                spectrum = overlap.spectrum(ahead, block)
                _set_modulus(spectrum, magnitude[block])
                return spectrum

            into(made, projected)
            # With the projection P the method computes from c, d and t, in place of spectra from their waveforms, as
            # the transform is linear: t' = (1 - gamma) d + gamma P(c), c' = t' + alpha (t' - t),
            # d' = t' + beta (t' - t). Here `made` is P(c), `ahead` c, `beyond` d and then t', and `now` t and then d'.
            torch.lerp(beyond, made, _REACH, out=beyond)
            step = torch.sub(beyond, now, out=now)
            torch.add(beyond, step, alpha=_AHEAD, out=ahead)
            torch.add(beyond, step, alpha=_BEYOND, out=now)
            now, beyond = beyond, now
        return overlap.inner(made)


def _pieces(frames: int, config: SpectrogramConfig, device: torch.device) -> Iterator[_Piece]:
    for first, last in _bounds(frames):
        yield _Piece(first, last, config, _Overlap(config, last - first, device))


def _within(log_mel: Tensor) -> LogMel:
    return lambda first, last: log_mel[:, first:last]


class _Overlap:
    """Windows of a waveform and their overlap-add, for one number of frames.

    Waveforms begin and end with half a window more than the sound has.
    """

    def __init__(self, config: SpectrogramConfig, frames: int, device: torch.device) -> None:
        self.n_fft, self.hop, self.frames = config.n_fft, config.hop_length, frames
        self.window = torch.hann_window(config.n_fft, device=device)
        self.pieces = -(-config.n_fft // config.hop_length)
        self.length = (frames - 1) * config.hop_length
        squares = self.window.square()
        self.weight = self._add(lambda block: squares.expand(self.frames, -1)[block], self.rows())
        self.weight.clamp_min_(1e-8).reciprocal_()

    def rows(self) -> Tensor:
        """Room for a waveform, as rows of one hop."""
        return self.window.new_zeros(self.frames + self.pieces - 1, self.hop)

    def _add(self, windows: Callable[[slice], Tensor], out: Tensor) -> Tensor:
        """Sum of overlapping windows `[frames, n_fft]` that are given block by block."""
        out.zero_()
        for first in range(0, self.frames, _BLOCK_FRAMES):
            part = windows(slice(first, first + _BLOCK_FRAMES))
            for piece in range(self.pieces):
                hops = part[:, piece * self.hop : (piece + 1) * self.hop]
                out[first + piece : first + piece + len(part), : hops.shape[1]] += hops
        return out

    def waveform(self, spectrum: Callable[[slice], Tensor], out: Tensor) -> None:
        """The waveform nearest to a spectrum `[frames, bins]` that is given block by block."""
        self._add(lambda block: torch.fft.irfft(spectrum(block), n=self.n_fft).mul_(self.window), out)
        out.mul_(self.weight)

    def spectrum(self, waveform: Tensor, block: slice) -> Tensor:
        """Spectrum `[n, bins]` of a block of frames of a waveform."""
        return torch.fft.rfft(waveform.view(-1).unfold(0, self.n_fft, self.hop)[: self.frames][block] * self.window)

    def inner(self, waveform: Tensor) -> Tensor:
        """The samples `[length]` of the sound itself."""
        return waveform.view(-1)[self.n_fft // 2 :][: self.length]

    def reflect(self, waveform: Tensor, ends: _Ends) -> None:
        """Put the reflection of a sound beyond its ends, in place."""
        half = self.n_fft // 2
        if self.length <= half:
            return
        flat, end = waveform.view(-1), half + self.length
        if ends.begins:
            flat[:half] = flat[half + 1 : 2 * half + 1].flip(0)
        if ends.ends:
            flat[end : end + half] = flat[end - half : end].flip(0)

    def angles(self, samples: Tensor) -> Tensor:
        """Phases `[n, bins]` of the frames whose windows end within some samples."""
        windows = functional.pad(samples, (self.n_fft // 2, 0)).unfold(0, self.n_fft, self.hop)
        return torch.fft.rfft(windows * self.window).angle()


def _modulus(spectrum: Tensor) -> Tensor:
    """Absolute values of complex numbers."""
    # numpy's are found ten times as fast as torch's on a processor.
    return spectrum.abs() if spectrum.device.type != "cpu" else torch.from_numpy(np.abs(spectrum.numpy()))


def _set_modulus(spectrum: Tensor, magnitude: Tensor) -> None:
    """Scale complex numbers, in place, to given absolute values."""
    modulus = _modulus(spectrum).add_(_TINY)
    spectrum *= torch.div(magnitude, modulus, out=modulus)
