"""What processes compute of a batch that they share is what one process computes of the whole batch."""

import copy
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from distill.dataset.loader import TrainingBatches
from distill.dataset.store import PreparedDataset
from distill.models.shard import BatchNorm2d, Dropout, Dropout2d, Shard, part_of, shared
from distill.models.vqvae import ConvVQVAE
from pipeline_util import make_workspace, run


class Threads:
    """Peers that are threads of this process."""

    def __init__(self, rank: int, size: int, given: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size, self._given, self._barrier = rank, size, given, barrier

    def all_reduce(self, tensor: Tensor) -> Tensor:
        return torch.stack(self._exchanged(tensor)).sum(0)

    def all_gather(self, tensor: Tensor, rows: Sequence[int]) -> Tensor:
        parts = self._exchanged(tensor)
        assert [len(part) for part in parts] == list(rows)
        return torch.cat(parts)

    def _exchanged(self, tensor: Tensor) -> list[Tensor]:
        self._given[self.rank] = tensor.detach().clone()
        self._barrier.wait(30)
        found = list(self._given)
        self._barrier.wait(30)
        return found


class Precise(ConvVQVAE):
    """A VQ-VAE whose networks compute in double precision around a quantizer that does not."""

    def decode(self, quantized: Tensor, target_shape: tuple[int, int]) -> Tensor:
        return super().decode(quantized.double(), target_shape)


def by_all(size: int, total: int, work: Any) -> list[Any]:
    """What `work` returns for the shard of each of some peers."""
    given: list[Any] = [None] * size
    barrier, results = threading.Barrier(size), [None] * size

    def one(rank: int) -> None:
        try:
            results[rank] = work(rank, Shard(Threads(rank, size, given, barrier), total))
        except BaseException:
            barrier.abort()
            raise

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None not in results
    return results


@given(st.integers(1, 200), st.integers(1, 16))
def test_every_item_has_one_process_and_no_process_has_two_more_than_another(total: int, size: int) -> None:
    parts = [part_of(total, rank, size) for rank in range(size)]
    if total < size:
        assert all(part == slice(0, total) for part in parts)
        return
    assert [item for part in parts for item in range(total)[part]] == list(range(total))
    counts = [part.stop - part.start for part in parts]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("total", [3, 8])
def test_the_loss_and_all_gradients_are_those_of_the_whole_batch(size: int, total: int) -> None:
    """In double precision, where rounding does not hide a mistake."""
    torch.manual_seed(0)
    model = Precise(8, 6, 3, dropout=0.0, threshold_ema_dead_code=0)
    for part in (model.encoder, model.decoder):
        part.double().train()
    mel = torch.rand(total, 1, 32, 48, dtype=torch.float64) * 5
    with torch.no_grad():
        model.quantizer.place_codes(model.encode(mel).flatten(2).transpose(1, 2).flatten(0, 1).float())

    def loss(network: ConvVQVAE, part: Tensor) -> Tensor:
        reconstruction, _, commitment = network(part)
        return (reconstruction - part).square().mean() + commitment

    whole, *copies = (copy.deepcopy(model) for _ in range(1 + size))
    wanted = loss(whole, mel)
    wanted.backward()

    def work(rank: int, shard: Shard) -> Tensor:
        with shared(shard):
            found = shard.share * loss(copies[rank], mel[shard.items])
        found.backward()
        return found.detach()

    losses = by_all(size, total, work)
    assert sum(losses).item() == pytest.approx(wanted.item(), rel=1e-7)
    for name, weight in whole.named_parameters():
        all_reduce = sum(dict(each.named_parameters())[name].grad for each in copies)  # type: ignore[misc]
        assert torch.allclose(all_reduce, weight.grad, rtol=1e-5, atol=1e-9), name  # type: ignore[arg-type]
    for each in copies:
        for name, buffer in whole.named_buffers():
            assert torch.allclose(dict(each.named_buffers())[name].double(), buffer.double(), atol=1e-5), name


@pytest.mark.parametrize(("layer", "shape"), [(Dropout(0.3), (7, 5, 4)), (Dropout2d(0.3), (7, 5, 3, 2))])
def test_all_draw_what_one_process_draws(layer: nn.Module, shape: tuple[int, ...]) -> None:
    whole = torch.rand(shape) + 1
    torch.manual_seed(3)
    wanted, state = layer(whole), torch.get_rng_state()
    parts = []
    for rank in range(3):
        torch.manual_seed(3)
        shard = Shard(Threads(rank, 3, [], threading.Barrier(1)), 7)
        with shared(shard):
            parts.append(layer(whole[shard.items]))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(torch.cat(parts), wanted)
    assert not torch.equal(wanted, whole)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("shape", [(1000, 1001), (3,)])
def test_dropout_keeps_each_number_by_itself_and_the_mean_of_all(p: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(11)
    x = torch.full(shape, 2.0, requires_grad=True)
    made = Dropout(p)(x)
    made.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, made.detach() / 2.0)
    assert torch.equal(made, torch.where(made > 0, torch.full_like(made, 2.0 / (1 - p)), 0.0))
    if len(shape) > 1:
        kept = (made > 0).double()
        # Seven standard deviations, over all and from one number to the next ones.
        within = 7 * (p * (1 - p) / kept.numel()) ** 0.5 + 2**-16
        assert kept.mean().item() == pytest.approx(1 - p, abs=within)
        for apart in (1, 2, 3, 4, 1001):
            both = (kept.flatten()[apart:] * kept.flatten()[:-apart]).mean().item()
            assert both == pytest.approx((1 - p) ** 2, abs=2 * within)


def test_normalization_sees_the_items_of_all() -> None:
    whole = torch.randn(6, 4, 3, 2) * 3 + 2
    one, layers = BatchNorm2d(4), [BatchNorm2d(4) for _ in range(2)]
    wanted = one(whole)

    def work(rank: int, shard: Shard) -> Tensor:
        with shared(shard):
            found: Tensor = layers[rank](whole[shard.items])
        return found.detach()

    assert torch.allclose(torch.cat(by_all(2, 6, work)), wanted, atol=1e-5)
    for layer in layers:
        assert torch.allclose(layer.running_mean, one.running_mean, atol=1e-6)
        assert torch.allclose(layer.running_var, one.running_var, atol=1e-5)
        assert layer.num_batches_tracked == 1


def test_in_evaluation_and_outside_of_a_shard_the_layers_are_torchs_own() -> None:
    x = torch.randn(4, 3, 2, 2)
    shard = Shard(Threads(0, 2, [], threading.Barrier(1)), 8)
    with shared(shard):
        assert torch.equal(BatchNorm2d(3).eval()(x), nn.BatchNorm2d(3).eval()(x))
        assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(BatchNorm2d(3)(x), nn.BatchNorm2d(3)(x))


def test_an_item_is_the_same_in_every_part_of_a_batch(tmp_path: Any) -> None:
    workspace = make_workspace(tmp_path)
    run(workspace, "prepare")
    batches = TrainingBatches(
        PreparedDataset(workspace.prepared), batch_size=5, expansion=2, strength=1.0, seed=0, steps_per_epoch=3
    )
    for size in (2, 3):
        for step in range(batches.steps_per_epoch):
            whole = batches.batch(1, step)
            assert len(whole) == batches.items(1, step)
            parts = [batches.batch(1, step, partial(part_of, rank=rank, size=size)) for rank in range(size)]
            assert np.array_equal(np.concatenate(parts) if len(whole) >= size else parts[0], whole)
