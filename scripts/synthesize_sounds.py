"""Synthesize the bundled sounds: 24 short drums, bells, strings and bars, made of sines and noise alone.

    python scripts/synthesize_sounds.py [OUT]

writes mono 44.1 kHz 16-bit FLAC files into OUT (by default the repository's `sounds/`). Each sound draws its noise from
a generator seeded by its own name, so the files are the same on every run and one recipe can change without the others.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

RATE = 44_100
SEED = 2024
PEAK = 10 ** (-1 / 20)
LN_60_DB = np.log(1000.0)

Samples = npt.NDArray[np.float64]
Random = np.random.Generator
Recipe = Callable[[Random], Samples]

# Frequency ratios to the note that is heard, relative amplitudes and decay times (in lengths of
# the sound; a weak mode may take longer than 1 to lose its 60 dB).
# A cast bell: hum, prime, minor third (tierce), fifth, nominal, then the upper partials. The ear takes the pitch from
# the nominal, the twelfth and the upper octave (2, 3.01, 4.17), and hears 1.
CHURCH_BELL = (
    (0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.66, 3.01, 4.17, 5.43, 6.8, 8.22),
    (0.40, 0.50, 0.75, 0.22, 0.90, 0.22, 0.25, 0.50, 0.40, 0.30, 0.20, 0.14),
    (1.20, 1.05, 0.90, 0.60, 0.72, 0.50, 0.46, 0.50, 0.36, 0.27, 0.20, 0.15),
)
# A hand bell is tuned to its prime and the twelfth above, with hardly any hum.
HAND_BELL = (
    (0.5, 1.0, 2.42, 3.0, 4.45, 5.42, 7.1),
    (0.04, 1.0, 0.08, 0.42, 0.10, 0.16, 0.07),
    (1.0, 1.0, 0.50, 0.60, 0.35, 0.28, 0.18),
)
# A long tube bends like a free bar; its 4th to 6th modes stand near 2 : 3 : 4 and the ear adds the missing 1.
TUBE = (
    (0.22, 0.62, 1.21, 2.0, 2.99, 4.17, 5.56, 7.14),
    (0.10, 0.30, 0.50, 0.90, 0.70, 0.45, 0.25, 0.14),
    (1.20, 1.15, 1.05, 0.95, 0.75, 0.55, 0.38, 0.26),
)
MARIMBA = ((1.0, 3.93, 9.24), (1.0, 0.30, 0.12), (1.0, 0.28, 0.08))
XYLOPHONE = ((1.0, 3.0, 6.16, 10.3), (1.0, 0.50, 0.25, 0.10), (1.0, 0.50, 0.25, 0.12))
KALIMBA = ((1.0, 2.0, 6.27, 17.55), (1.0, 0.12, 0.22, 0.05), (1.0, 0.6, 0.18, 0.06))  # a tine clamped at one end
MEMBRANE = ((1.0, 1.59, 2.14, 2.30, 2.65), (1.0, 0.45, 0.25, 0.18, 0.12), (1.0, 0.55, 0.40, 0.32, 0.25))
Modes = tuple[Sequence[float], Sequence[float], Sequence[float]]


def times(seconds: float) -> Samples:
    """The instants of a sound's samples, in seconds."""
    return np.arange(round(seconds * RATE)) / RATE


def decay(t: Samples, t60: float) -> Samples:
    """An exponential that starts at 1 when `t` is 0 and has lost 60 dB after `t60` seconds; 0 before."""
    return np.where(t < 0, 0.0, np.exp(-LN_60_DB * np.maximum(t, 0) / t60))


def noise(random: Random, n: int, low: float, high: float) -> Samples:
    """`n` samples of noise between `low` and `high` Hz (12 dB per octave outside), of standard deviation 1."""
    spectrum = np.fft.rfft(random.standard_normal(n))
    f = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 1e-3)
    band = np.fft.irfft(spectrum / np.sqrt((1 + (low / f) ** 4) * (1 + (f / high) ** 4)), n)
    return band / band.std()


def burst(random: Random, t: Samples, low: float, high: float, t60: float) -> Samples:
    """A band of noise that starts at `t` = 0 and dies away within `t60` seconds."""
    return noise(random, len(t), low, high) * decay(t, t60)


