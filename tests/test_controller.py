"""The controller as a pure function, and what its settings do to a training."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.configs import LiveConfig
from distill.live.controller import Measurement, Mode, State, get_plateau_info, observe, shifted, threshold
from distill.live.events import Listeners, PlateauSeen
from distill.live.folder import RunFolder
from distill.live.stop_request import StopRequest
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from distill.training.vqvae import VQVAETask
from pipeline_util import bytes_of, make_workspace, run
from steering_util import at_steps, edit, journal_of

STAGE = "train_vqvae"
WEIGHTS = {"weight_full": 0.5, "weight_half": 0.3, "weight_quarter": 0.2, "weight_l1": 0.0}
LIVE = LiveConfig(plateau_patience=3, plateau_safety_threshold=10, cooldown_duration=2)
ACTING = LIVE.model_copy(update={"controller": True})


def after(values: list[float], live: LiveConfig = LIVE, **more: Any) -> State:
    state = State()
    for value in values:
        state, _ = observe(state, Measurement(value, value, **more), live, WEIGHTS)
    return state


def test_the_threshold_falls_in_steps_with_the_loss() -> None:
    base = State(first_loss=1.0, best_loss=0.01)
    found = [threshold(replace(base, smoothed_loss=share)) for share in (1.2, 0.9, 0.6, 0.4, 0.1)]
    assert found == [0.005, 0.005, 0.004, 0.003, 0.002]
    assert threshold(replace(base, best_loss=0.099, smoothed_loss=0.1)) == 0.001
    assert threshold(State()) == 0.005


def test_a_flat_loss_is_a_plateau_after_the_patience_that_is_configured() -> None:
    for patience in (1, 3, 7):
        live = LIVE.model_copy(update={"plateau_patience": patience})
        counts = [get_plateau_info(after([1.0] * count, live), live)["is_plateau"] for count in range(1, patience + 3)]
        assert counts.index(True) == patience


@pytest.mark.parametrize("which", ["loss", "quality", "trend"])
def test_any_of_loss_quality_and_trend_resets(which: str) -> None:
    state = State(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, counter=2)
    if which == "trend":
        # The mean is still above the best raw loss, and falls.
        state = replace(state, best_loss=0.5, best_quality=0.5, smoothed_loss=1.0, best_smoothed=1.0)
    seen = Measurement(0.9 if which != "quality" else 1.0, 0.9 if which == "quality" else 1.0)
    assert observe(state, seen, LIVE, WEIGHTS)[0].counter == 0


def test_an_improvement_too_small_lets_the_counter_sink_by_half() -> None:
    state = State(1.0, 1.0, 1.0, 0.5, 1.0, 1.0, counter=7)
    # 0.5 % would count.
    for loss in (0.999, 0.997, 0.9955):
        assert observe(state, Measurement(loss, 1.0), LIVE, WEIGHTS)[0].counter == 3
    assert observe(state, Measurement(0.99, 1.0), LIVE, WEIGHTS)[0].counter == 0
    assert observe(state, Measurement(1.0, 1.0), LIVE, WEIGHTS)[0].counter == 8
    assert observe(state, Measurement(1.001, 1.0), LIVE, WEIGHTS)[0].counter == 8


def test_counting_starts_anew_for_safety() -> None:
    state = after([1.0] * 10)
    assert state.counter == 9
    assert get_plateau_info(state, LIVE)["until_reset"] == 1
    assert after([1.0] * 11).counter == 0


def test_a_measurement_that_is_not_finite_changes_nothing() -> None:
    state = after([1.0, 0.9])
    assert observe(state, Measurement(float("nan"), 1.0), LIVE, WEIGHTS)[0] == state


def test_nothing_is_done_unless_it_is_switched_on() -> None:
    state = after([1.0] * 9, high_frequencies=0.1)
    assert state.boost == 1.0
    assert state.mode == Mode.AGGRESSIVE


def test_a_plateau_is_acted_on_once_and_then_cooled_down() -> None:
    state, boosts, changes, modes = State(), [], [], []
    for _ in range(7):
        state, actions = observe(state, Measurement(1.0, 1.0, high_frequencies=0.5), ACTING, WEIGHTS)
        boosts.append(actions.boosted)
        changes.append(actions.changes)
        modes.append(state.mode)
    assert boosts == [False] * 3 + [True] + [False] * 2 + [True]
    assert changes[3] == {"weight_full": 0.51, "weight_quarter": 0.19}
    assert modes[3:6] == [Mode.AGGRESSIVE, Mode.COOLDOWN, Mode.STABLE]
    bright, actions = State(), None
    for _ in range(4):
        bright, actions = observe(bright, Measurement(1.0, 1.0, high_frequencies=1.0), ACTING, WEIGHTS)
    assert actions is not None
    assert actions.boosted
    assert actions.changes == {}


def test_a_boost_fades_to_exactly_one() -> None:
    state = replace(after([1.0]), boost=1.5)
    boosts = []
    for _ in range(30):
        state, _ = observe(state, Measurement(1.0, 1.0), LIVE, WEIGHTS)
        boosts.append(state.boost)
    assert boosts == sorted(boosts, reverse=True)
    assert boosts[2] == pytest.approx(1.25)
    assert boosts[-1] == 1.0


def test_nothing_happens_while_the_rate_rises() -> None:
    assert after([1.0] * 9, ACTING, warming_up=True).boost == 1.0
    assert after([1.0] * 9, ACTING, warming_up=True).mode == Mode.WARM_UP


@given(st.lists(st.floats(0, 0.9), min_size=4, max_size=4).filter(lambda each: sum(each) > 0))
def test_a_shift_keeps_sum_and_bounds(values: list[float]) -> None:
    weights = dict(zip(WEIGHTS, values, strict=True))
    changed = {**weights, **shifted(weights)}
    assert sum(changed.values()) == pytest.approx(sum(values), abs=2e-6)
    assert all(-1e-6 <= value <= 0.9 + 1e-6 for value in changed.values())
    assert all(abs(changed[name] - weights[name]) <= 0.01 + 1e-6 for name in weights)


@given(st.lists(st.floats(1e-3, 10), max_size=30), st.booleans())
def test_the_state_goes_through_json_and_the_same_measurements_give_the_same(values: list[float], acts: bool) -> None:
    live = ACTING if acts else LIVE
    state = after(values, live)
    assert State.restored(state.values()) == state == after(values, live)
    assert 1.0 <= state.boost <= 1.5
    assert 0 <= state.counter < live.plateau_safety_threshold


def test_its_settings_change_a_training_that_is_repeated_from_its_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The held-out figures stand still and are dull, so that every evaluation after the first counts."""
    inner = VQVAETask.evaluate
    still = {"validation_loss": 1.0, "quality": 1.0, "high_frequencies": 0.5}
    monkeypatch.setattr(VQVAETask, "evaluate", lambda self: replace(inner(self), **still))
    little = {"epochs": 8, "preview_interval": 100, "augmentation_expansion": 1, "checkpoint_interval": 100}
    prepared = make_workspace(tmp_path / "prepared", vqvae=little)
    run(prepared, "prepare", "configure")

    def trained(name: str, acts: dict[int, Any]) -> tuple[Workspace, list[Any]]:
        copy = Workspace(tmp_path / name)
        shutil.copytree(prepared.root, copy.root)
        seen: list[Any] = []
        run_stage(STAGE, Call(copy, Listeners([at_steps(STAGE, acts), seen.append]), StopRequest()))
        return copy, [event.info for event in seen if isinstance(event, PlateauSeen)]

    fast = {"controller": True, "plateau_patience": 1, "plateau_safety_threshold": 5, "cooldown_duration": 1}
    histories, changed = {}, {}
    for name, change in {
        "off": {"controller": False},
        "on": {},
        "patience": {"plateau_patience": 3},
        "cooldown": {"cooldown_duration": 3},
    }.items():
        folder = RunFolder(tmp_path / name, STAGE)
        settings = {**fast, **change}
        copy, infos = trained(name, {1: lambda folder=folder, settings=settings: edit(folder, **settings)})  # type: ignore[misc]
        assert len(infos) == 8
        histories[name] = copy.history(STAGE).read_bytes()
        changed[name] = [entry for entry in journal_of(copy, STAGE) if entry["who"] == "controller"]
    assert len(set(histories.values())) == 4
    assert changed["off"] == []
    assert len(changed["on"]) > len(changed["patience"]) >= len(changed["cooldown"]) - 1 > 0
    again = Workspace(tmp_path / "again")
    shutil.copytree(prepared.root, again.root)
    again.journal(STAGE).parent.mkdir()
    shutil.copy(tmp_path / "on" / "journal" / f"{STAGE}.jsonl", again.journal(STAGE))
    run(again, STAGE)
    assert bytes_of(again.root) == bytes_of(tmp_path / "on")
