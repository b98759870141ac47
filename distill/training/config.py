"""The configurations that the trainings take, in one place to import them from; free of torch."""

from distill.adaptive import get_adaptive_prior_config, get_adaptive_vqvae_config
from distill.configs import PriorConfig, VQVAEConfig

__all__ = ["PriorConfig", "VQVAEConfig", "get_adaptive_prior_config", "get_adaptive_vqvae_config"]
