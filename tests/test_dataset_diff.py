"""What changed between two datasets, in folders and in commits of a project."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.stats

from dataset_page_util import HOSTILE, Reader, harmless
from distill.reports.dataset_diff import Difference, difference, ks_distance
from distill.reports.dataset_facts import QUANTITIES, facts_of
from distill.versions.datasets import add_dataset
from distill.versions.dvc import dvc
from distill.versions.revision import worktree
from project_util import call, commit
from sounds_util import folder_of_tones, noise, save, tone

if TYPE_CHECKING:
    from command_util import Command


def compared(one: Path, other: Path) -> Difference:
    return difference(*(facts_of(each, each.name, near=False) for each in (one, other)))


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders: what each file's name says happened to it in the second."""
    one, other = tmp_path / "one", tmp_path / "other"
    for side in (one, other):
        for number in range(4):
            save(side / "kick" / f"same{number}.wav", tone(frequency=100 + 30 * number))
        (side / "readme.txt").write_text("about these sounds")
    save(one / "kick" / "removed.wav", noise(seed=1))
    save(other / "snare" / "added.wav", noise(seed=2))
    save(one / "kick" / "changed.wav", tone(frequency=900))
    save(other / "kick" / "changed.wav", tone(frequency=950))
    save(one / "kick" / "renamed.wav", noise(seed=3))
    save(other / "snare" / "moved.wav", noise(seed=3))
    save(one / "kick" / "broken.wav", noise(seed=4))
    (other / "kick" / "broken.wav").write_text("no sound")
    (one / "notes.txt").write_text("first")
    (other / "notes.txt").write_text("second")
    return one, other


def test_files_are_told_apart_by_name_then_by_content(sides: tuple[Path, Path]) -> None:
    found = compared(*sides)
    assert [each.path for each in found.added] == ["snare/added.wav"]
    assert [each.path for each in found.removed] == ["kick/removed.wav"]
    assert [each.after.path for each in found.changed] == ["kick/broken.wav", "kick/changed.wav", "notes.txt"]
    [renamed] = found.renamed
    assert (renamed.before.path, renamed.after.path) == ("kick/renamed.wav", "snare/moved.wav")
    assert renamed.labels == ("kick", "snare")
    [judged] = found.judged
    assert (judged.after.path, judged.before.verdict, judged.after.verdict) == ("kick/broken.wav", "ok", "unreadable")
    assert found.unchanged == 5
    assert found.labels == {"kick": (8, 5), "snare": (0, 2)}


def test_the_other_way_round_it_is_the_opposite(sides: tuple[Path, Path]) -> None:
    there, back = compared(*sides), compared(*reversed(sides))
    assert (there.added, there.removed) == (back.removed, back.added)
    assert {(each.before, each.after) for each in there.renamed} == {(each.after, each.before) for each in back.renamed}
    assert {name: each.distance for name, each in there.quantities.items()} == {
        name: each.distance for name, each in back.quantities.items()
    }


def test_nothing_is_between_a_dataset_and_its_copy(tmp_path: Path) -> None:
    one = folder_of_tones(tmp_path / "one", 4)
    shutil.copytree(one, tmp_path / "other")
    found = compared(one, tmp_path / "other")
    assert [*found.added, *found.removed, *found.changed, *found.renamed, *found.judged] == []
    assert found.unchanged == 4
    assert all(each.distance in (0.0, None) and not each.differs for each in found.quantities.values())


def test_another_encoding_of_the_same_samples_is_another_name_of_them(tmp_path: Path) -> None:
    samples = np.round(tone() * 32768) / 32768
    save(tmp_path / "one" / "a.wav", samples)
    save(tmp_path / "other" / "a.flac", samples)
    [renamed] = compared(tmp_path / "one", tmp_path / "other").renamed
    assert (renamed.before.path, renamed.after.path) == ("a.wav", "a.flac")


def test_files_of_the_same_content_are_paired_once(tmp_path: Path) -> None:
    for name in ("one/a.wav", "one/b.wav", "other/c.wav", "other/d.wav", "other/e.wav"):
        save(tmp_path / name, tone())
    found = compared(tmp_path / "one", tmp_path / "other")
    assert [(each.before.path, each.after.path) for each in found.renamed] == [("a.wav", "c.wav"), ("b.wav", "d.wav")]
    assert [each.path for each in found.added] == ["e.wav"]


def test_the_distance_of_distributions_is_that_of_scipy() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        one, other = (np.round(random.normal(size=random.integers(1, 40)), 1) for _ in range(2))
        assert ks_distance(one, other) == pytest.approx(scipy.stats.ks_2samp(one, other).statistic)


def test_the_limit_is_exceeded_by_chance_in_5_percent_of_the_cases(tmp_path: Path) -> None:
    found = compared(folder_of_tones(tmp_path / "one", 4), folder_of_tones(tmp_path / "other", 3))
    limit = found.quantities["duration"].limit
    assert limit == pytest.approx(scipy.stats.kstwobign.isf(0.05) * (1 / 4 + 1 / 3) ** 0.5, abs=1e-3)


