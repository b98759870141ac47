"""`distill check` and the stage on a model that memorized: the same verdict, where it is written, what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from distill.artifact.architecture import PriorArchitecture
from distill.artifact.model_file import read_model, write_model
from distill.artifact.prior_file import read_prior, write_prior
from distill.cli.main import app
from distill.codec.load import build_networks
from distill.configs import PriorConfig
from distill.dataset.store import PreparedDataset
from distill.errors import ArtifactError, DataError, DistillError, Interrupted, UsageError
from distill.generation.generator import Generator, generate
from distill.library.model_check import check
from distill.live.events import Event, Listeners, Progress
from distill.live.stop_request import StopRequest
from distill.memorization.of_model import CheckSettings, findings_of
from distill.models.sequences import collate
from distill.registry.promotion import Refused, promote
from distill.registry.registration import register
from distill.stages import check_memorization
from distill.stages.workspace import Call, Workspace
from distill.training.codes_file import prior_codes
from distill.training.prior import PriorTask
from distill.training.runtime import Runtime
from pipeline_util import make_workspace, run
from registry_util import model_file

# MLflow uses what SQLAlchemy will remove.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def memorized(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished workspace, and a project, whose prior knows its training sounds by heart."""
    root = tmp_path_factory.mktemp("memorized")
    (root / ".dvc").mkdir()
    workspace = make_workspace(
        root,
        sounds=12,
        data={"speed_semitones": [], "validation_fraction": 0.4},
        vqvae={"epochs": 12, "codebook_size": 32, "augmentation_strength": 0.0, "checkpoint_interval": 100},
        prior={"epochs": 1},
        memorization={"sounds": 8, "temperature": 0.3},
    )
    run(workspace, "prepare", "configure", "train_vqvae", "train_prior")
    _learn_by_heart(workspace)
    run(workspace, "check_memorization", "train_vocoder", "assemble")
    return workspace


