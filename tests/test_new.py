"""`distill new`: a project from the installed package alone, and a newer version of its files."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

import distill
from command_util import Command
from distill.errors import ArtifactError, DataError, StorageError, UsageError
from distill.library import new
from distill.library.new import CI_SOUNDS, STATE, new_project, update_project
from distill.params import read_params
from distill.projects import template
from distill.stages.pipeline import STAGES
from distill.versions.git import git
from installed_util import REPOSITORY, build_wheel, call_installed, install, installed_environment
from pipeline_util import TINY
from project_util import commit
from sounds_util import folder_of_tones

SETTINGS = {name: dict(section) for name, section in TINY.items() if name not in ("data", "model")}


@pytest.fixture(autouse=True)
def _git_knows_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    return folder_of_tones(tmp_path / "my tones", 16)


def test_a_project_is_complete_and_committed(tmp_path: Path, tones: Path) -> None:
    made = new_project(tmp_path / "bells", sounds=tones, ci=True)
    assert made == new.NewProject(tmp_path / "bells", "bells", 16)
    root = made.folder
    for name in ("dvc.yaml", "prefect.yaml", "prefect.toml", ".gitignore", "flows/train.py"):
        assert (root / name).read_bytes() == (REPOSITORY / name).read_bytes()
    params = read_params(root / "params.yaml")
    assert (params.model.name, params.data.path) == ("bells", "data/my-tones")
    assert "# portable: the same bytes" in (root / "params.yaml").read_text()
    assert git(root, "status", "--porcelain") == ""
    tracked = git(root, "ls-files").splitlines()
    assert "data/my-tones.dvc" in tracked
    assert not any(path.startswith("data/my-tones/") for path in tracked)
    assert len([path for path in tracked if path.startswith("ci/sounds/")]) == CI_SOUNDS
    assert os.access(root / "ci" / "train.sh", os.X_OK)
    assert f"distill-audio=={distill.__version__}\n" == (root / "requirements.txt").read_text()
    workflow = yaml.safe_load((root / ".github" / "workflows" / "distill.yml").read_text())
    assert [step["run"] for step in workflow["jobs"]["train"]["steps"] if step.get("name") == "Train"] == [
        "ci/train.sh"
    ]


@pytest.mark.parametrize("there", ["file", "full", "link"])
def test_what_is_there_stays(tmp_path: Path, there: str) -> None:
    folder = tmp_path / "bells"
    if there == "full":
        folder.mkdir()
        (folder / "note").write_text("mine")
    elif there == "file":
        folder.write_text("mine")
    else:
        folder.symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StorageError, match="exists: name a new folder"):
        new_project(folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_left_of_what_fails(tmp_path: Path) -> None:
    silent = tmp_path / "no sounds"
    silent.mkdir()
    (silent / "readme.txt").write_text("none")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="no usable sound"):
        new_project(tmp_path / "bells", sounds=silent)
    with pytest.raises(DataError, match="no such"):
        new_project(tmp_path / "bells", sounds=tmp_path / "gone")
    with pytest.raises(UsageError, match="--sounds"):
        new_project(tmp_path / "bells", ci=True)
    with pytest.raises(DataError):
        new_project(tmp_path / "far" / "away" / "bells", sounds=silent)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError):
        new_project(empty, sounds=silent)
    empty.rmdir()
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_stays_empty_where_a_file_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rename, moved = tmp_path / "bells", Path.rename, list[Path]()
    folder.mkdir()

    def fails_later(path: Path, target: Path) -> Path:
        if target.parent == folder:
            if {each.is_dir() for each in moved} == {True, False}:
                raise OSError(5, "Input/output error")
            moved.append(target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails_later)
    with pytest.raises(StorageError, match="Input/output error"):
        new_project(folder)
    assert list(folder.iterdir()) == []


def test_an_update_merges_what_both_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = new_project(tmp_path / "bells").folder
    mine = (root / "prefect.yaml").read_text().replace("limit: 1", "limit: 3")
    (root / "prefect.yaml").write_text(mine)
    (root / ".gitignore").write_text("/mine/\n")
    (root / "flows" / "sweep.py").unlink()
    own = (root / "flows" / "search.py").read_text() + "# mine\n"
    (root / "flows" / "search.py").write_text(own)
    commit(root, "Change")
    ours = template.template_files(ci=False)
    newer = {
        **ours,
        "prefect.yaml": ours["prefect.yaml"].replace(b"name: distill\n", b"name: newer\n", 1),
        "dvc.yaml": ours["dvc.yaml"] + b"# newer\n",
        ".gitignore": b"/newer/\n",
        "flows/more.py": b'"""More."""\n',
    }
    del newer["flows/follow.py"], newer["flows/search.py"]
    monkeypatch.setattr(new, "template_files", lambda ci: newer)
    monkeypatch.setattr(new, "__version__", "9.9.9")
    done = update_project(root)
    assert (done.before, done.after, done.conflicts) == (distill.__version__, "9.9.9", (".gitignore",))
    assert set(done.changed) == {
        STATE, ".gitignore", "dvc.yaml", "flows/follow.py", "flows/more.py", "prefect.yaml"
    }  # fmt: skip
    assert "limit: 3" in (root / "prefect.yaml").read_text()
    assert "name: newer" in (root / "prefect.yaml").read_text()
    assert "+# newer" in done.difference
    assert not (root / "flows" / "follow.py").exists()
    assert (root / "flows" / "search.py").read_text() == own
    assert not (root / "flows" / "sweep.py").exists()
    assert "<<<<<<< yours" in (root / ".gitignore").read_text()
    with pytest.raises(UsageError, match="uncommitted changes"):
        update_project(root)
    git(root, "checkout", "--", ".gitignore")
    (root / ".gitignore").write_text("/mine/\n/newer/\n")
    commit(root, "Update")
    assert update_project(root).changed == ()


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_an_empty_folder_is_filled_and_stays_the_same_folder(kind: str, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    folder = tmp_path / "disk"
    if kind == "link":
        folder = tmp_path / "link"
        folder.symlink_to("disk")
    before = (tmp_path / "disk").stat().st_ino
    assert new_project(folder).folder == folder
    assert (tmp_path / "disk").stat().st_ino == before
    assert git(folder, "status", "--porcelain") == ""
    assert not list(folder.glob(".distill-new-*"))


def test_neither_another_repository_nor_its_hooks_are_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    hook = tmp_path / "hooks" / "pre-commit"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"[core]\n    hooksPath = {hook.parent}\n[commit]\n    gpgsign = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    root = new_project(tmp_path / "bells").folder
    monkeypatch.delenv("GIT_DIR")
    assert git(root, "log", "--format=%s").strip() == "Begin the project bells"
    with pytest.raises(StorageError):
        git(other, "log")


@pytest.mark.parametrize("path", ["../victim", "/tmp/victim", "inner/login.py"])
def test_an_update_changes_nothing_outside_of_the_project(path: str, tmp_path: Path) -> None:
    root = new_project(tmp_path / "bells").folder
    (tmp_path / "victim").write_text("victim")
    (tmp_path / "shared").mkdir()
    (root / "inner").symlink_to(tmp_path / "shared")
    state = json.loads((root / STATE).read_text())
    state["files"][path] = "victim"
    (root / STATE).write_text(json.dumps(state))
    commit(root, "Change")
    with pytest.raises(UsageError, match="leads out of the project"):
        update_project(root)
    assert (tmp_path / "victim").read_text() == "victim"
    assert git(root, "status", "--porcelain") == ""


@pytest.mark.parametrize("files", [None, {"dvc.yaml": 3}])
def test_a_damaged_note_is_one_line(files: object, tmp_path: Path) -> None:
    root = new_project(tmp_path / "bells").folder
    state = json.loads((root / STATE).read_text())
    (root / STATE).write_text(json.dumps({**state, "files": files}))
    commit(root, "Change")
    with pytest.raises(ArtifactError, match="is damaged"):
        update_project(root)


def test_other_line_ends_are_no_change_and_what_is_new_can_be_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = new_project(tmp_path / "bells").folder
    text = (root / "prefect.toml").read_bytes()
    (root / "prefect.toml").write_bytes(text.replace(b"\n", b"\r\n"))
    commit(root, "As another system has it")
    ours = template.template_files(ci=False)
    newer = {**ours, "prefect.toml": text + b"# newer\n", "flows/more.py": b"# more\n"}
    monkeypatch.setattr(new, "template_files", lambda ci: newer)
    done = update_project(root)
    assert done.conflicts == ()
    assert {"prefect.toml", "flows/more.py"} <= set(done.changed)
    git(root, "-c", "user.name=t", "-c", "user.email=t@example.org", "stash", "-u")
    assert git(root, "status", "--porcelain") == ""
    assert not (root / "flows" / "more.py").exists()


def test_only_what_was_made_here_is_updated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only a project that distill new made"):
        update_project(tmp_path)


def test_without_git_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StorageError, match="git is not installed"):
        new_project(tmp_path / "bells")
    assert not (tmp_path / "bells").exists()


def test_outside_of_a_project_nothing_is_dropped_where_one_stands(
    distill: Command, tmp_path: Path, tones: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISTILL_PROJECT")
    home, here = tmp_path / "home", tmp_path / "here"
    monkeypatch.setenv("DISTILL_HOME", str(home))
    here.mkdir()
    monkeypatch.chdir(here)
    tiny = [
        f"--set={name}.{key}={json.dumps(value)}" for name, values in SETTINGS.items() for key, value in values.items()
    ]
    ended = distill("train", str(tones), "-o", "kit.distill", "--until", "configure", *tiny)
    assert ended.paths[0].is_relative_to(home / "runs")
    assert list(here.iterdir()) == []
    (home / "models").mkdir()
    (made,) = (trained / "models").glob("*.distill")
    shutil.copy(made, home / "models" / "bells.distill")
    distill("generate", "bells", "-o", "out", "-d", "0.3")
    distill("generate", "-o", "out", "-d", "0.3")
    assert {path.relative_to(here).parts[0] for path in here.rglob("*")} == {"out"}
    assert len(list((here / "out").glob("*.wav"))) == 2
    listed = distill("model", "list", "--files-only")
    assert "bells" in listed.out
    assert f"Looked in: {home}/models" in listed.err
    assert "gone: no model file" in distill("generate", "gone", code=1).err


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who has the wheel in place of this repository, and what it needs from here."""
    root = tmp_path_factory.mktemp("installed")
    wheels = [build_wheel(root / f"dist{number}") for number in range(2)]
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    assert wheels[0].stat().st_size < 12_000_000
    install(wheels[0], root / "venv")
    return installed_environment(root / "venv", root / "home")


