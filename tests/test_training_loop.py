"""The training loop: schedule, non-finite steps, watching, the best epoch, early stops."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.configs import LiveConfig, PriorConfig, TrainingConfig, VQVAEConfig
from distill.dataset.store import PreparedDataset
from distill.errors import StorageError, TrainingError
from distill.live.events import EpochDone, Event, Listeners, PreviewWritten, StepDone, StepSkipped, Warned
from distill.live.stop_request import StopRequest
from distill.stages.workspace import Workspace, read_config, section
from distill.training import checkpoint, loop
from distill.training.checkpoint import Checkpoints
from distill.training.loop import Trained, train
from distill.training.position import Position, checkpoint_files, read_position, step_of
from distill.training.runtime import Runtime, random_states, restore_random_states
from distill.training.step import learning_rate
from distill.training.task import Evaluation, StepLoss
from distill.training.vqvae import VQVAETask, has_previews
from pipeline_util import bytes_of, make_workspace, run


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("loop"), vqvae={"preview_count": 1})
    run(workspace, "prepare", "configure")
    return workspace


def task_of(workspace: Workspace, folder: Path, **changes: Any) -> VQVAETask:
    values = read_config(workspace, "train_vqvae")
    config: VQVAEConfig = section(values, "vqvae", VQVAEConfig).model_copy(update=changes)
    runtime = Runtime(**values["runtime"])
    runtime.apply()
    dataset = PreparedDataset(workspace.prepared)
    return VQVAETask(dataset, config, dataset.spectrogram, runtime, folder / "previews")


def trained(task: VQVAETask, folder: Path, events: list[Event] | None = None) -> Trained:
    listeners = Listeners([events.append] if events is not None else [])
    checkpoints = Checkpoints(folder, keep=task.config.max_checkpoints)
    return train(task, task.config, task.runtime, checkpoints, emit=listeners, stop=StopRequest())


@given(st.integers(1, 5000), st.floats(0, 0.5), st.floats(1e-5, 1e-2))
def test_the_rate_rises_then_falls(total: int, warmup: float, highest: float) -> None:
    config = TrainingConfig(learning_rate=highest, warmup_fraction=warmup, min_learning_rate=1e-6)
    rates = [learning_rate(config, step, total) for step in range(0, total, max(1, total // 50))]
    assert all(0 < rate <= highest * (1 + 1e-9) for rate in rates)
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert learning_rate(config, total, total) == pytest.approx(1e-6)


def test_an_epoch_shows_every_chunk_as_often_as_asked(prepared: Workspace, tmp_path: Path) -> None:
    task = task_of(prepared, tmp_path, epochs=2)
    events: list[Event] = []
    trained(task, tmp_path, events)
    chunks = len(task.dataset.chunks("train"))
    shown = math.ceil(chunks * task.config.augmentation_expansion / task.config.batch_size)
    assert [sum(isinstance(e, StepDone) and e.epoch == epoch for e in events) for epoch in (1, 2)] == [shown, shown]


def test_the_history_has_everything_and_no_time(prepared: Workspace, tmp_path: Path) -> None:
    events: list[Event] = []
    task = task_of(prepared, tmp_path)
    outcome = trained(task, tmp_path, events)
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert [event.row for event in epochs] == outcome.history
    for row in outcome.history:
        terms = ("full", "half", "quarter", "l1", "commitment")
        assert {f"{split}_{term}" for split in ("train", "validation") for term in terms} <= set(row)
        assert {
            f"level_{level}_{key}" for level in range(3) for key in ("utilization", "perplexity", "dead_codes")
        } <= set(row)
        assert row["overfitting_gap"] == pytest.approx((row["validation_loss"] - row["train_loss"]) / row["train_loss"])
        assert not {key for key in row if "second" in key or "time" in key or "eta" in key}
        assert "warnings" in row
        json.dumps(row, allow_nan=False)
    weights = task.config.spectral_weights.items()
    best = min(outcome.history, key=lambda row: sum(weight * row[f"validation_{name}"] for name, weight in weights))
    assert outcome.best_epoch == best["epoch"]
    assert all(event.steps_per_second > 0 for event in epochs)


def test_the_best_epoch_is_what_is_kept(prepared: Workspace, tmp_path: Path) -> None:
    task = task_of(prepared, tmp_path, learning_rate=1e-2)
    outcome = trained(task, tmp_path)
    task.model.load_state_dict(outcome.state)
    task.model.eval()
    with torch.no_grad():
        assert task.evaluate().criterion == outcome.best_loss


def test_watching_changes_nothing(prepared: Workspace, tmp_path: Path) -> None:
    """Validation, previews and checkpoints, any number of them, neither change a weight nor draw a random number."""
    rare = trained(
        task_of(prepared, tmp_path / "rare", preview_count=0, checkpoint_interval=100, num_workers=0), tmp_path / "rare"
    )
    task = task_of(prepared, tmp_path / "often", preview_interval=1, checkpoint_interval=1)
    evaluate = task.evaluate
    task.evaluate = lambda: next(evaluate() for _ in range(3) if evaluate())  # type: ignore[method-assign]
    often = trained(task, tmp_path / "often")
    assert all(torch.equal(rare.state[name], often.state[name]) for name in rare.state)
    assert len(list((tmp_path / "often" / "previews").glob("*.flac"))) == 6


def test_loading_in_other_processes_changes_nothing(prepared: Workspace, tmp_path: Path) -> None:
    here = trained(task_of(prepared, tmp_path / "here", epochs=1), tmp_path / "here")
    there = trained(task_of(prepared, tmp_path / "there", epochs=1, num_workers=1), tmp_path / "there")
    assert all(torch.equal(here.state[name], there.state[name]) for name in here.state)


class Poisoned(VQVAETask):
    """Gives a loss that is not a number at some steps, from inputs that are not."""

    bad_steps: tuple[int, ...] = ()
    calls = 0

    def loss(self, batch: Any) -> StepLoss:
        self.calls += 1
        return super().loss(batch * float("nan") if self.calls in self.bad_steps else batch)


def poisoned(prepared: Workspace, folder: Path, *bad_steps: int) -> Poisoned:
    task = task_of(prepared, folder, epochs=6)
    task.__class__ = Poisoned
    task.bad_steps = bad_steps  # type: ignore[attr-defined]
    return task  # type: ignore[return-value]


def test_a_step_that_is_not_finite_never_reaches_the_model(prepared: Workspace, tmp_path: Path) -> None:
    events: list[Event] = []
    outcome = trained(poisoned(prepared, tmp_path, 1, 4, 5), tmp_path, events)
    assert [event.in_row for event in events if isinstance(event, StepSkipped)] == [1, 1, 2]
    assert outcome.skipped == 3
    assert outcome.history[-1]["skipped_steps"] == 3
    assert all(torch.isfinite(value).all() for value in outcome.state.values())


def test_ten_such_steps_in_a_row_end_the_run(prepared: Workspace, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"10 steps in a row.*lower the learning rate"):
        trained(poisoned(prepared, tmp_path, *range(3, 13)), tmp_path)


def test_health_is_never_measured_before_the_codes_are_placed(
    prepared: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LiveConfig", lambda: LiveConfig(log_interval=1))
    task = task_of(prepared, tmp_path, kmeans_chunks=0, epochs=1)
    assert not task.model.quantizer.codebooks.any()
    seen: list[bool] = []
    inner = task.batch_health
    task.batch_health = lambda indices: (seen.append(bool(task.model.quantizer.codebooks.any())), inner(indices))[1]  # type: ignore[method-assign]
    events: list[Event] = []
    trained(task, tmp_path, events)
    steps = [event for event in events if isinstance(event, StepDone)]
    # Once a step, of the codes that its own forward pass placed at the latest.
    assert seen == [True] * len(steps)
    assert all(event.health for event in steps)


def test_an_early_stop_keeps_the_best(prepared: Workspace, tmp_path: Path) -> None:
    task = task_of(prepared, tmp_path, epochs=9, early_stop_patience=2)
    evaluate, states = task.evaluate, []

    def worse_and_worse() -> Evaluation:
        states.append({name: value.clone() for name, value in task.model.state_dict().items()})
        # A commitment loss that grows says nothing of what is heard.
        return replace(
            evaluate(), reconstruction=[3.0, 4.0, 2.0, 2.5, 2.0][len(states) - 1], validation_loss=len(states)
        )

    task.evaluate = worse_and_worse  # type: ignore[method-assign]
    outcome = trained(task, tmp_path)
    assert (outcome.best_epoch, outcome.best_loss, len(outcome.history)) == (3, 2.0, 5)
    assert all(torch.equal(outcome.state[name], value) for name, value in states[2].items())


def test_one_writer_at_a_time(prepared: Workspace, tmp_path: Path) -> None:
    with Checkpoints(tmp_path, keep=1).lock(), pytest.raises(StorageError, match="another process is training"):
        trained(task_of(prepared, tmp_path), tmp_path)


def test_old_checkpoints_go_and_the_best_stays(prepared: Workspace, tmp_path: Path) -> None:
    outcome = trained(task_of(prepared, tmp_path, epochs=6, max_checkpoints=2), tmp_path)
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2
    assert (tmp_path / f"best-{outcome.best_epoch:06d}.safetensors").exists()


def test_a_damaged_checkpoint_from_farther_on_displaces_no_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer, checkpoints = torch.optim.AdamW(model.parameters()), Checkpoints(tmp_path, keep=1)
    Checkpoints(tmp_path, keep=2).save(model, optimizer, Position(step=100))
    (tmp_path / "checkpoint-000000200.safetensors").write_bytes(b"damaged")

    def restored() -> int:
        position = checkpoints.restore(model, optimizer, lambda _position: True)
        assert position is not None
        return position.step

    assert restored() == 100
    checkpoints.save(model, optimizer, Position(step=150))
    assert restored() == 150
    Checkpoints(tmp_path, keep=2).save(model, optimizer, Position(step=210))
    assert [step_of(path) for path in checkpoint_files(tmp_path)] == [150, 210]

    # One that cannot be read for a while keeps its place, and takes nobody's.
    def unreadable(path: Path) -> Position:
        if step_of(path) == 210:
            raise StorageError("cannot read")
        return read_position(path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "read_position", unreadable)
        assert restored() == 150
        assert checkpoints.save(model, optimizer, Position(step=180)).is_file()
    assert restored() == 210
    checkpoints.clear()
    assert not list(tmp_path.glob("*.safetensors"))


def test_previews_are_pairs_of_sounds_and_a_picture(prepared: Workspace, tmp_path: Path) -> None:
    events: list[Event] = []
    trained(task_of(prepared, tmp_path), tmp_path, events)
    (first, *_) = [event for event in events if isinstance(event, PreviewWritten)]
    assert [path.name for path in first.files] == [
        "epoch-000001-0-original.flac",
        "epoch-000001-0-reconstruction.flac",
        "epoch-000001-0.png",
    ]


@pytest.mark.parametrize(
    ("epochs", "interval", "expected"),
    [
        (3, 20, [1, 2, 3]),
        (20, 20, [4, 8, 12, 16, 20]),
        (20, 3, [3, 6, 9, 12, 15, 18, 20]),
        (100, 50, [20, 40, 60, 80, 100]),
    ],
)
def test_previews_come_as_asked_and_five_times_at_least(epochs: int, interval: int, expected: list[int]) -> None:
    config = VQVAEConfig(epochs=epochs, preview_interval=interval)
    assert [epoch for epoch in range(1, epochs + 1) if has_previews(epoch, config)] == expected


def test_random_states_are_restored() -> None:
    states = random_states("cpu")
    drawn = torch.rand(3)
    restore_random_states(states)
    assert torch.equal(torch.rand(3), drawn)


@settings(max_examples=3)
@given(st.sampled_from(["level_0_utilization", "train_full"]))
def test_a_figure_that_is_not_finite_becomes_null_and_is_named(name: str) -> None:
    from distill.training.loop import named_not_finite

    row, places = named_not_finite({name: float("nan"), "epoch": 1})
    assert row[name] is None
    assert places == [name]


def test_a_prior_made_to_overfit_is_warned_about_and_stopped(tmp_path: Path) -> None:
    workspace = make_workspace(
        tmp_path,
        sounds=6,
        prior={
            "epochs": 200,
            "hidden": 64,
            "layers": 2,
            "dropout": 0.0,
            "learning_rate": 5e-3,
            "augmented_variants": False,
            "perplexity_threshold": 3.0,
            "memorization_patience": 3,
            "checkpoint_interval": 50,
        },
        vqvae={"epochs": 2},
    )
    events: list[Event] = []
    report = run(workspace, "prepare", "configure", "train_vqvae", "train_prior", events=events)
    (warning,) = report["memorization_warnings"]
    assert "threshold 3" in warning
    assert report["epochs"] < 200
    last, best = report["final"], report["best"]
    assert last["train_perplexity"] < 3 <= PriorConfig.model_fields["perplexity_threshold"].default
    assert f"{last['train_perplexity']:.2f}" in warning
    assert f"{last['validation_perplexity']:.2f}" in warning
    assert report["best_epoch"] < report["epochs"]
    assert best["validation_perplexity"] < last["validation_perplexity"]
    assert any(isinstance(event, Warned) and event.kind == "memorization" for event in events)
    assert warning in run(workspace, "check_memorization")["reasons"]
    run(workspace, "train_vocoder", "assemble")
    from distill.artifact.model_file import read_manifest

    manifest = read_manifest(workspace.model("tiny"))
    assert manifest.prior_metadata is not None
    assert manifest.prior_metadata.memorization_warnings == (warning,)


def test_the_history_file_reads_back_exactly(prepared: Workspace) -> None:
    run(prepared, "train_vqvae")
    table = pd.read_csv(prepared.history("train_vqvae"))
    assert list(table["epoch"]) == [1, 2, 3]
    report = json.loads(prepared.report("train_vqvae").read_text())
    assert table["validation_loss"].min() == report["best"]["validation_loss"]
    assert bytes_of(prepared.previews).keys() == {
        f"epoch-{epoch:06d}-0{end}" for epoch in (1, 2, 3) for end in ("-original.flac", "-reconstruction.flac", ".png")
    }