def modal(t: Samples, f0: float, modes: Modes, t60: float, beat: float = 0.0) -> Samples:
    """The sum of a struck body's modes, each a decaying sine; `f0` in Hz, `t60` in s for a mode of share 1.

    With `beat` (Hz at ratio 1) each mode is a pair of near frequencies, as in any casting that is not quite round.
    Modes above 20 kHz are left out: they would fold back.
    """
    out = np.zeros_like(t)
    for ratio, amplitude, share in zip(*modes, strict=True):
        if f0 * ratio < 20_000:
            split = beat * np.sqrt(ratio)
            pair = 0.65 * np.sin(2 * np.pi * f0 * ratio * t) + 0.35 * np.sin(2 * np.pi * (f0 * ratio + split) * t)
            out += amplitude * decay(t, t60 * share) * pair
    return out


def glide(t: Samples, start: float, end: float, fall: float) -> Samples:
    """A sine that falls from `start` to `end` Hz, by a factor of e in each `fall` seconds."""
    return np.sin(2 * np.pi * (end * t + (start - end) * fall * (1 - np.exp(-t / fall))))


def kick(seconds: float, start: float, end: float, fall: float, *, click: float, drive: float) -> Recipe:
    """A bass drum: a falling sine, softly saturated by `drive`, under the `click` of the beater."""

    def make(random: Random) -> Samples:
        t = times(seconds)
        body = np.tanh(drive * glide(t, start, end, fall) * decay(t, 0.8 * seconds)) / np.tanh(drive)
        return body + click * burst(random, t, 1500, 6000, 0.03)

    return make


def snare(seconds: float, f0: float, *, wires: float, low: float, high: float) -> Recipe:
    """A snare drum: two skin modes that sag in pitch, and the noise of the `wires`, which outlasts them."""

    def make(random: Random) -> Samples:
        t = times(seconds)
        skin = glide(t, 1.5 * f0, f0, 0.012) + 0.6 * glide(t, 2.4 * f0, 1.78 * f0, 0.010)
        rattle = burst(random, t, low, high, 0.9 * seconds) + 0.8 * burst(random, t, 2000, 12_000, 0.04)
        return skin * decay(t, 0.5 * seconds) + wires * rattle

    return make


def hat(seconds: float, f0: float, *, low: float, t60: float) -> Recipe:
    """A hi-hat: six inharmonic series of odd partials between `low` Hz and 18 kHz, with a hiss over them."""

    def make(random: Random) -> Samples:
        t = times(seconds)
        metal = np.zeros_like(t)
        for ratio in (1.0, 1.34, 1.54, 1.87, 2.26, 2.71):
            for f in f0 * ratio * np.arange(1, 100, 2):
                if low < f < 18_000:
                    shorter = t60 * (low / f) ** 0.6
                    metal += np.sin(2 * np.pi * (f * t + random.random())) * decay(t, shorter) * (low / f) ** 0.3
        return metal / metal[: RATE // 20].std() * (1 - np.exp(-t / 4e-4)) + 0.4 * burst(
            random, t, low, 15_000, 0.9 * t60
        )

    return make


def clap(seconds: float, centre: float, *, spread: float, room: float) -> Recipe:
    """Hands that meet `spread` seconds apart, four times, the last of them followed by the `room`."""

    def make(random: Random) -> Samples:
        t = times(seconds)
        out = room * burst(random, t - 3 * spread, 0.6 * centre, 2.5 * centre, 0.9 * (seconds - 3 * spread))
        for i, strength in enumerate((0.8, 0.65, 0.9, 1.0)):
            out += strength * burst(random, t - spread * (i + 0.15 * random.random()), 0.7 * centre, 3 * centre, 0.035)
        return out

    return make


def tom(seconds: float, f0: float) -> Recipe:
    """A tom: the modes of a round membrane, whose tension and pitch sink after the blow, and the stick."""

    def make(random: Random) -> Samples:
        t = times(seconds)
        slackening = t + 0.35 * 0.06 * (1 - np.exp(-t / 0.06))
        return modal(slackening, f0, MEMBRANE, seconds) + 0.08 * burst(random, t, 400, 5000, 0.08)

    return make


def struck(seconds: float, f0: float, modes: Modes, *, beat: float = 0.0, strike: float, bright: float) -> Recipe:
    """A bell or bar of note `f0`, and the `strike` of its hammer: a short noise around `bright` Hz."""

    def make(random: Random) -> Samples:
        t = times(seconds)
        return modal(t, f0, modes, seconds, beat) + strike * burst(random, t, 0.5 * bright, 1.5 * bright, 0.03)

    return make


