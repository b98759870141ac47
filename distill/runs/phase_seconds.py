"""What the phases of a run take on some machine, in s.

The figures are rough: they were set so that a run on the bundled sounds takes what its two trainings once took on two
cores. They only have to be right relative to each other.
"""

import math
from dataclasses import dataclass

from distill.configs import STRIDE, VQVAEConfig
from distill.params import Params
from distill.stages.planning import Planned, Sizes

# A run's work in its order: the stages, and within train_prior the codes that have to be made first.
MAKE_CODES = "make_codes"
PHASES = ("prepare", "configure", "train_vqvae", MAKE_CODES, "train_prior", "check_memorization", "assemble")

# Loading what a stage needs, and what it does once.
ONCE = {
    "prepare": 3.0,
    "configure": 0.5,
    "train_vqvae": 6.0,
    MAKE_CODES: 1.0,
    "train_prior": 1.0,
    "check_memorization": 4.0,
    "assemble": 1.0,
}
# A mel value through the VQ-VAE and back, a multiplication of the prior there and back.
SECONDS_A_VALUE = 7e-7
SECONDS_A_MULTIPLICATION = 1.2e-10
# Cost of evaluating a batch, relative to training on it.
EVALUATION = 1 / 3
# A frame of a sound prepared, a frame encoded, a sound generated for the check, a frame held against others.
SECONDS_A_FRAME = {"prepare": 3e-4, MAKE_CODES: 4e-5, "check_memorization": 5e-4}
SECONDS_A_SOUND = 0.4
# A prior makes no usable sounds before this share of its training; the first ones take this long.
FIRST_SHARE = 0.3
LISTENING = 6.0


@dataclass(frozen=True)
class Steps:
    """Optimizer steps of a training, and what one takes."""

    count: int
    seconds: float

    @property
    def total(self) -> float:
        return self.count * self.seconds


def effort(params: Params, sizes: Sizes, plan: Planned) -> dict[str, float]:
    """Each phase of a run with what it takes, in order."""
    frames = int(sizes.variants.sum())
    steps = training_steps(sizes, plan)
    encoded = frames * plan.prior.column_cuts * (1 + plan.prior.augmented_copies)
    work = {
        "prepare": frames * SECONDS_A_FRAME["prepare"],
        "train_vqvae": steps["train_vqvae"].total + plan.vqvae.epochs * _looking(sizes, plan.vqvae),
        MAKE_CODES: encoded * SECONDS_A_FRAME[MAKE_CODES],
        "train_prior": steps["train_prior"].total * (1 + EVALUATION * _looked_at(sizes, plan)),
        "check_memorization": params.memorization.sounds * SECONDS_A_SOUND
        + frames * SECONDS_A_FRAME["check_memorization"],
    }
    return {phase: ONCE[phase] + work.get(phase, 0.0) for phase in PHASES}


def training_steps(sizes: Sizes, plan: Planned) -> dict[str, Steps]:
    """Both trainings' optimizer steps."""
    return {
        "train_vqvae": Steps(plan.vqvae_steps, vqvae_step(plan.vqvae, sizes)),
        "train_prior": Steps(plan.prior_steps, prior_step(plan)),
    }


def vqvae_step(config: VQVAEConfig, sizes: Sizes) -> float:
    """A step of the VQ-VAE."""
    return config.batch_size * -(-sizes.chunk_frames // STRIDE) * STRIDE * sizes.n_mels * SECONDS_A_VALUE


def prior_step(plan: Planned) -> float:
    """A step of the prior: its layers see positions of a window, the rest of it each of their codes."""
    hidden, levels = plan.prior.hidden, plan.vqvae.num_quantizers
    layers = plan.prior.layers * hidden * (12 * hidden + 2 * plan.window_codes / levels) / levels
    multiplications = layers + 8 * hidden**2 + hidden * levels * (plan.vqvae.codebook_size + 1)
    return plan.prior.batch_size * plan.window_codes * multiplications * SECONDS_A_MULTIPLICATION


def first_sounds(plan: Planned) -> tuple[str, float]:
    """The phase, and the share of it, after which there is a checkpoint of a prior that knows something."""
    in_epoch = plan.prior_steps / plan.prior.epochs
    interval = in_epoch * plan.prior.checkpoint_interval
    return "train_prior", min(1.0, math.ceil(FIRST_SHARE * plan.prior_steps / interval) * interval / plan.prior_steps)


def _looking(sizes: Sizes, config: VQVAEConfig) -> float:
    """An evaluation of the VQ-VAE: held-out chunks, and about as many of the others."""
    chunks = max(config.batch_size, sizes.train_chunks)
    return EVALUATION * vqvae_step(config, sizes) * chunks / config.batch_size


def _looked_at(sizes: Sizes, plan: Planned) -> float:
    """Windows that the prior's evaluations hear, as a share of those that it learns from."""
    in_epoch = plan.prior_steps / plan.prior.epochs * plan.prior.batch_size
    return min(1.0, max(plan.prior.batch_size, len(sizes.originals)) / in_epoch)