@pytest.mark.slow
def test_a_project_from_the_wheel_trains_generates_and_is_rebuilt(installed: dict[str, str], tmp_path: Path) -> None:
    def call(*command: str, folder: Path) -> str:
        return call_installed(*command, folder=folder, environment=installed)

    folder_of_tones(tmp_path / "tones", 6)
    call("distill", "new", "bells", "--sounds", "tones", folder=tmp_path)
    root = tmp_path / "bells"
    values = yaml.safe_load((root / "params.yaml").read_text())
    for name, section in SETTINGS.items():
        values[name] = {**values.get(name, {}), **section}
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    call("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qam", "Little", folder=root)
    call("dvc", "repro", folder=root)
    assert call("dvc", "status", "--json", folder=root).strip() == "{}"
    made = call("distill", "generate", "-d", "0.5", folder=root).split()
    assert [Path(path).name for path in made] == ["bells_0000.wav"]
    assert (root / made[0]).is_file()
    rebuilt = json.loads(call("distill", "reproduce", "models/bells.distill", "--json", folder=root))
    assert rebuilt["identical"] is True
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    assert set(lock["stages"]) == set(STAGES)
    where = "import distill; print(distill.__file__)"
    assert not Path(call("python", "-c", where, folder=root)).is_relative_to(REPOSITORY)