def test_sounds_of_another_kind_differ_in_what_they_differ_in(tmp_path: Path) -> None:
    for number in range(12):
        save(tmp_path / "one" / f"{number}.wav", tone(0.3 + 0.02 * number, 200 + 10 * number))
        save(tmp_path / "other" / f"{number}.wav", tone(0.3 + 0.02 * number, 2000 + 10 * number))
    found = compared(tmp_path / "one", tmp_path / "other")
    assert {"bright", "low"} <= {name for name, each in found.quantities.items() if each.differs}
    assert not found.quantities["duration"].differs
    assert found.quantities["bright"].distance == 1.0


def test_terminal_json_and_page(sides: tuple[Path, Path], tmp_path: Path, distill: "Command") -> None:
    output = tmp_path / "diff.html"
    arguments = ("dataset", "diff", *map(str, sides), "-o", str(output))
    shown = distill(*arguments)
    assert "1 added, 1 removed, 3 changed, 1 renamed, 5 unchanged, 1 other verdicts" in shown.out
    assert "kick/renamed.wav to snare/moved.wav" in shown.out
    assert shown.out.splitlines()[-1] == str(output)
    first = output.read_bytes()
    values = json.loads(distill(*arguments, "--json").out)
    assert output.read_bytes() == first
    assert values["page"] == str(output)
    assert set(values["quantities"]) == set(QUANTITIES)
    assert [each["path"] for each in values["added"]] == ["snare/added.wav"]
    assert values["labels"]["kick"] == {"before": 8, "after": 5}
    page = Reader(output)
    harmless(page)
    for said in ("snare/added.wav", "kick/removed.wav", "kick/changed.wav", "snare/moved.wav", "ok → unreadable"):
        assert said in page.text, said
    assert page.tags.count("figure") == 8


def test_names_are_text(tmp_path: Path, distill: "Command") -> None:
    for number, name in enumerate(HOSTILE):
        save(tmp_path / "a" / "<i>label" / name, tone(frequency=200 + 70 * number))
        save(tmp_path / "b" / "<i>label" / f"{number}.wav", tone(frequency=200 + 70 * number + 20 * (number % 2)))
    shown = distill("dataset", "diff", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "page.html"))
    page = Reader(tmp_path / "page.html")
    harmless(page)
    assert "<i>label/<img src=x onerror=alert(1)>.wav" in page.text
    assert "\u202e" not in shown.out + page.text


