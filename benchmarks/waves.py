"""What is heard in a waveform and not seen in its mel power.

- `modulation`: how much the energy above 3 kHz swells and fades at one frequency, as a share of itself: 0 is not at
  all, 1 is from silence to twice its mean. At the hop rate it is a buzz. Noise has a little by chance, a short sound
  more than a long one;
- `pre_echo`: level of the 10 ms before an attack against that of the 20 ms behind it, in dB;
- `attack_time`: how long the amplitude, over a millisecond, takes from a tenth to nine tenths of its greatest, from
  50 ms before an attack to 80 ms behind it, in ms;
- `decay_error`: how far the energy that is left from a moment on is from the original's, both against their own sums,
  at the moments when the original has lost 1, 2, ... 60 dB: the mean of the differences, in dB;
- `first_sample`: the first sample as a share of the peak, without its sign;
- `level`: energy against that of the original, in dB.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.floating[Any]]

_CROSSOVER = 3000.0
# An attack is where a sound first reaches this share of its peak.
_ATTACK = 0.05
# What is heard beside the loudest moment, and the time over which an envelope is its own mean.
_HEARD, _MEAN_SECONDS = 1e-3, 0.08
# Of a shorter sound one cannot tell whether it buzzes.
_LEAST_SECONDS = 0.15
_TINY = 1e-12


def modulation(samples: Samples, rate: int, frequency: float) -> float:
    """Depth at which the energy above 3 kHz of a sound `[n]` swells at a frequency; 0 for a sound without any."""
    swells, where = swelling(samples, rate)
    turning = np.exp(-2j * np.pi * frequency / rate * np.arange(len(samples)))
    return float(2 * np.abs((swells * turning)[where].mean())) if where.any() else 0.0


def swelling(samples: Samples, rate: int) -> tuple[Samples, npt.NDArray[np.bool_]]:
    """By how much the energy above 3 kHz of a sound `[n]` is more than its mean around, and where that is heard."""
    energy, mean = _energy_above(samples, rate)
    return energy / mean - 1, heard(mean)


def _energy_above(samples: Samples, rate: int) -> tuple[Samples, Samples]:
    """Energy `[n]` of what lies above 3 kHz, and its mean over the time around."""
    spectrum = np.fft.fft(samples.astype(np.float64))
    # Positive frequencies alone, twice as loud: the analytic signal.
    spectrum[np.fft.fftfreq(len(samples), 1 / rate) < _CROSSOVER] = 0
    energy = np.square(np.abs(np.fft.ifft(2 * spectrum)))
    window = np.hanning(round(_MEAN_SECONDS * rate) + 2)[1:-1]
    size = len(samples) + len(window) - 1

    def around(values: Samples) -> Samples:
        summed = np.fft.irfft(np.fft.rfft(values, size) * np.fft.rfft(window, size), size)
        return summed[len(window) // 2 :][: len(samples)]

    return energy, np.maximum(around(energy) / around(np.ones(len(samples))), _TINY)


def heard(mean: Samples) -> npt.NDArray[np.bool_]:
    """Where a mean energy `[n]` is heard beside its loudest moment."""
    return mean > max(_HEARD * mean.max(), 10 * _TINY)


def is_noisy(samples: Samples, rate: int) -> bool:
    """Whether a good part of a sound `[n]` is noise above 3 kHz that is heard long enough for a buzz.

    In noise there is as much energy in one place of a spectrum as in the next.
    """
    power = np.abs(np.fft.rfft(samples.astype(np.float64), max(len(samples), rate // 4))) ** 2
    high = power[round(_CROSSOVER * 2 / rate * len(power)) :]
    high = high[: len(high) // 8 * 8].reshape(-1, 8)
    energy = high.sum(1)
    if energy.sum() < 0.05 * power.sum() or heard(_energy_above(samples, rate)[1]).sum() < _LEAST_SECONDS * rate:
        return False
    flatness = np.exp(np.log(high + _TINY).mean(1)) / (high.mean(1) + _TINY)
    return float((flatness * energy).sum() / energy.sum()) > 0.4


def attack_of(samples: Samples) -> int:
    """The sample at which a sound `[n]` begins."""
    amplitude = np.abs(samples)
    return int(np.argmax(amplitude > _ATTACK * amplitude.max()))


def pre_echo(samples: Samples, rate: int, attack: int) -> float:
    """Level of the 10 ms before sample `attack` of a sound `[n]` against that of the 20 ms behind it, in dB."""
    before, behind = samples[max(0, attack - rate // 100) : attack], samples[attack : attack + rate // 50]
    return 10 * float(np.log10((np.square(before).mean() + _TINY) / (np.square(behind).mean() + _TINY)))


def attack_time(samples: Samples, rate: int, attack: int) -> float:
    """How long a sound `[n]` takes to rise at sample `attack`, in ms."""
    part = samples[max(0, attack - rate // 20) : attack + rate * 8 // 100]
    window = np.hanning(rate // 1000 + 2)[1:-1]
    amplitude = np.sqrt(np.convolve(np.square(part), window / window.sum(), "same"))
    begun, reached = (int(np.argmax(amplitude > share * amplitude.max())) for share in (0.1, 0.9))
    return 1000 * (reached - begun) / rate


def decay_error(samples: Samples, original: Samples) -> float:
    """How differently samples `[n]` and the original ones `[n]` die away, in dB."""
    made, true = (_left(each) for each in (samples, original))
    moments = [int(np.argmax(true < -lost)) for lost in range(1, 61) if (true < -lost).any()]
    return float(np.abs(made[moments] - true[moments]).mean()) if moments else 0.0


def _left(samples: Samples) -> Samples:
    energy = np.cumsum(np.square(samples[::-1].astype(np.float64)))[::-1]
    return np.maximum(10 * np.log10(energy / max(energy[0], _TINY) + _TINY), -100.0)


def first_sample(samples: Samples) -> float:
    """The first of samples `[n]` over the greatest."""
    return float(abs(samples[0]) / max(np.abs(samples).max(), _TINY))


def level(samples: Samples, original: Samples) -> float:
    """Energy of samples `[n]` over that of the original ones `[n]`, in dB."""
    return 10 * float(np.log10((np.square(samples).sum() + _TINY) / (np.square(original).sum() + _TINY)))
