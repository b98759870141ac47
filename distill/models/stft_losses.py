"""How near a sound is to another in its magnitudes, whatever its phases."""

import torch
from torch import Tensor
from torch.nn import functional

# Windows of a quarter more each time: long ones tell pitches apart, short ones moments. A hop is a quarter of a window.
WINDOWS = (2048, 1024, 512)
# Magnitudes below this share of a full-scale window's count little in a logarithm.
_FLOOR = 0.1 / 2048**0.5
# Keeps the convergence of near silence finite.
_LEAST_NORM = 0.1


def magnitudes(waveform: Tensor, window: int) -> Tensor:
    """Magnitudes `[batch, frames, window // 2 + 1]` of waveforms `[batch, n]` with a Hann window, a quarter apart."""
    hop = window // 4
    padded = functional.pad(waveform, (window // 2, window // 2 + -waveform.shape[-1] % hop))
    rows = padded.unflatten(-1, (-1, hop))
    frames = rows.shape[1] - 3
    windows = torch.cat([rows[:, piece : piece + frames] for piece in range(4)], dim=-1)
    return magnitudes_of(windows)


def magnitudes_of(windows: Tensor) -> Tensor:
    """Magnitudes `[..., window // 2 + 1]` of stretches of sound `[..., window]` under a Hann window."""
    spectrum = torch.fft.rfft(windows * torch.hann_window(windows.shape[-1], device=windows.device))
    return (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()


def spectral_convergence(made: Tensor, true: Tensor) -> Tensor:
    """Norm of the difference of magnitudes `[batch, frames, bins]` over the norm of the true ones, `[batch]`."""
    return (made - true).flatten(1).norm(dim=1) / (true.flatten(1).norm(dim=1) + _LEAST_NORM)


def log_distance(made: Tensor, true: Tensor, window: int) -> Tensor:
    """Mean absolute difference of the logarithms of magnitudes that were made with a window of such a length."""
    floor = _FLOOR * window**0.5
    return ((made + floor).log() - (true + floor).log()).abs().mean()


def multi_resolution(made: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Spectral convergence and log distance of waveforms `[batch, n]`, each the mean over three resolutions.

    After Yamamoto, Song and Kim, "Parallel WaveGAN" (2020).
    """
    convergence, distance = [], []
    for window in WINDOWS:
        found = magnitudes(made, window)
        with torch.no_grad():
            wanted = magnitudes(true, window)
        convergence.append(spectral_convergence(found, wanted).mean())
        distance.append(log_distance(found, wanted, window))
    return torch.stack(convergence).mean(), torch.stack(distance).mean()
