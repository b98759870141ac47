"""Run folders are removed only when they rest, and only those of the folder that is named."""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from command_util import run_command
from distill.errors import StorageError, TrainingError
from distill.processes.run_lock import hold
from distill.runs import removal
from distill.runs.folder import Order, run_folders, write_order
from distill.runs.removal import REMOVED, prune, remove, size_of
from page_util import make_sounds
from pipeline_util import bytes_of


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_sounds(tmp_path / "kit", 6)
    return tmp_path


def finished(project: Path, name: str, when: str) -> Path:
    root = project / "runs" / name
    write_order(root, Order("kit"), finished=True)
    note = root / ".distill" / "run.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "finished": when}))
    (root / "weights").write_bytes(bytes(100_000))
    (root / "kit").symlink_to(project / "kit")
    return root


def test_what_a_killed_removal_left_is_no_run(project: Path) -> None:
    old, new = (finished(project, f"kit-{day}", f"2020-01-0{day}T00:00:00+00:00") for day in (1, 2))
    new.rename(new.with_name(f"{REMOVED}{new.name}"))
    assert run_folders(project) == [old]
    assert run_command("prune", "--keep", "1")["runs"] == []
    assert list((project / "runs").iterdir()) == [old]


def test_only_finished_runs_are_pruned_and_only_at_rest(project: Path) -> None:
    old, newer, newest = (finished(project, f"kit-{day}", f"2020-01-0{day}T00:00:00+00:00") for day in (1, 2, 3))
    stopped = project / "runs" / "kit-4"
    write_order(stopped, Order("kit"))
    before = bytes_of(project / "kit")
    with hold(old):
        assert [each.run for each in prune(project, dry_run=True)] == [newest.name, newer.name]
        with pytest.raises(TrainingError, match="runs already"):
            remove(old)
    assert prune(project, older=timedelta(days=365 * 1000)) == []
    assert run_command("prune", "--keep", "2", "--dry-run")["runs"][0]["run"] == old.name
    assert old.is_dir()
    freed = run_command("prune", "--keep", "2")
    assert [each["run"] for each in freed["runs"]] == [old.name]
    assert freed["bytes"] > 100_000
    assert run_command("remove", "kit-4")["run"] == "kit-4"
    assert [root.name for root in run_folders(project)] == [newer.name, newest.name]
    assert sorted(path.name for path in (project / "runs").iterdir()) == [newer.name, newest.name]
    assert bytes_of(project / "kit") == before


def test_what_another_window_removes_meanwhile_is_no_complaint(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = [finished(project, name, f"2026-01-0{day}T00:00:00+00:00") for day, name in enumerate(("one", "two"), 1)]
    (roots[0] / "gone").write_bytes(b"1234")
    (roots[0] / "stays").write_bytes(b"12345")
    whole, lstat, look = size_of(roots[0]), os.lstat, removal.finished_at

    def vanished(path: str) -> os.stat_result:
        if str(path).endswith("gone"):
            raise FileNotFoundError(path)
        return lstat(path)

    def unreadable(root: Path) -> datetime | None:
        if root == roots[1]:
            (root / ".distill" / "run.json").unlink()
            raise StorageError("cannot read run.json")
        return look(root)

    monkeypatch.setattr(os, "lstat", vanished)
    assert size_of(roots[0]) == whole - 4
    monkeypatch.setattr(removal, "finished_at", unreadable)
    assert [each.run for each in prune(project, dry_run=True)] == [roots[0].name]


def test_a_run_whose_note_cannot_be_read_is_no_removed_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(project, "one", "2026-01-01T00:00:00+00:00")

    def unreadable(_root: Path) -> datetime | None:
        raise StorageError("cannot read run.json")

    monkeypatch.setattr(removal, "finished_at", unreadable)
    with pytest.raises(StorageError, match="cannot read"):
        prune(project, dry_run=True)


def test_runs_are_those_of_the_folder_that_is_named(project: Path, tmp_path: Path) -> None:
    """Of a folder below a project, which has runs of its own, not of the project around it."""
    (project / ".dvc").mkdir(exist_ok=True)
    inner = project / "archive"
    inner.mkdir()
    assert run_command("list", str(inner))["runs"] == []
    assert run_command("prune", str(inner), "--keep", "0", "--dry-run")["runs"] == []
