"""Searching settings: what may be asked, what is suggested, what ends early, and a search that is interrupted."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_util import Command
from distill.errors import ArtifactError, TrainingError, UsageError
from distill.params import listed_settings
from distill.runs.sweep import Search, Settings, Span, require_valid, search_space
from page_util import wait
from pipeline_util import TINY
from project_util import make_project

# Prefect's imports, on this Python.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::pydantic.warnings.PydanticDeprecatedSince20"
)

SETTINGS: Settings = {
    "vqvae.learning_rate": "1e-4..1e-2",
    "vqvae.num_quantizers": "2..4",
    "data.speed_semitones": [[1.0, 2.0], [3.0]],
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What a search needs of a project before it trains."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"schema": 1, **TINY}))
    return tmp_path


def test_ranges_are_typed_beside_values() -> None:
    given = ["vqvae.learning_rate=1e-4..1e-2", "run.seed= 0 .. 3", "data.path=../kit,..", "vqvae.dropout=0.1,.2"]
    assert listed_settings(given) == {
        "vqvae.learning_rate": "1e-4..1e-2",
        "run.seed": "0 .. 3",
        "data.path": ["../kit", ".."],
        "vqvae.dropout": [0.1, 0.2],
    }
    for wrong in ("vqvae.dropout=0..", "vqvae.dropout=..1", "vqvae.dropout=0..1..2", "vqvae.dropout=0..-"):
        with pytest.raises(UsageError, match=r"low\.\.high"):
            listed_settings([wrong])


def test_a_range_is_of_the_kind_of_its_parameter(project: Path) -> None:
    found = search_space(project, {**SETTINGS, "prior.hidden": "64..256", "vqvae.weight_decay": "0..1"})
    assert found == {
        "vqvae.learning_rate": Span(1e-4, 1e-2, None),
        "vqvae.num_quantizers": Span(2, 4, 1),
        "data.speed_semitones": [[1.0, 2.0], [3.0]],
        "prior.hidden": Span(64, 256, 8),
        "vqvae.weight_decay": Span(0, 1, None),
    }
    assert Span(1e-4, 1e-2, None).log
    assert not Span(1e-3, 1e-2, None).log
    assert not Span(0, 100, None).log
    assert not Span(1, 100, 1).log


WRONG: dict[str, tuple[str, ...]] = {
    "must be below": ("vqvae.learning_rate=1e-2..1e-4",),
    "greater than or equal to 0.00001": ("vqvae.learning_rate=1e-9..1e-4",),
    "less than or equal to 4": ("vqvae.dropout=0..0.5", "vqvae.num_quantizers=2,9"),
    "did you mean dropout": ("vqvae.dropot=0..0.5",),
    "did you mean vqvae": ("vqva.dropout=0..0.5",),
    "expected section.key": ("dropout=0..0.5",),
    "no section": ("schema.dropout=0..0.5",),
    "fits numbers only": ("run.device=1..3",),
    "list the values": ("vocoder.enabled=0..1",),
    "whole numbers": ("vqvae.num_quantizers=2.5..4",),
    "multiple of 8": ("prior.hidden=20..64",),
    "lists alone are combined": ("run.seed=0,1", "--trials", "3"),
    "lsd_db": ("vqvae.dropout=0..0.5", "--objective", "loudness"),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_is_asked_wrongly_is_one_line_and_starts_nothing(distill: Command, project: Path, said: str) -> None:
    before = sorted(project.rglob("*"))
    done = distill("sweep", *WRONG[said], "--project", str(project), code=2)
    assert said in done.err
    assert len(done.complaints) == 1
    assert sorted(project.rglob("*")) == before


def test_without_optuna_a_search_says_what_to_install(
    distill: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [each for each in sys.path if "site-packages" not in each])
    monkeypatch.delitem(sys.modules, "optuna", raising=False)
    with pytest.raises(UsageError, match=r"pip install 'distill-audio\[search\]'"):
        require_valid(project, {"vqvae.dropout": "0..0.5"}, None)
    require_valid(project, {"vqvae.dropout": [0.0, 0.5]}, None)


class Searched:
    """The search of a project without trainings: a trial comes to how far its learning rate is from 0.001."""

    def __init__(self, project: Path, **how: Any) -> None:
        self.project, self.search = project, Search(**{"trials": 12, "prune_after": 3, **how})
        self.epochs: list[int] = []

    def run(self, most: int = 100) -> list[dict[str, Any]]:
        """Go on for so many trials, of which the last is left as a killed process would leave it."""
        from flows.study import opened_study

        with opened_study(self.project, SETTINGS, self.search, workers=1) as study:
            while (found := study.next()) is not None:
                trial, overrides = found
                most -= 1
                if most < 0:
                    break
                self._train(study, trial, abs(overrides["vqvae"]["learning_rate"] - 0.001))
            return study.rows()

    def _train(self, study: Any, trial: Any, distance: float) -> None:
        rows = [(epoch, distance + 1 / epoch) for epoch in range(1, 6)]
        for upto in range(1, 6):
            worse = study.worse(trial, rows[:upto], 5)
            if worse is not None:
                self.epochs.append(worse[0])
                study.prune(trial, worse[1], {"epoch": worse[0], "epochs": 5})
                return
        study.complete(trial, distance, {})


def test_the_same_search_suggests_the_same_however_it_is_interrupted(project: Path, tmp_path: Path) -> None:
    whole = Searched(project, seed=3)
    rows = whole.run()
    states = [row["state"] for row in rows]
    assert states == sorted(states, key=["done", "pruned"].index)
    assert set(states) == {"done", "pruned"}
    # Three finished before one may end, and each has a quarter of its epochs.
    assert {row["trial"] for row in rows if row["state"] == "done"} >= {0, 1, 2}
    assert set(whole.epochs) == {2}
    values = [row["value"] for row in rows if row["state"] == "done"]
    assert values == sorted(values)
    assert len({row["settings"] for row in rows}) == 12
    assert all(len(row["settings"].split()[0]) <= len("vqvae.learning_rate=0.0001234") for row in rows)

    assert len(Searched(project, seed=3, fresh=True).run(5)) == 5
    for _ in range(2):
        again = Searched(project, seed=3).run(5)
    assert again == rows
    assert not {row["settings"] for row in Searched(project, seed=4).run(2)} & {row["settings"] for row in rows}


def test_more_trials_go_on_with_a_search_and_equal_settings_are_tried_once(project: Path) -> None:
    from flows.study import opened_study

    settings: Settings = {"vqvae.num_quantizers": "2..4"}
    tried: list[int] = []
    for trials in (2, 15):
        with opened_study(project, settings, Search(trials=trials), workers=1) as study:
            while (found := study.next()) is not None:
                levels = found[1]["vqvae"]["num_quantizers"]
                assert isinstance(levels, int)
                tried.append(levels)
                study.complete(found[0], float(levels), {})
            rows = study.rows()
            shares = study.importances()
    assert sorted(tried) == [2, 3, 4]
    assert len(rows) == 15
    assert rows[0]["settings"] == "vqvae.num_quantizers=2"
    assert shares == {"vqvae.num_quantizers": 1.0}


def test_a_search_runs_once_at_a_time_and_a_damaged_file_is_one_line(project: Path) -> None:
    from flows.study import opened_study

    with opened_study(project, SETTINGS, Search(), workers=1):
        with pytest.raises(TrainingError, match="runs already"), opened_study(project, SETTINGS, Search(), workers=1):
            pass
        # Another objective is another search.
        with opened_study(project, SETTINGS, Search(objective="prior_perplexity"), workers=1):
            pass
    for path in (project / ".distill" / "searches").glob("*.db"):
        path.write_bytes(b"no database" * 1000)
    with pytest.raises(ArtifactError, match="--fresh"), opened_study(project, SETTINGS, Search(), workers=1):
        pass
    with opened_study(project, SETTINGS, Search(fresh=True), workers=1) as study:
        assert study.rows() == []


def test_what_optuna_says_is_a_detail_of_the_projects_logger(
    project: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.study import opened_study

    logger = logging.getLogger("distill")
    # As the command sets it up; each line is seen once.
    monkeypatch.setattr(logger, "propagate", False)
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.DEBUG, "distill"):
        for _ in range(2):
            with opened_study(project, SETTINGS, Search(), workers=1):
                logging.getLogger("optuna").warning("look")
    logger.removeHandler(caplog.handler)
    said = [(each.levelname, each.getMessage()) for each in caplog.records if each.name == "distill.optuna"]
    assert said[0][0] == "DEBUG"
    assert said.count(("WARNING", "look")) == 2


def test_a_server_knows_ranges_and_how_they_are_searched_from_the_schema(project: Path) -> None:
    import jsonschema
    from prefect.utilities.callables import parameter_schema

    from flows.sweep import sweep

    schema = parameter_schema(sweep.fn).model_dump_for_openapi()
    right = {"settings": {"vqvae.learning_rate": "1e-4..1e-2", "run.seed": [0, 1]}}
    jsonschema.validate(right, schema)
    jsonschema.validate({**right, "search": {"trials": 3, "objective": "prior_perplexity"}}, schema)
    for wrong in (
        {"settings": {"run.seed": "0.."}},
        {"settings": {"run.seed": []}},
        {**right, "search": {"trials": 0}},
        {**right, "search": {"objective": "loudness"}},
        {**right, "search": {"trails": 3}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", vqvae={"epochs": 8, "steps_per_epoch": 2}, memorization={"sounds": 1})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_that_is_interrupted_goes_on_and_ends_a_worse_trial_early(small: Path) -> None:
    asked = ["sweep", "vqvae.learning_rate=1e-5..1e-2", "--trials", "2", "--prune-after", "1", "--json"]
    command = [sys.executable, "-m", "distill", *asked]
    environment = {**os.environ, "PYTHONPATH": str(small), "DISTILL_TRACKING": "on"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def start() -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        # A group of its own, which is interrupted as a terminal does it.
        return subprocess.Popen(
            command, cwd=small, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    with start() as first:
        wait(lambda: list(small.glob("runs/*/.distill/status/train_vqvae.jsonl")), 200)
        os.killpg(first.pid, signal.SIGINT)
        begun = time.monotonic()
        _, said = first.communicate(timeout=100)
        assert first.returncode == 3, said
        assert time.monotonic() - begun < 60
        assert "run the same command to resume" in said
    with start() as second:
        shown, said = second.communicate(timeout=300)
        assert second.returncode == 0, said
    found = json.loads(shown)
    done, pruned = found["runs"]
    assert (done["trial"], done["state"], pruned["trial"], pruned["state"]) == (0, "done", 1, "pruned")
    assert 2 <= pruned["epoch"] < pruned["epochs"] == 8
    assert found["best"]["settings"] == done["settings"]
    assert f"--set={done['settings']}" in found["best"]["command"]
    # One run a trial: the interrupted one was gone on with.
    roots = {path.parent.parent: path for path in small.glob("runs/*/.distill/run.json")}
    assert len(roots) == 2
    (ended,) = (root for root in roots if str(root) != done["workspace"])
    assert not (ended / "reports" / "train_vqvae.json").exists()

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{small / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'distill'")
    runs = client.search_runs([experiment.experiment_id])
    tags = {run.data.tags["distill.trial"]: (run.data.tags["distill.trial.state"], run.info.status) for run in runs}
    assert tags == {"0": ("done", "FINISHED"), "1": ("pruned", "KILLED")}
