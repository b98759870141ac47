"""How long a run takes: of the whole of it, from what this machine showed, corrected by what is seen."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_util import Command
from distill.errors import UsageError
from distill.live.events import (
    Event,
    Expected,
    Listeners,
    Progress,
    RolledBack,
    StageFinished,
    StepDone,
    TrainingStarted,
)
from distill.live.status import StatusListener, read_status
from distill.live.stop_request import StopRequest
from distill.params import Params, with_settings
from distill.runs.estimates import estimates
from distill.runs.forecast import Forecast, Outlook
from distill.runs.local import Options, train_folder
from distill.runs.pace import Pace, learn, read_pace
from distill.runs.phase_seconds import PHASES, effort, first_sounds
from distill.runs.plans import BEST, PLANS, SKETCH, plan_named
from distill.stages.planning import planned, sizes_for, sizes_of
from distill.stages.workspace import Workspace
from distill.training.runtime import Runtime, resolve_runtime
from distill.ui.training_state import state_of
from page_util import make_sounds, settings
from pipeline_util import make_workspace, run

CPU = Runtime("cpu", "fp32", 1, 0)
EXPECTED = {"one": 100.0, "two": 200.0, "three": 50.0}


def test_what_is_left_is_that_of_all_phases() -> None:
    forecast = Forecast(EXPECTED)
    assert forecast.left() == pytest.approx(350)
    assert forecast.until("two", 0.5) == pytest.approx(200)
    forecast.advance("one", 0.5, 50.0)
    assert forecast.left() == pytest.approx(300)
    forecast.finish("one", 100.0)
    forecast.finish("two", 200.0)
    assert forecast.until("two", 0.5) == 0
    forecast.finish("three", 50.0)
    assert forecast.left() == 0


@given(st.floats(0.2, 20.0))
def test_a_slower_machine_is_seen_in_the_phases_that_are_still_to_come(times: float) -> None:
    forecast = Forecast(EXPECTED)
    forecast.finish("one", 100.0 * times)
    assert forecast.left() == pytest.approx(250 * times, rel=0.2 + 0.3 / times)
    assert forecast.seen("one") == pytest.approx(100 * times)


def test_what_another_process_did_says_nothing_of_this_one() -> None:
    forecast = Forecast(EXPECTED)
    forecast.begin("one", 1.0)
    forecast.finish("one", 0.1)
    assert forecast.left() == pytest.approx(250, rel=0.02)
    assert forecast.seen("one") is None
    forecast.begin("two", 0.5)
    forecast.advance("two", 0.75, 100.0)
    assert forecast.seen("two") == pytest.approx(400)
    assert 140 < forecast.left() < 200


def test_an_early_end_leaves_nothing_of_a_phase_and_a_step_back_leaves_more() -> None:
    forecast = Forecast(EXPECTED)
    forecast.advance("one", 0.5, 50.0)
    forecast.advance("one", 0.25, 50.0)
    assert forecast.left() > 325
    forecast.finish("one", 60.0)
    assert forecast.left() < 2.5 * 250


def test_the_pace_of_a_machine_is_kept_and_serves_phases_that_were_not_seen(tmp_path: Path) -> None:
    assert read_pace(tmp_path, CPU).of("train_vqvae") == 1
    assert learn(tmp_path, CPU, {"train_vqvae": 3.0}).of("train_vqvae") == 3
    assert learn(tmp_path, CPU, {"train_vqvae": 2.0}).of("train_vqvae") == 2
    assert learn(tmp_path, CPU, {"prepare": 8.0}).of("train_vqvae") == 2
    assert read_pace(tmp_path, CPU).of("train_prior") == pytest.approx(4)
    assert read_pace(tmp_path, Runtime("cpu", "fp32", 2, 0)).factors == {}
    for damaged in (
        "{",
        '{"schema": 1}',
        '{"schema": 1, "machines": {"cpu-fp32-1": {"train_vqvae": 0}}, "processors": {}}',
    ):
        (tmp_path / ".distill" / "pace.json").write_text(damaged)
        assert read_pace(tmp_path, CPU).factors == {}
    assert Pace({"prepare": 2.0}).expected({"prepare": 3.0, "assemble": 1.0}) == {"prepare": 6.0, "assemble": 2.0}


def test_what_other_work_took_from_a_run_is_not_expected_of_the_next(tmp_path: Path) -> None:
    assert learn(tmp_path, CPU, {"train_vqvae": 3.0}, {"train_vqvae": 2.0}).of("train_vqvae") == 3
    # With half of the processors it took twice as long; a quiet machine is as fast as it was.
    busy = learn(tmp_path, CPU, {"train_vqvae": 6.0}, {"train_vqvae": 1.0})
    assert busy.of("train_vqvae") == pytest.approx(3, rel=0.06)
    # A machine that has fewer processors for good is known as such after a while.
    for _ in range(20):
        slower = learn(tmp_path, CPU, {"train_vqvae": 6.0}, {"train_vqvae": 1.0})
    assert slower.of("train_vqvae") == 6


@pytest.mark.parametrize("files", [1, 5, 20, 300])
def test_a_sketch_takes_less_than_the_best_and_both_say_when_there_is_something_to_hear(files: int) -> None:
    totals = {}
    for plan in PLANS.values():
        params = with_settings(Params(), plan.settings)
        sizes = sizes_for([0.4] * files, params)
        chosen = planned(params, sizes)
        expected = effort(params, sizes, chosen)
        assert tuple(expected) == PHASES
        phase, share = first_sounds(chosen)
        assert 0.3 <= share <= 1
        totals[plan.name] = sum(expected.values())
        assert 0 < Forecast(expected).until(phase, share) < totals[plan.name]
    assert totals["sketch"] < totals["best"] * 0.7


def test_plans_are_parameters_and_the_best_changes_none() -> None:
    assert with_settings(Params(), BEST.settings) == Params()
    sketch = with_settings(Params(), SKETCH.settings)
    assert sketch.run.preset == "sketch"
    with pytest.raises(UsageError, match="no plan 'rough'; plans: sketch, best"):
        plan_named("rough")


def test_what_is_expected_before_is_what_is_planned_then(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    run(workspace, "prepare", "configure")
    from distill.dataset.store import PreparedDataset

    dataset, params = PreparedDataset(workspace.prepared), workspace.params()
    exact = planned(params, sizes_of(dataset))
    seconds = dataset.manifest["seconds"].tolist()
    before = planned(params, sizes_for(seconds, params))
    for steps in ("vqvae_steps", "prior_steps"):
        assert getattr(before, steps) == pytest.approx(getattr(exact, steps), rel=0.4)


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_run_tells_how_long_all_of_it_takes(tmp_path: Path) -> None:
    workspace, clock, told = make_workspace(tmp_path), Clock(), []
    run(workspace, "prepare", "configure")
    outlook = Outlook(tmp_path, workspace, PHASES_OF_STAGES, told.append, clock, clock)

    def after(seconds: float, event: Event) -> Expected:
        clock.seconds += seconds
        outlook(event)
        found = told[-1]
        assert isinstance(found, Expected)
        return found

    begun = after(3.0, StageFinished("configure", {}, 1.0))
    assert begun.first is not None
    assert 0 < begun.first < begun.left < begun.total
    after(1.0, TrainingStarted("train_vqvae", 0, 100, 10))
    # A machine that is far slower than was expected.
    slow = after(100.0, StepDone("train_vqvae", 50, 5, {}, 0.001, None))
    assert slow.left > 100 > begun.left
    back = after(1.0, RolledBack("train_vqvae", 50, 10, 0))
    assert back.left > slow.left
    after(100.0, StageFinished("train_vqvae", {}, 200.0))
    after(1.0, Progress("train_prior", 1, 1, "columns of codes"))
    after(1.0, TrainingStarted("train_prior", 0, 10, 1))
    heard = after(10.0, StepDone("train_prior", 10, 10, {}, 0.001, None))
    assert heard.first == 0
    after(1.0, StageFinished("train_prior", {}, 10.0))
    after(1.0, StageFinished("check_memorization", {}, 1.0))
    assert after(1.0, StageFinished("assemble", {}, 1.0)).left == 0
    assert read_pace(tmp_path, resolve_runtime(workspace.params().run)).of("train_vqvae") > 2


PHASES_OF_STAGES = ("prepare", "configure", "train_vqvae", "train_prior", "check_memorization", "assemble")


def test_status_and_listeners_say_the_same_of_a_real_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_sounds(tmp_path / "kit", 6)
    heard: list[Event] = []
    chosen = Options(tmp_path, "tiny", None, False, Listeners([heard.append]), StopRequest())
    outcome = train_folder(tmp_path / "kit", with_settings(Params(), settings()), chosen)
    expected = [event for event in heard if isinstance(event, Expected)]
    assert {event.stage for event in expected} >= {"configure", "train_vqvae", "train_prior", "assemble"}
    assert all(math.isfinite(event.left) and event.left <= event.total for event in expected)
    assert expected[-1].left == 0
    listener = StatusListener(tmp_path)
    listener(TrainingStarted("train_vqvae", 0, 9, 1))
    listener(Expected("train_vqvae", 30.0, 40.0, 20.0))
    listener(StageFinished("train_vqvae", {}, 1.0))
    said = {"left": 30.0, "total": 40.0, "first": 20.0}
    assert (read_status(tmp_path, "train_vqvae") or {})["expected"] == said
    listener(Progress("train_prior", 1, 2, "columns of codes"))
    assert (read_status(tmp_path, "train_prior") or {})["expected"] == said
    listener(Expected("train_prior", 9.0, 40.0, 0.0))
    listener(StageFinished("train_prior", {}, 1.0))
    listener(Expected("train_prior", 8.0, 40.0, 0.0))
    assert (read_status(tmp_path, "train_prior") or {})["expected"]["left"] == 8
    # Of a run that has ended nothing is expected.
    assert state_of(outcome.workspace).expected is None


def test_a_stage_in_a_process_of_its_own_tells_of_the_whole_run(
    tmp_path: Path, distill: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = make_workspace(tmp_path)
    run(workspace, "prepare", "configure")
    learn(tmp_path, resolve_runtime(workspace.params().run), {"train_vqvae": 60.0})
    said = [distill("stage", stage, "-w", str(tmp_path)).err for stage in ("train_vqvae", "train_prior")]
    expected = [(read_status(tmp_path, stage) or {})["expected"] for stage in ("train_vqvae", "train_prior")]
    # What the other stages take is known beforehand; nobody waits for the first sounds.
    for one in expected:
        assert 0 < one["left"] < one["total"]
        assert one["first"] is None
    assert expected[1]["left"] < expected[0]["left"]
    assert all("in all" in text and "hear" not in text and "left out" not in text for text in said)


def test_a_machine_that_nothing_is_known_of_is_measured_once(tmp_path: Path) -> None:
    first = estimates(tmp_path, [0.3] * 5)
    assert 0 < first["sketch"].first < first["sketch"].total < first["best"].total
    noted = (tmp_path / ".distill" / "pace.json").read_bytes()
    assert estimates(tmp_path, [0.3] * 5) == first
    assert (tmp_path / ".distill" / "pace.json").read_bytes() == noted
    # A first training beside other work is known for one: it says nothing else of the machine when that is quiet.
    runtime = resolve_runtime(Params().run)
    before = read_pace(tmp_path, runtime).of("train_prior")
    seen = next(iter(json.loads(noted)["processors"].values()))["train_prior"]
    learned = learn(tmp_path, runtime, {"train_prior": 4 * before}, {"train_prior": seen / 4})
    assert learned.of("train_prior") == pytest.approx(before, rel=0.1)


def test_the_plan_of_a_workspace_reads_its_own_parameters(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, run={"preset": "sketch"}, vqvae={"epochs": "auto"}, prior={"epochs": "auto"})
    run(workspace, "prepare")
    report = run(workspace, "configure")
    assert report["preset"] == "sketch"
    make_workspace(tmp_path, run={"preset": "tuned"}, vqvae={"epochs": "auto"}, prior={"epochs": "auto"})
    again = run(Workspace(tmp_path), "configure")
    steps = [each["prior"]["epochs"] * each["prior"]["steps_per_epoch"] for each in (report, again)]
    assert 0 < 2 * steps[0] < steps[1]
