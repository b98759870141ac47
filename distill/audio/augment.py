"""Changes to log mels that keep a sound a sound: gain, spectral tilt, decay and noise.

All of them act on the mel power, as they would on the waveform, and draw from the item's own generator only.
"""

import numpy as np

from distill.configs import SpectrogramConfig

# Ranges at strength 1.
GAIN_DB = 6.0
TILT_DB = 6.0
DECAY_DB_PER_SECOND = 20.0
DECAY_SHARE = 0.3
NOISE_SHARE = 0.3
NOISE_LOWEST_DB = -50.0
NOISE_HIGHEST_DB = -20.0


def augment(
    log_mels: np.ndarray,
    generators: list[np.random.Generator],
    strength: float,
    config: SpectrogramConfig,
    *,
    begin: int = 0,
    noise: bool = True,
) -> np.ndarray:
    """Change each item in its own way.

    - gain: up to +-6 dB;
    - tilt: a straight line over the mel bins, up to +-6 dB at its ends, around a bin chosen at random;
    - decay (30 % of the items): fading by up to 20 dB/s;
    - noise (30 %): noise with equal power in all bins, 20 to 50 dB below the item's loudest bin on average.

    The ranges in dB grow with the strength; the noise is stronger by 6 dB where the strength is doubled.

    Args:
        log_mels: float32 `[batch, n_mels, frames]`.
        generators: one for each item.
        strength: 0 (nothing is changed) to 2.
        config: the spectrogram of the log mels.
        begin: frames of the sounds before those given; what else is drawn does not depend on it.
        noise: whether there may be any.

    Returns:
        A new array of the same shape, never below 0; the input itself at strength 0.
    """
    if strength == 0:
        return log_mels
    count, bins, frames = log_mels.shape
    band_db = np.empty((count, bins, 1), np.float32)
    time_db = np.zeros((count, 1, frames), np.float32)
    across = np.linspace(0.0, 1.0, bins, dtype=np.float32)
    seconds = np.arange(begin, begin + frames, dtype=np.float32) * (config.hop_length / config.sample_rate)
    noise_db: dict[int, float] = {}
    for index, generator in enumerate(generators):
        gain, tilt, pivot, has_decay, decay, has_noise, level = generator.random(7)
        slope = strength * TILT_DB * (2 * tilt - 1)
        band_db[index, :, 0] = strength * GAIN_DB * (2 * gain - 1) + slope * (across - pivot)
        if has_decay < DECAY_SHARE:
            time_db[index, 0] = -strength * DECAY_DB_PER_SECOND * decay * seconds
        if noise and has_noise < NOISE_SHARE:
            noise_db[index] = NOISE_LOWEST_DB + (NOISE_HIGHEST_DB - NOISE_LOWEST_DB) * level
    # Power in units of the floor, which is what the logarithm is taken of.
    power = np.expm1(log_mels)
    power *= _ratio(band_db)
    power *= _ratio(time_db)
    for index, level in noise_db.items():
        mean = power[index].max() * 10.0 ** (level / 10.0) * strength**2
        spectrum = generators[index].standard_exponential((bins, frames), dtype=np.float32)
        power[index] += spectrum * np.float32(mean)
    return np.log1p(power, out=power)


def _ratio(decibels: np.ndarray) -> np.ndarray:
    return np.exp(decibels * np.float32(np.log(10.0) / 10.0))