@pytest.mark.parametrize(
    ("one", "other", "output", "code", "said"),
    [
        ("missing", "sounds", None, 1, "no such folder"),
        ("sounds", "missing", None, 1, "no such folder"),
        ("sounds", "empty", None, 1, "no usable sound"),
        ("sounds", "HEAD:sounds", None, 2, "is not in a project"),
        ("sounds", "sounds", "nowhere/page.html", 2, "make it first"),
        ("sounds", "sounds", "empty", 2, "is a folder"),
        ("sounds", "sounds", "page.txt", 2, "end in .html"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    distill: "Command",
    one: str,
    other: str,
    output: str | None,
    code: int,
    said: str,
) -> None:
    folder_of_tones(tmp_path / "sounds", 2)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    ended = distill("dataset", "diff", one, other, *(("-o", output) if output else ()), code=code)
    assert said in ended.err
    assert len(ended.complaints) == 1
    assert ended.out == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project in a folder of a repository, with two versions of its sounds behind DVC, and some under git."""
    root = tmp_path_factory.mktemp("repository") / "a project"
    root.mkdir()
    call(root.parent, "git", "init", "-q")
    call(root, "dvc", "init", "-q", "--subdir")
    (root / "params.yaml").write_text("schema: 1\ndata:\n  path: sounds\n")
    folder_of_tones(root / "tracked", 3)
    kit = folder_of_tones(root.parent.parent / "kit", 4)
    add_dataset(kit, root)
    commit(root, "first")
    (kit / "tone000.wav").rename(kit / "other.wav")
    save(kit / "new.wav", noise())
    (root / "tracked" / "tone002.wav").unlink()
    add_dataset(kit, root)
    commit(root, "second")
    # As `dvc install` leaves one, which cannot do its work in a worktree.
    hook = root.parent / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    yield root
    shutil.rmtree(kit)


def changes(said: str) -> dict[str, list[str]]:
    values = json.loads(said)
    paths = {name: [each["path"] for each in values[name]] for name in ("added", "removed")}
    return paths | {"renamed": [f"{each['before']['path']} {each['after']['path']}" for each in values["renamed"]]}


def test_a_commit_of_the_project_beside_its_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch, distill: "Command"
) -> None:
    monkeypatch.chdir(project)
    expected = {"added": ["new.wav"], "removed": [], "renamed": ["tone000.wav other.wav"]}
    assert changes(distill("dataset", "diff", "HEAD~1:data/kit", "data/kit", "--json").out) == expected
    assert changes(distill("dataset", "diff", "HEAD~1:data/kit", "HEAD:data/kit", "--json").out) == expected
    removed = {"added": [], "removed": ["tone002.wav"], "renamed": []}
    assert changes(distill("dataset", "diff", "HEAD~1:tracked", "tracked", "--json").out) == removed
    assert call(project, "git", "worktree", "list").stdout.count("\n") == 1
    assert call(project, "git", "status", "--porcelain").stdout == ""


def test_a_worktree_of_the_users_own_that_is_not_there_now_is_known_later(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, distill: "Command"
) -> None:
    monkeypatch.chdir(project)
    mine, away = tmp_path / "mine", tmp_path / "away"
    call(project, "git", "worktree", "add", "-q", "--no-checkout", "--detach", str(mine))
    mine.rename(away)
    distill("dataset", "diff", "HEAD~1:tracked", "tracked")
    away.rename(mine)
    assert call(mine, "git", "rev-parse", "HEAD").stdout == call(project, "git", "rev-parse", "HEAD").stdout
    call(project, "git", "worktree", "remove", "--force", str(mine))


def test_a_folder_of_a_versioned_dataset(project: Path, monkeypatch: pytest.MonkeyPatch, distill: "Command") -> None:
    monkeypatch.chdir(project)
    folder_of_tones(project.parent.parent / "nested" / "low", 2)
    distill("dataset", "add", str(project.parent.parent / "nested"))
    call(project, "git", "add", "data/nested.dvc")
    call(project, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "nested")
    (project / "data" / "nested" / "low" / "tone000.wav").unlink()
    found = changes(distill("dataset", "diff", "HEAD:data/nested/low", "data/nested/low", "--json").out)
    assert found["removed"] == ["tone000.wav"]
    said = distill("dataset", "diff", "HEAD:data/nested/none", "tracked", code=1).err
    assert "holds no data/nested/none" in said
    call(project, "git", "reset", "-q", "--hard", "HEAD~1")


def test_a_worktree_is_named_as_python_names_it(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "link"))
    with worktree(project, "HEAD") as root:
        assert root == root.resolve()
        assert root.is_relative_to(tmp_path / "real")


def test_a_file_of_the_project_takes_no_place_of_a_module_of_python(project: Path) -> None:
    (project / "queue.py").write_text("raise SystemExit('this is not the queue of Python')")
    try:
        assert dvc(project, "root").strip() == "."
    finally:
        (project / "queue.py").unlink()


def test_a_project_is_named_from_elsewhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, distill: "Command"
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("dataset", "diff", "HEAD~1:tracked", str(project / "tracked"), "--project", str(project), "--json")
    assert changes(distill(*arguments).out)["removed"] == ["tone002.wav"]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("HEAD~9:data/kit", "no revision HEAD~9"),
        ("--all:data/kit", "no revision --all"),
        ("HEAD:data/none", "neither data/none nor data/none.dvc"),
        ("HEAD:", "after the colon, name the sounds"),
        ("HEAD:/etc", "after the colon, name the sounds"),
        ("HEAD:../a project/tracked", "after the colon, name the sounds"),
    ],
)
def test_sounds_that_no_commit_has(
    project: Path, monkeypatch: pytest.MonkeyPatch, distill: "Command", reference: str, said: str
) -> None:
    monkeypatch.chdir(project)
    ended = distill("dataset", "diff", "-o", "page.html", "--", reference, "tracked", code=1)
    assert said in ended.err
    assert len(ended.complaints) == 1
    assert not (project / "page.html").exists()
    assert call(project, "git", "worktree", "list").stdout.count("\n") == 1


def test_sounds_that_are_not_in_the_cache(project: Path, monkeypatch: pytest.MonkeyPatch, distill: "Command") -> None:
    monkeypatch.chdir(project)
    cache = project / ".dvc" / "cache"
    cache.rename(project / ".dvc" / "gone")
    try:
        ended = distill("dataset", "diff", "HEAD~1:data/kit", "data/kit", code=1)
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        (project / ".dvc" / "gone").rename(cache)
    assert "dvc fetch --all-commits data/kit.dvc" in ended.err
    assert len(ended.complaints) == 1


@pytest.mark.skipif("DISTILL_TEST_AUDIO" not in os.environ, reason="DISTILL_TEST_AUDIO is not set")
def test_drums_and_a_kit_are_two_kinds_of_sounds(distill: "Command") -> None:
    root = Path(os.environ["DISTILL_TEST_AUDIO"])
    values = json.loads(distill("dataset", "diff", str(root / "kit"), str(root / "digits"), "--json").out)
    assert values["quantities"]["bright"]["differs"]
    assert values["unchanged"] == 0
