"""The prior: what may depend on what, and the way it reads code by code."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.errors import UsageError
from distill.models import incremental, kernels
from distill.models.incremental import CodeReader, ReadablePrior
from distill.models.kernels import MOST_ROWS, NumpyKernels, TorchKernels, rows_of
from distill.models.prior import IGNORED, CodePrior, negative_log_likelihood, prior_loss, sum_by_level

SIZE, LEVELS, BANDS = 16, 3, 4
COLUMN = LEVELS * BANDS


def prior(**changes: Any) -> CodePrior:
    torch.manual_seed(0)
    values: dict[str, Any] = {"codebook_size": SIZE, "num_quantizers": LEVELS, "bands": BANDS, "context": 8 * COLUMN}
    model = CodePrior(**{"hidden": 32, "layers": 2, "heads": 4, "dropout": 0.1, **values, **changes})
    with torch.no_grad():
        # Far from uniform, so that a wrong dependence shows.
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return model.eval()


def codes(rows: int, count: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, SIZE, (rows, count), generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=20)
@given(place=st.integers(0, 3 * COLUMN - 1))
def test_a_code_changes_no_logits_before_it_and_some_after(place: int) -> None:
    model, tokens, starts = prior(), codes(1, 3 * COLUMN), torch.ones(1, dtype=torch.bool)
    changed = tokens.clone()
    changed[0, place] = (changed[0, place] + 1) % SIZE
    before, after = (model(each, starts)[..., :SIZE] for each in (tokens, changed))
    assert torch.equal(before[:, : place + 1], after[:, : place + 1])
    assert not torch.equal(before[:, place + 1], after[:, place + 1])


def test_true_starts_and_windows_within_are_told_apart() -> None:
    model, tokens = prior(), codes(1, COLUMN).expand(2, -1)
    logits = model(tokens, torch.tensor([True, False]))[..., :SIZE]
    assert not torch.allclose(logits[0], logits[1], atol=1e-3)


@pytest.mark.parametrize("count", [0, 1, COLUMN - 1, COLUMN, 2 * COLUMN + 5])
def test_the_end_can_come_only_where_a_column_begins(count: int) -> None:
    logits = prior()(codes(2, count), torch.ones(2, dtype=torch.bool))
    assert logits.shape == (2, count + 1, SIZE + 1)
    possible = torch.isfinite(logits)
    assert possible[..., :SIZE].all()
    assert possible[0, :, SIZE].tolist() == [slot % COLUMN == 0 for slot in range(count + 1)]


@pytest.mark.parametrize("at_start", [True, False])
@pytest.mark.parametrize("given_codes", [0, LEVELS, COLUMN, 3 * COLUMN + 2 * LEVELS])
def test_reading_code_by_code_gives_the_logits_of_the_whole(at_start: bool, given_codes: int) -> None:
    model, tokens = prior(), codes(3, 8 * COLUMN)
    whole = model(tokens, torch.full((3,), at_start))
    reader = CodeReader(ReadablePrior(model), 3)
    for _ in range(2):  # a reader can be started again
        steps = [reader.start(tokens[:, :given_codes].numpy(), at_start=at_start)]
        steps += [reader.step(tokens[:, place].numpy()) for place in range(given_codes, tokens.shape[1])]
        read_on = torch.from_numpy(np.stack(steps, 1))
        torch.testing.assert_close(read_on, whole[:, given_codes:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("hidden", [32, 512], ids=["numpy", "torch"])
def test_a_reader_that_goes_back_reads_as_if_nothing_had_been_read_since(hidden: int) -> None:
    model, tokens, others = prior(hidden=hidden), codes(3, 3 * COLUMN).numpy(), codes(3, 3 * COLUMN, seed=2).numpy()
    reader = CodeReader(ReadablePrior(model), 3)
    before = reader.start(tokens[:, :COLUMN], at_start=True)
    place = reader.place()
    once = [reader.step(tokens[:, at]) for at in range(COLUMN, 3 * COLUMN)]
    for _ in range(2):
        assert np.array_equal(reader.back(place), before)
        for at in range(COLUMN, 2 * COLUMN + 1):
            reader.step(others[:, at])
    reader.back(place)
    assert np.array_equal([reader.step(tokens[:, at]) for at in range(COLUMN, 3 * COLUMN)], once)


def test_more_codes_than_the_context_are_refused() -> None:
    with pytest.raises(ValueError, match="8 columns"):
        prior()(codes(1, 8 * COLUMN + LEVELS), torch.ones(1, dtype=torch.bool))
    with pytest.raises(UsageError, match="two columns"):
        prior(context=2 * COLUMN - 1)
    with pytest.raises(UsageError, match="must divide"):
        CodePrior(32, 2, 5, codebook_size=SIZE, num_quantizers=LEVELS, bands=BANDS)


def test_an_untrained_prior_knows_nothing() -> None:
    torch.manual_seed(3)
    model = CodePrior(64, 2, 4, codebook_size=SIZE, num_quantizers=LEVELS, bands=BANDS, context=8 * COLUMN).eval()
    tokens = codes(4, 4 * COLUMN)
    logits = model(tokens, torch.ones(4, dtype=torch.bool))
    targets = torch.cat([tokens, torch.full((4, 1), model.end)], 1)
    assert prior_loss(logits, targets).item() == pytest.approx(math.log(SIZE), abs=0.1)


def test_the_loss_counts_only_targets_that_count() -> None:
    model, tokens = prior(), codes(2, COLUMN)
    logits = model(tokens, torch.ones(2, dtype=torch.bool)).detach()
    targets = torch.cat([tokens, torch.full((2, 1), model.end)], 1)
    targets[1, 5:] = IGNORED
    log_p = logits.double().log_softmax(-1)
    slots = [(0, slot) for slot in range(COLUMN + 1)] + [(1, slot) for slot in range(5)]
    plain = [-log_p[row, slot, targets[row, slot]].item() for row, slot in slots]
    assert prior_loss(logits, targets).item() == pytest.approx(sum(plain) / len(plain), rel=1e-5)
    sums, counts = sum_by_level(negative_log_likelihood(logits, targets), targets, LEVELS)
    for level in range(LEVELS):
        chosen = [value for value, (_, slot) in zip(plain, slots, strict=True) if slot % LEVELS == level]
        assert counts[level] == len(chosen)
        assert sums[level].item() == pytest.approx(sum(chosen), rel=1e-5)


def test_gradients_are_finite_and_reach_every_parameter_in_bf16() -> None:
    model = prior().train()
    tokens = codes(4, 8 * COLUMN)
    targets = torch.cat([tokens, torch.full((4, 1), model.end)], 1)
    with torch.autocast("cpu", torch.bfloat16):
        loss = prior_loss(model(tokens, torch.tensor([True, False] * 2)), targets)
    assert loss.dtype == torch.float32
    loss.backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().sum() > 0, name


def test_only_training_remembers_the_longest_window() -> None:
    model, starts = prior(), torch.ones(1, dtype=torch.bool)
    model(codes(1, 5 * COLUMN), starts)
    assert int(model.trained_columns) == 0
    model.train()
    model(codes(1, 3 * COLUMN), starts)
    model(codes(1, 2 * COLUMN), starts)
    assert int(model.state_dict()["trained_columns"]) == 3


def test_everything_happens_on_the_device_of_its_inputs() -> None:
    model = prior().to("meta")
    tokens, starts = codes(2, COLUMN).to("meta"), torch.ones(2, dtype=torch.bool, device="meta")
    logits = model(tokens, starts)
    targets = torch.zeros(2, COLUMN + 1, dtype=torch.int64, device="meta")
    assert logits.device.type == prior_loss(logits, targets).device.type == "meta"


def read(model: CodePrior, tokens: torch.Tensor) -> torch.Tensor:
    """Logits of the codes after the first column, read one by one."""
    reader = CodeReader(ReadablePrior(model), len(tokens))
    codes = tokens.numpy()
    given = reader.start(codes[:, :COLUMN], at_start=True)
    steps = [given, *(reader.step(codes[:, at]) for at in range(COLUMN, codes.shape[1]))]
    return torch.from_numpy(np.stack(steps, 1))


@pytest.mark.parametrize("agree", [True, False], ids=["as here", "where rows depend on their number"])
@pytest.mark.parametrize("hidden", [32, 128, 512])
def test_a_sequence_has_the_same_logits_alone_and_among_others(
    hidden: int, agree: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not agree:
        monkeypatch.setattr(kernels, "_agree", lambda *_: False)
    model, tokens = prior(hidden=hidden), codes(MOST_ROWS, 3 * COLUMN)
    whole = read(model, tokens)
    for rows in (slice(0, 1), slice(7, 8), slice(2, 4), slice(0, 7), slice(1, 15)):
        assert torch.equal(read(model, tokens[rows]), whole[rows])


def test_small_products_by_either_library_give_the_same_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = prior(hidden=128), codes(3, 3 * COLUMN)
    assert isinstance(ReadablePrior(model).kernels, NumpyKernels)
    small = read(model, tokens)
    monkeypatch.setattr(incremental, "SMALL", 0)
    assert isinstance(ReadablePrior(model).kernels, TorchKernels)
    # How far sums of another order lie apart depends on the processor.
    torch.testing.assert_close(small, read(model, tokens), rtol=1e-5, atol=5e-5)


def test_where_one_product_depends_on_the_number_of_rows_all_have_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_agree", lambda inputs, *_: inputs != 64)
    assert rows_of(1, {(32, 96)}, torch.device("cpu")) == 2
    assert rows_of(5, {(32, 96)}, torch.device("cpu")) == 5
    assert rows_of(5, {(32, 96), (64, 32)}, torch.device("cpu")) == MOST_ROWS
    # Nothing is tried on other devices.
    assert rows_of(1, {(32, 96)}, torch.device("cuda")) == rows_of(9, {(32, 96)}, torch.device("mps")) == MOST_ROWS


def test_a_batch_has_no_more_rows_than_its_products_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_agree", lambda _inputs, _outputs, rows, *_: rows >= 4)
    assert [rows_of(batch, {(32, 96)}, torch.device("cpu")) for batch in (1, 3, 4, 5, 15, 16)] == [4, 4, 4, 5, 15, 16]
