"""`dvc repro` as people use it: builds, does nothing the second time, runs what changed, goes back in time."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from command_util import Command
from distill.live.journal import EMPTY
from distill.stages.figures import FIGURES
from distill.stages.pipeline import STAGES
from distill.stages.versions import CODE_VERSIONS
from distill.stages.workspace import Workspace
from pipeline_util import bytes_of, run
from project_util import PROJECT, call, commit, git
from sounds_util import folder_of_tones, save, tone

SCREEN_COLUMNS = 120
JOURNALS = ("journal/train_vqvae.jsonl", "journal/train_prior.jsonl")
OUTPUTS = ("prepared/", "config/", "trained/", "previews/", "plots/", "history/", "reports/", "metrics/", "models/")


def dvc(*arguments: str, cwd: Path, code: int = 0) -> str:
    done = call(cwd, "dvc", *arguments, code=code, DISTILL_TRACKING="off")
    return done.stdout + done.stderr


# What is only read is read in one process, which would otherwise import for longer than it reads.
EACH = """
import json, sys
from dvc.cli import main
for arguments in json.loads(sys.argv[1]):
    assert main(arguments) == 0, arguments
    print("====", flush=True)
"""


def each_dvc(*commands: list[str], cwd: Path) -> list[str]:
    """What each of some commands says."""
    return call(cwd, sys.executable, "-c", EACH, json.dumps(commands)).stdout.split("====\n")[:-1]


def set_param(project: Path, section: str, key: str, value: object) -> None:
    values = yaml.safe_load((project / "params.yaml").read_text())
    values[section][key] = value
    (project / "params.yaml").write_text(yaml.safe_dump(values))


def ran(output: str) -> list[str]:
    return [stage for stage in STAGES if f"Running stage '{stage}'" in output]


@pytest.fixture(scope="module")
def project(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its results, committed."""
    project = shutil.copytree(published, tmp_path_factory.mktemp("dvc") / "project", symlinks=True)
    commit(project, "built")
    return project


def test_a_project_has_the_bytes_that_the_stages_write_elsewhere(project: Path, tmp_path: Path) -> None:
    for name in ("sounds", "journal"):
        shutil.copytree(project / name, tmp_path / name)
    shutil.copy(project / "params.yaml", tmp_path)
    run(Workspace(tmp_path), *STAGES)
    here, elsewhere = (
        {name: data for name, data in bytes_of(folder).items() if name.startswith(OUTPUTS)}
        for folder in (project, tmp_path)
    )
    assert here.keys() == elsewhere.keys()
    assert [name for name in here if here[name] != elsewhere[name]] == []


def test_a_changed_prior_parameter_runs_the_prior_and_what_follows(project: Path, tmp_path: Path) -> None:
    clone = tmp_path / "changed"
    shutil.copytree(project, clone, symlinks=True)
    set_param(clone, "prior", "epochs", 2)
    assert "prior.epochs" in dvc("params", "diff", cwd=clone)
    said = dvc("repro", cwd=clone)
    assert ran(said) == ["configure", "train_prior", "check_memorization", "assemble"]
    assert "WARNING" not in said
    assert ran(dvc("repro", cwd=clone)) == []
    plots = ["plots", "show", "-o", "plots_page"]
    metrics = (["metrics", "show", "--json"], ["metrics", "show"], ["metrics", "diff"])
    shown, table, compared, _ = each_dvc(*metrics, plots, cwd=clone)
    figures = {path: each["data"] for path, each in json.loads(shown)[""]["data"].items()}
    report = json.loads((clone / "reports" / "train_prior.json").read_text())
    assert report["epochs"] == 2
    assert figures["metrics/train_prior.json"] == {"perplexity": report["best"]["validation_perplexity"]}
    assert set(figures) == {f"metrics/{stage}.json" for stage in FIGURES}
    assert max(map(len, table.splitlines())) <= SCREEN_COLUMNS
    assert "train_prior.json" in compared
    page = (clone / "plots_page" / "index.html").read_text()
    assert "validation_perplexity" in page


def test_a_dataset_is_versioned_and_can_go_back(
    project: Path, tmp_path: Path, distill: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "versions"
    shutil.copytree(project, clone, symlinks=True)
    monkeypatch.chdir(clone)
    folder_of_tones(tmp_path / "bells", 5)
    add = ["dataset", "add", str(tmp_path / "bells"), "--json", "-q"]
    assert json.loads(distill(*add).out)["path"] == "data/bells"
    assert yaml.safe_load((clone / "params.yaml").read_text())["data"]["path"] == "data/bells"
    commit(clone, "five")
    assert "prepare" in ran(dvc("repro", "prepare", cwd=clone))
    five = json.loads((clone / "prepared" / "summary.json").read_text())
    commit(clone, "prepared")

    save(tmp_path / "bells" / "one more.wav", tone(0.5, 900))
    distill(*add)
    dvc("repro", "prepare", cwd=clone)
    six = json.loads((clone / "prepared" / "summary.json").read_text())
    assert (five["usable"], six["usable"]) == (5, 6)
    commit(clone, "six")

    git(clone, "checkout", "-q", "HEAD~1")
    dvc("checkout", cwd=clone)
    assert len(list((clone / "data" / "bells").iterdir())) == 5
    assert json.loads((clone / "prepared" / "summary.json").read_text()) == five
    assert ran(dvc("repro", "prepare", cwd=clone)) == []


@pytest.mark.slow
def test_a_folder_as_remote_brings_everything_to_another_clone(project: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(project, here, symlinks=True)
    dvc("remote", "add", "-d", "team", str(tmp_path / "remote"), cwd=here)
    git(here, "commit", "-qam", "remote")
    dvc("push", cwd=here)
    git(tmp_path, "clone", "-q", str(here), str(there))
    dvc("pull", cwd=there)
    assert "up to date" in dvc("status", cwd=there)
    assert ran(dvc("repro", cwd=there)) == []
    assert (there / "models" / "tiny.distill").read_bytes() == (here / "models" / "tiny.distill").read_bytes()


def test_a_failing_stage_leaves_the_last_good_lock(project: Path, tmp_path: Path) -> None:
    clone = tmp_path / "failing"
    shutil.copytree(project, clone, symlinks=True)
    before = (clone / "dvc.lock").read_bytes()
    set_param(clone, "vqvae", "dropot", 0.1)
    said = dvc("repro", cwd=clone, code=255)
    assert "did you mean dropout?" in said
    assert "Traceback" not in said
    assert (clone / "dvc.lock").read_bytes() == before


def test_dvc_yaml_asks_for_the_code_that_is_there() -> None:
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    commands = {name: f"distill stage {name} --code {CODE_VERSIONS[name]}" for name in STAGES}
    assert {name: stage["cmd"] for name, stage in stages.items()} == commands


def test_the_projects_own_parameters_leave_nothing_to_the_machine() -> None:
    run = yaml.safe_load((PROJECT / "params.yaml").read_text())["run"]
    assert "auto" not in (run["device"], run["precision"], run["threads"])
    assert [(PROJECT / name).read_bytes() for name in JOURNALS] == [EMPTY, EMPTY]
