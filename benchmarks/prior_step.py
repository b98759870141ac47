"""The prior: a training step, and drawing codes, against plain versions of the same work.

Training, batch 32, windows of 144 codes: `ours` is a step of the real training loop in fp32 and bf16; `plain` is a
transformer of the same shape with an explicit mask and softmax, one head over the codes, fp32, unfused AdamW. FLOP are
counted on the plain network, forward and backward.

Sampling, 144 codes: `ours` is generation.sampling, for one sound and for several side by side; `plain` gives the whole
sequence to the plain network again for each code, one sound at a time. Weights are random, which changes no time. The
floor is reading the weights from memory as often as they are needed: those of the transformer for each position, those
of the feed-forward net and of a level's logits for each code.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from common import floors, interleave, interleave_with_training
from distill.configs import PriorConfig, TrainingConfig
from distill.generation import TOP_P
from distill.generation.sampling import sample_codes
from distill.models.health import Health
from distill.models.prior import CodePrior, prior_loss
from distill.models.sequences import Batch, collate, random_first, window_at
from distill.models.shard import Peers, Shard
from distill.training.runtime import Runtime
from distill.training.task import Concern, Evaluation, StepLoss
from output import Report, parser
from plain_prior import PlainPrior

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

BANDS, LEVELS, COLUMNS, CODES = 8, 3, 6, 256
TOKENS = BANDS * LEVELS * COLUMNS


class RandomCodes:
    """Our prior on random code grids, as the training loop wants it."""

    stage = "train_prior"
    steps_per_epoch = 1_000_000

    def __init__(self, model: CodePrior, batch_size: int, runtime: Runtime) -> None:
        self.model, self.batch_size, self.runtime = model, batch_size, runtime

    def configure(self, config: PriorConfig) -> None:
        pass

    def start(self) -> None:
        pass

    def batches(self, epoch: int, first_step: int) -> Iterator[Batch]:
        rng = np.random.default_rng(epoch)
        grids = rng.integers(0, CODES, (self.batch_size, COLUMNS, BANDS, LEVELS))
        while True:
            context = self.model.context_columns
            windows = [window_at(grid, random_first(len(grid), context, rng, crop=0.0), context) for grid in grids]
            yield collate(windows, codebook_size=CODES)

    def shards(self, epoch: int, first_step: int, peers: Peers) -> Iterator[tuple[Batch, Shard]]:
        for batch in self.batches(epoch, first_step):
            shard = Shard(peers, len(batch.tokens))
            yield batch.part(shard.items), shard

    def loss(self, batch: Batch) -> StepLoss:
        loss = prior_loss(self.model(batch.tokens, batch.starts), batch.targets)
        return StepLoss(loss, {"cross_entropy": loss})

    def batch_health(self, indices: Tensor) -> Health:
        return {}

    def evaluate(self) -> Evaluation:
        return Evaluation(0.0, 0.0, {})

    def preview(self, epoch: int) -> tuple[Path, ...]:
        return ()

    def go_back(self, epoch: int) -> None:
        pass

    def concerns(self, history: list[dict[str, Any]]) -> list[Concern]:
        return []


def main() -> None:
    options = parser(__doc__, rounds=10)
    options.add_argument("--sizes", nargs="+", default=["128x2", "256x4", "512x6"], help="width x layers")
    options.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    options.add_argument("--batch-size", type=int, default=32)
    options.add_argument("--sounds", nargs="+", type=int, default=[1, 10, 32], help="sounds drawn side by side")
    args = options.parse_args()
    if args.quick:
        args.rounds, args.sizes, args.sounds, args.batch_size = 2, ["128x2"], [1, 10], 8
    report = Report(args)
    steps: list[list[Any]] = []
    samplings: list[list[Any]] = []
    for size in args.sizes:
        hidden, layers = map(int, size.split("x"))
        steps += training(hidden, layers, args)
        samplings += sampling(hidden, layers, args)
    columns = ["what", "ms", "x faster than plain", "x floor fp32", "x floor bf16", "x floor weights", "codes/s"]
    report.show(columns, [*steps, *samplings])


def heads_of(hidden: int) -> int:
    """Heads that go with a width in the adaptive settings."""
    return 8 if hidden >= 512 else 4


def build(hidden: int, layers: int) -> CodePrior:
    prior = CodePrior(hidden, layers, heads_of(hidden), 0.1, codebook_size=CODES, num_quantizers=LEVELS, bands=BANDS)
    prior.trained_columns.fill_(prior.context_columns)
    return prior


def training(hidden: int, layers: int, args: argparse.Namespace) -> list[list[Any]]:
    """Rows of the training step."""
    rows: list[list[Any]] = []
    plain = PlainPrior(
        hidden, layers, heads_of(hidden), batch_size=args.batch_size, tokens=TOKENS, codes=CODES, levels=LEVELS
    )
    with FlopCounterMode(display=False) as counter:
        plain.backward()
    gflop = counter.get_total_flops() / 1e9
    runtime, config = Runtime("cpu", "fp32", args.threads, 0), TrainingConfig(epochs=1)
    for precision in args.precision:
        runtime = replace(runtime, precision=precision)
        runtime.apply()
        task = RandomCodes(build(hidden, layers), args.batch_size, runtime)
        work = {"plain": plain.step, **floors()}
        timings = interleave_with_training(task, config, runtime, work, args.rounds, warmup=1)
        for name in ("ours", "plain"):
            multiples = [timings.multiple(name, gflop, kind) for kind in ("fp32", "bf16")]
            label = f"step {hidden}x{layers}, {name} {precision if name == 'ours' else 'fp32'}"
            rows.append([label, timings.milliseconds(name), timings.ratio("plain", name), *multiples, None, None])
    return rows


def sampling(hidden: int, layers: int, args: argparse.Namespace) -> list[list[Any]]:
    """Rows of drawing codes; the plain way's time is for one sound, and is compared with ours for each sound."""
    prior = build(hidden, layers).eval()
    plain = PlainPrior(hidden, layers, heads_of(hidden), batch_size=1, tokens=TOKENS, codes=CODES, levels=LEVELS).eval()
    torch.use_deterministic_algorithms(False)
    work = {str(count): partial(sample_codes, prior, columns=COLUMNS, seeds=range(count)) for count in args.sounds}
    floor = partial(read_weights, prior, COLUMNS * BANDS)
    timings = interleave({**work, "plain": partial(sample_plainly, plain, TOKENS), "floor": floor}, args.rounds)
    label, rows = f"sampling {hidden}x{layers}", list[list[Any]]()
    for name in (*work, "plain"):
        sounds = int(name) if name in work else 1
        faster = timings.ratio("plain", name) * sounds
        rate = 1000 * TOKENS * sounds / timings.milliseconds(name)
        said = "plain, 1 sound" if name == "plain" else f"ours, {name} {'sound' if sounds == 1 else 'sounds'}"
        beyond = timings.ratio(name, "floor")
        rows.append([f"{label}, {said}", timings.milliseconds(name), faster, None, None, beyond, rate])
    return rows