def _learn_by_heart(workspace: Workspace) -> None:
    """Replace the prior by one that was trained for long on the training sounds, without a look at held-out ones."""
    model = read_model(workspace.vqvae)
    vqvae = build_networks(model, workspace.vqvae).vqvae
    config = PriorConfig(hidden=64, layers=2, heads=4, dropout=0.0, context=512, batch_size=16)
    runtime = Runtime("cpu", "fp32", 1, 0)
    torch.manual_seed(0)
    codes = prior_codes(
        PreparedDataset(workspace.prepared), vqvae, config, runtime, workspace.root / "codes", digest=model.digest
    )
    task = PriorTask(codes, vqvae, config, runtime)
    sounds = [codes.training(position) for position in range(len(codes.train))]
    windows = [window for sound in sounds for window in sound.windows(task.model.context_columns)]
    batch = collate(windows, codebook_size=task.codebook_size)
    optimizer = torch.optim.Adam(task.model.parameters(), 3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        task.loss(batch).total.backward()
        optimizer.step()
    known = read_prior(workspace.prior, vqvae_digest=model.digest)
    shape = {name: getattr(config, name) for name in ("hidden", "layers", "heads", "dropout", "context")}
    architecture = PriorArchitecture.model_validate({**known.config.model_dump(), **shape})
    write_prior(workspace.prior, replace(known, config=architecture, state=task.model.state_dict()))


def test_the_check_hears_the_sounds_that_a_user_hears(memorized: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, dataset = (
        CheckSettings(sounds=6, seconds=0.8, temperature=1.0, seed=3),
        PreparedDataset(memorized.prepared),
    )
    generator = Generator.load(memorized.model("tiny"))
    [first] = generate(generator, seconds=settings.seconds, seed=settings.seed, natural=True)
    # One that cannot be heard is passed over for both.
    monkeypatch.setattr(
        "distill.generation.generator.is_audible", lambda codec, grid: not np.array_equal(grid, first.grid)
    )
    findings = findings_of(generator, dataset, settings)
    made = generate(generator, count=6, seconds=settings.seconds, seed=settings.seed, natural=True)
    assert not np.array_equal(made[0].grid, first.grid)
    compared = [each.sound.grid for each in findings.generated]
    assert all(np.array_equal(one.grid, grid) for one, grid in zip(made, compared, strict=True))


def told(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_a_prior_that_knows_its_sounds_by_heart_fails(memorized: Workspace) -> None:
    report = json.loads(memorized.report("check_memorization").read_text())
    assert report["verdict"] == "fail"
    assert report["evidence"]["flagged"] == list(range(8))
    assert memorized.page("check_memorization").read_text().count("<audio") == 16


@pytest.mark.parametrize("done", [0, 4, 10, 25])
def test_the_stage_can_be_stopped_while_it_generates_searches_and_compares(memorized: Workspace, done: int) -> None:
    stop, told = StopRequest(), list[int]()

    def listen(event: Event) -> None:
        if isinstance(event, Progress):
            told.append(event.done)
            if event.done >= done:
                stop.ask()

    with pytest.raises(Interrupted):
        check_memorization.run(Call(memorized, Listeners([listen]), stop))
    assert told[-1] == done


def test_the_command_says_what_the_stage_said(memorized: Workspace) -> None:
    model = memorized.model("tiny")
    result = told(model, "--project", memorized.root, "--json")
    assert result.exit_code == 0
    values = json.loads(result.stdout)
    report = json.loads(memorized.report("check_memorization").read_text())
    assert {key: values[key] for key in ("verdict", "reasons", "evidence")} == {
        key: report[key] for key in ("verdict", "reasons", "evidence")
    }
    folder = model.with_name("tiny-check")
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json"]
    assert json.loads((folder / "report.json").read_text())["settings"] == {
        "sounds": 8,
        "seconds": 0.5,
        "temperature": 0.3,
        "seed": 0,
    }


def test_other_sounds_can_be_asked_for_and_a_failure_can_end_with_code_1(memorized: Workspace, tmp_path: Path) -> None:
    model = memorized.model("tiny")
    result = told(model, "--project", memorized.root, "-n", 4, "-o", tmp_path / "out", "--seed", 50, "--strict")
    assert result.exit_code == 1
    assert result.stdout.startswith("fail\n- 4 of 4 generated sounds may be copies")
    assert result.stdout.endswith("report.html\n")
    assert json.loads((tmp_path / "out" / "report.json").read_text())["settings"]["seed"] == 50


def test_a_report_that_cannot_be_written_is_told_before_the_work(memorized: Workspace, tmp_path: Path) -> None:
    model = tmp_path / "tiny.distill"
    shutil.copy(memorized.model("tiny"), model)
    (tmp_path / "tiny-check").write_text("mine")
    with pytest.raises(UsageError, match="tiny-check is a file: name a folder"):
        check(str(model), memorized.root, tell=lambda *_: pytest.fail("it works"))
    assert (tmp_path / "tiny-check").read_text() == "mine"


def test_a_registered_model_is_checked_in_its_project_and_not_promoted(memorized: Workspace) -> None:
    version = register(memorized.model("tiny"), memorized.root)
    found = check(version.reference, memorized.root, settings={"sounds": 2})
    assert found.page == memorized.root / "models" / "tiny-1-check" / "report.html"
    assert found.page.is_file()
    with pytest.raises(Refused, match="memorized"):
        promote(version.reference, memorized.root)


def test_the_sounds_are_found_in_runs_or_where_they_are_said_to_be(memorized: Workspace, tmp_path: Path) -> None:
    model = tmp_path / "elsewhere.distill"
    shutil.copyfile(memorized.model("tiny"), model)
    with pytest.raises(DataError, match=r"are not in .*--workspace"):
        check(str(model), tmp_path)
    with pytest.raises(DataError, match="are not in"):
        check(str(model), memorized.root, workspace=tmp_path)
    shutil.copytree(memorized.prepared, tmp_path / "runs" / "tiny-1" / "prepared")
    (tmp_path / "runs" / "broken" / "prepared").mkdir(parents=True)
    (tmp_path / "runs" / "broken" / "prepared" / "summary.json").write_text("{")
    for workspace in (None, memorized.root, memorized.prepared):
        assert check(str(model), tmp_path, workspace=workspace, settings={"sounds": 1}).report.is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-n", 0], "sounds"),
        (["-d", -1], "seconds"),
        (["-d", 1e9], "seconds"),
        (["--temperature", -1], "temperature"),
        (["--seed", -1], "--seed -1"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_settings_out_of_range_are_refused(memorized: Workspace, arguments: list[object], said: str) -> None:
    result = told(memorized.model("tiny"), "--project", memorized.root, *arguments)
    assert isinstance(result.exception, UsageError)
    assert said in str(result.exception)


def test_models_that_cannot_be_checked_are_refused(memorized: Workspace, tmp_path: Path) -> None:
    bare = model_file(tmp_path / "bare.distill", with_prior=False)
    for model, said in ((bare, "no prior"), (tmp_path / "missing.distill", "does not exist")):
        with pytest.raises(DistillError, match=said):
            check(str(model), memorized.root)


@pytest.mark.parametrize("network", ["vqvae", "prior"])
def test_weights_that_are_no_numbers_are_refused(memorized: Workspace, tmp_path: Path, network: str) -> None:
    model = read_model(memorized.model("tiny"))
    states = {"vqvae": dict(model.vqvae_state), "prior": dict(model.prior_state or {})}
    states[network] = {
        name: torch.full_like(value, torch.nan) if value.is_floating_point() else value
        for name, value in states[network].items()
    }
    write_model(tmp_path / "broken.distill", model.manifest, states["vqvae"], states["prior"])
    with pytest.raises(ArtifactError, match="not finite"):
        check(str(tmp_path / "broken.distill"), memorized.root)


def test_a_process_of_any_arithmetic_checks_a_model(
    memorized: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("distill.training.runtime", "distill.library.model_check"):
        monkeypatch.setattr(f"{module}.in_force", lambda: "portable")
    assert check(str(memorized.model("tiny")), memorized.root, output=tmp_path, settings={"sounds": 1}).report.is_file()


def test_the_device_may_be_left_to_the_machine(memorized: Workspace, tmp_path: Path) -> None:
    model = str(memorized.model("tiny"))
    checked = check(model, memorized.root, output=tmp_path, settings={"sounds": 1}, device="auto")
    assert checked.report.is_file()
