"""A few steps of both networks on random input, to know how long a step takes on this machine."""

import time
from collections.abc import Callable

import torch

from distill.configs import STRIDE, PriorConfig, VQVAEConfig
from distill.models.losses import COMMITMENT, spectral_terms, total_loss
from distill.models.prior import prior_loss
from distill.training.prior import build_prior
from distill.training.runtime import Runtime
from distill.training.vqvae import build_vqvae

STEPS = 2


def step_seconds(
    vqvae: VQVAEConfig, prior: PriorConfig, runtime: Runtime, *, frames: int, n_mels: int, columns: int
) -> tuple[float, float]:
    """What a step of the VQ-VAE and one of the prior take, in s; weights and generators of trainings stay as they are.

    Args:
        vqvae: settings of the VQ-VAE.
        prior: settings of the prior.
        runtime: where it is computed.
        frames: of a chunk.
        n_mels: mel bins of a frame.
        columns: of a window of the prior.
    """
    model = build_vqvae(vqvae).to(runtime.device)
    weights = {**vqvae.spectral_weights, COMMITMENT: vqvae.commitment_weight}
    whole = -(-frames // STRIDE) * STRIDE
    mel = torch.rand(vqvae.batch_size, 1, n_mels, whole, device=runtime.device)

    def rebuild() -> torch.Tensor:
        reconstruction, _, commitment = model(mel)
        return total_loss({**spectral_terms(reconstruction, mel), COMMITMENT: commitment}, weights)

    first = _fastest(model, rebuild, runtime)
    network = build_prior(prior, model, n_mels).to(runtime.device)
    count = columns * (n_mels // STRIDE) * vqvae.num_quantizers
    codes = torch.randint(vqvae.codebook_size, (prior.batch_size, count + 1), device=runtime.device)
    starts = torch.ones(prior.batch_size, dtype=torch.bool, device=runtime.device)

    def foretell() -> torch.Tensor:
        return prior_loss(network(codes[:, :-1], starts), codes)

    return first, _fastest(network, foretell, runtime)


def _fastest(model: torch.nn.Module, loss: Callable[[], torch.Tensor], runtime: Runtime) -> float:
    """The fastest of a few steps: the first makes what the others find ready."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    seconds = []
    for _ in range(1 + STEPS):
        begun = time.perf_counter()
        with runtime.autocast():
            value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        # It waits until all of it is done.
        value.detach().item()
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:])