@torch.inference_mode()
def sample_plainly(plain: PlainPrior, count: int) -> Tensor:
    """So many codes of one sound, `[1, 1 + count]` behind a first token, the whole sequence read again for each.

    Of the likeliest codes alone, as new sounds are by default: all are sorted for that.
    """
    tokens = torch.zeros(1, 1, dtype=torch.int64)
    for _ in range(count):
        ranked, order = plain(tokens)[:, -1, :-1].softmax(-1).sort(descending=True)
        before = ranked.cumsum(-1) - ranked
        chosen = ranked.masked_fill(before >= TOP_P, 0.0).multinomial(1)
        tokens = torch.cat([tokens, order.gather(-1, chosen)], dim=1)
    return tokens


def read_weights(prior: CodePrior, positions: int) -> None:
    """Read what so many positions and their codes need of the weights; nothing else."""
    blocks = torch.cat([weight.flatten() for weight in prior.blocks.parameters()])
    of_level = len(prior.head.weight) // prior.num_quantizers
    weights = [*prior.depth.parameters(), prior.head.weight[:of_level]]
    depth = torch.cat([weight.flatten() for weight in weights])
    for _ in range(positions):
        blocks.sum()
        for _ in range(prior.num_quantizers):
            depth.sum()


if __name__ == "__main__":
    main()
