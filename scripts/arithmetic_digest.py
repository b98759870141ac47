"""Digest of fixed numbers computed in the ways that the models use: `python scripts/arithmetic_digest.py portable`.

Equal digests on two processors say that a training gives the same bytes on both.
docs/explanation/reproducibility.md lists them.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from distill.instructions import processor_features, processor_maker, use

if TYPE_CHECKING:
    from torch import Tensor, nn


def main() -> None:
    (arithmetic,) = sys.argv[1:]
    use("portable" if arithmetic == "portable" else "native")
    # OpenBLAS counts threads by this.
    os.environ["OMP_NUM_THREADS"] = "2"
    import torch

    import distill.arithmetic  # noqa: F401

    torch.set_num_threads(2)
    found = {
        "processor": f"{processor_maker()} {'AVX-512' if 'avx512f' in processor_features() else 'AVX2'}",
        "arithmetic": arithmetic,
        "torch": torch.__version__.partition("+")[0],
        "digest": digest(),
    }
    sys.stdout.write(json.dumps(found) + "\n")


def digest() -> str:
    """First figures of the digest of all that is computed."""
    import numpy as np
    import torch
    from torch import nn

    hasher = hashlib.sha256()

    def add(tensor: torch.Tensor) -> None:
        hasher.update(tensor.detach().contiguous().numpy().tobytes())

    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 32, 3, 2, 1), nn.GroupNorm(4, 32), nn.GELU(), nn.Conv2d(32, 64, 3, 2, 1), nn.SiLU()]
    layers += [nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1)]
    images = torch.rand(8, 1, 64, 48)
    _train(nn.Sequential(*layers).to(memory_format=torch.channels_last), images, images, add)  # type: ignore[call-overload]
    codes = torch.randn(8, 72, 64)
    attention = nn.TransformerEncoderLayer(64, 4, 256, 0.0, "gelu", batch_first=True, norm_first=True)
    _train(attention, codes, codes.flip(1), add)

    spectrum = torch.fft.rfft(torch.rand(65, 2048) * torch.hann_window(2048))
    add(torch.view_as_real(spectrum))
    add(torch.fft.irfft(torch.polar(spectrum.abs(), spectrum.angle()), n=2048))
    positive = spectrum.abs() + 0.1
    for function in (torch.log, torch.log1p, torch.exp, torch.tanh, torch.sin, torch.sqrt):
        add(function(positive.clamp_max(20)))
    add(torch.linalg.pinv(positive[:, :512]))
    add(torch.softmax(positive, dim=1).cumsum(1))
    array = positive.numpy()
    for made in (np.abs(spectrum.numpy()), np.exp(-array), np.log(array), np.sin(array), array @ array.T, array.sum(0)):
        hasher.update(made.tobytes())
    return hasher.hexdigest()[:16]


def _train(network: "nn.Module", given: "Tensor", wanted: "Tensor", add: Callable[["Tensor"], None]) -> None:
    """A few steps; the weights at their end."""
    import torch

    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    for _ in range(3):
        optimizer.zero_grad()
        (network(given) - wanted).square().mean().backward()
        optimizer.step()
    for weight in network.parameters():
        add(weight)


if __name__ == "__main__":
    main()