def plucked(seconds: float, f0: float, *, position: float, bright: float) -> Recipe:
    """A string after Karplus and Strong (1983): one period of noise in a loop that averages neighbours.

    The loop is solved in the frequency domain, burst / (1 - loop), where its delay need not be whole samples, so the
    string is in tune. `position` is where it is plucked (share of its length), `bright` the burst's upper limit in Hz.
    """

    def make(random: Random) -> Samples:
        n, period = round(seconds * RATE), RATE / f0
        excitation = noise(random, round(period), f0 / 4, bright)
        excitation -= excitation.mean()
        # Twice the length leaves the tail room to die away before the transform wraps it round to the start.
        omega = 2 * np.pi * np.fft.rfftfreq(2 * n)
        loss = 10 ** (-3 / (0.95 * seconds * f0))
        loop = loss * np.cos(omega / 2) * np.exp(-1j * omega * period)
        comb = 1 - 0.9 * np.exp(-1j * omega * period * position)
        return np.fft.irfft(np.fft.rfft(excitation, 2 * n) * comb / (1 - loop), 2 * n)[:n]

    return make


SOUNDS: dict[str, Recipe] = {
    "kick_deep": kick(0.9, 160, 44, 0.040, click=0.05, drive=1.2),
    "kick_punchy": kick(0.55, 320, 58, 0.022, click=0.15, drive=1.8),
    "kick_tight": kick(0.4, 240, 72, 0.015, click=0.25, drive=1.0),
    "kick_distorted": kick(0.7, 420, 50, 0.030, click=0.10, drive=5.0),
    "snare_fat": snare(0.5, 165, wires=0.35, low=900, high=7000),
    "snare_crisp": snare(0.4, 205, wires=0.60, low=2200, high=11_000),
    "snare_piccolo": snare(0.35, 290, wires=0.40, low=1800, high=9000),
    "hat_closed": hat(0.3, 410, low=6500, t60=0.22),
    "hat_pedal": hat(0.35, 350, low=4500, t60=0.26),
    "hat_open": hat(0.95, 410, low=6000, t60=0.90),
    "clap_dry": clap(0.35, 1100, spread=0.010, room=0.30),
    "clap_room": clap(0.7, 900, spread=0.013, room=0.55),
    "tom_low": tom(1.0, 82),
    "tom_high": tom(0.75, 146),
    "bell_a4": struck(2.0, 440.00, CHURCH_BELL, beat=0.9, strike=0.30, bright=4000),
    "bell_e5": struck(1.9, 659.26, CHURCH_BELL, beat=1.3, strike=0.25, bright=6000),
    "bell_hand_c6": struck(1.7, 1046.50, HAND_BELL, beat=0.7, strike=0.12, bright=7000),
    "bell_tube_d5": struck(2.0, 587.33, TUBE, beat=0.5, strike=0.30, bright=3000),
    "string_a2": plucked(1.7, 110.00, position=0.21, bright=900),
    "string_e3": plucked(1.5, 164.81, position=0.13, bright=1000),
    "string_d4": plucked(1.2, 293.66, position=0.35, bright=1500),
    "marimba_a3": struck(1.2, 220.00, MARIMBA, strike=0.10, bright=900),
    "xylophone_e5": struck(0.7, 659.26, XYLOPHONE, strike=0.15, bright=3500),
    "kalimba_c4": struck(1.4, 261.63, KALIMBA, strike=0.08, bright=2200),
}


def finish(samples: Samples) -> Samples:
    """The sound without DC, with faded edges (0.5 ms in, the last tenth out) and a peak of -1 dBFS."""
    n = len(samples)
    # A one-pole high-pass at 15 Hz: subtracting the mean would leave a step where the sound has died away.
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(2 * n))
    pole = np.exp(-2 * np.pi * 15 / RATE)
    out = np.fft.irfft(np.fft.rfft(samples, 2 * n) * (1 - z) / (1 - pole * z), 2 * n)[:n]
    fade_in, fade_out = RATE // 2000, n // 10
    out[:fade_in] *= np.sin(np.linspace(0, np.pi / 2, fade_in)) ** 2
    out[-fade_out:] *= np.cos(np.linspace(0, np.pi / 2, fade_out)) ** 2
    return out * (PEAK / np.abs(out).max())


def main() -> None:
    """Write every sound of the table into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Synthesize the bundled sounds.")
    default = Path(__file__).resolve().parents[1] / "sounds"
    parser.add_argument("out", nargs="?", type=Path, default=default, help="folder to write to (default: %(default)s)")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, make in SOUNDS.items():
        samples = finish(make(np.random.default_rng([SEED, *name.encode()])))
        soundfile.write(out / f"{name}.flac", samples, RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
