"""How near the sounds that each inverse makes from log mels come to the true ones."""

from typing import get_args

import numpy as np
import torch
from torch import Tensor

from distill.audio.mel import MelTransform
from distill.configs import Inverse, SpectrogramConfig
from distill.dataset.waveforms import Waveforms
from distill.evenly import evenly
from distill.models.losses import log_spectral_distance
from distill.models.stft_losses import WINDOWS, magnitudes, spectral_convergence
from distill.models.vocoder import Vocoder, invert
from distill.models.vqvae import ConvVQVAE

INVERSES: tuple[Inverse, ...] = get_args(Inverse)
MOST_SOUNDS = 24
MOST_SECONDS = 3.0

# Figures by inverse, by where the log mel comes from (`true_mel`, `after_model`), by name.
Figures = dict[Inverse, dict[str, dict[str, float]]]


@torch.no_grad()
def compare_inverses(sounds: Waveforms, vqvae: ConvVQVAE, spectrogram: SpectrogramConfig, vocoder: Vocoder) -> Figures:
    """Each inverse's spectral convergence (mean over three windows) and log-spectral distance of the mel power in dB.

    Args:
        sounds: held-out waveforms `[n]`; the beginnings of some that are spread over all of them are used.
        vqvae: in evaluation mode, as the vocoder on one device.
        spectrogram: what both were trained on.
        vocoder: in evaluation mode.
    """
    device = next(vocoder.parameters()).device
    mel = MelTransform(spectrogram, device)
    rows: dict[tuple[Inverse, str], list[tuple[float, float]]] = {}
    for index in evenly(len(sounds), MOST_SOUNDS):
        beginning = sounds.part(index, 0, int(MOST_SECONDS * spectrogram.sample_rate))
        true = torch.tensor(beginning, device=device)
        true = torch.nn.functional.pad(true, (0, -len(true) % spectrogram.hop_length + spectrogram.hop_length))[None]
        log_mel = mel.log_mel(true)
        mels = {"true_mel": log_mel, "after_model": vqvae(log_mel[:, None])[0][:, 0].float()}
        for source, given in mels.items():
            for inverse in INVERSES:
                made = invert(given, spectrogram, inverse=inverse, vocoder=vocoder)
                rows.setdefault((inverse, source), []).append((_convergence(made, true), _distance(made, true, mel)))
    figures: Figures = {}
    for (inverse, source), pairs in rows.items():
        convergence, distance = np.mean(pairs, axis=0)
        found = {"spectral_convergence": float(convergence), "lsd_db": float(distance)}
        figures.setdefault(inverse, {})[source] = found
    return figures


def best_inverse(figures: Figures) -> Inverse:
    """The inverse that does best after the model, where sounds are made, of those no worse than Griffin-Lim before it.

    Both figures count as shares of Griffin-Lim's.

    >>> one = {"spectral_convergence": 0.5, "lsd_db": 2.0}
    >>> less = {"spectral_convergence": 0.5, "lsd_db": 1.9}
    >>> usual = {"true_mel": one, "after_model": one}
    >>> best_inverse({"griffin-lim": usual, "vocoder": {"true_mel": one, "after_model": less}})
    'vocoder'
    >>> best_inverse({"griffin-lim": {**usual, "true_mel": less}, "vocoder": {"true_mel": one, "after_model": less}})
    'griffin-lim'
    """

    def share(inverse: Inverse, source: str) -> float:
        found, usual = figures[inverse][source], figures["griffin-lim"][source]
        return sum(found[name] / max(usual[name], 1e-9) for name in usual)

    fair = [inverse for inverse in figures if share(inverse, "true_mel") <= share("griffin-lim", "true_mel")]
    return min(fair, key=lambda inverse: share(inverse, "after_model"))


def _convergence(made: Tensor, true: Tensor) -> float:
    found = [spectral_convergence(magnitudes(made, window), magnitudes(true, window)) for window in WINDOWS]
    return float(torch.stack(found).mean())


def _distance(made: Tensor, true: Tensor, mel: MelTransform) -> float:
    total, count = log_spectral_distance(mel.power(made), mel.power(true))
    return float(total / count.clamp(min=1))
