"""Where the tab Start stands, and what it lets hear: all of it from the disk."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from distill.artifact.model_file import read_manifest, read_model, write_model
from distill.audio.sound import read_sound
from distill.cli.main import app
from distill.errors import DataError
from distill.files import write_json
from distill.generation.sidecar import read_sidecar, sidecar_of
from distill.library.early_models import early_models, renewed_models
from distill.live.events import Listeners
from distill.live.status import status_file
from distill.live.stop_request import StopRequest
from distill.params import Params, with_settings
from distill.processes.run_lock import hold
from distill.runs.local import Options, train_folder
from distill.runs.plans import SKETCH
from distill.stages.workspace import Workspace
from distill.ui.start_state import begin_with, set_run, standing_of
from page_util import make_sounds, settings, wait
from registry_util import model_file

PARAMS = with_settings(Params(), settings())
# Beside other work it takes its time.
LONG = 240.0


@pytest.fixture(autouse=True)
def _short_sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made to be heard is no longer than the training sounds."""
    monkeypatch.setattr("distill.ui.first_takes.LEAST_SECONDS", 0.2)
    monkeypatch.setattr("distill.ui.first_takes.GREETING_SECONDS", 0.5)


def trained(project: Path, *, until: str | None = None) -> Path:
    """The folder of a tiny run of the project's sounds."""
    chosen = Options(project, "tiny", None, False, Listeners(), StopRequest())
    return train_folder(project / "kit", PARAMS, chosen, until=until).workspace


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a finished run."""
    project = tmp_path_factory.mktemp("finished")
    make_sounds(project / "kit", 6)
    trained(project)
    return project


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of that project."""
    return shutil.copytree(finished, tmp_path / "project", symlinks=True)


def test_it_goes_from_nothing_over_sounds_and_a_run_to_the_end(project: Path) -> None:
    (root,) = (project / "runs").iterdir()
    assert standing_of(project).kind == "empty"
    with pytest.raises(DataError, match="no such folder"):
        begin_with(project, project / "nothing")
    begin_with(project, project / "kit")
    assert (standing_of(project).kind, standing_of(project).sounds) == ("sounds", project / "kit")
    set_run(project, root)
    assert (standing_of(project).kind, standing_of(project).root) == ("finished", root)
    # The same sounds again change nothing, other ones begin anew.
    begin_with(project, project / "kit")
    assert standing_of(project).kind == "finished"
    make_sounds(project / "other", 6)
    begin_with(project, project / "other")
    assert standing_of(project).kind == "sounds"
    begin_with(project, None)
    assert standing_of(project).kind == "empty"


@pytest.mark.parametrize("note", ["{", '{"schema": 1, "sounds": 3}', '{"schema": 1, "sounds": "kit", "run": []}'])
def test_a_damaged_note_is_as_none(tmp_path: Path, note: str) -> None:
    (tmp_path / "kit").mkdir()
    (tmp_path / ".distill").mkdir()
    (tmp_path / ".distill" / "start.json").write_text(note)
    assert standing_of(tmp_path).kind == "empty"
    with pytest.raises(DataError, match="choose sounds first"):
        set_run(tmp_path, tmp_path)


def test_a_run_that_goes_on_elsewhere_is_found_and_one_that_is_gone_is_forgotten(project: Path) -> None:
    (root,) = (project / "runs").iterdir()
    begin_with(project, project / "kit")
    with hold(root):
        assert (standing_of(project).kind, standing_of(project).root) == ("running", root)
    assert standing_of(project).kind == "sounds"
    set_run(project, root)
    shutil.rmtree(root)
    assert standing_of(project).kind == "sounds"
    shutil.rmtree(project / "kit")
    assert standing_of(project).kind == "empty"


def test_a_run_can_be_heard_before_it_has_finished(tmp_path: Path) -> None:
    make_sounds(tmp_path / "kit", 6)
    root = trained(tmp_path, until="train_vqvae")
    assert renewed_models(root) == []
    root = trained(tmp_path, until="train_prior")
    workspace = Workspace(root)
    (early,) = renewed_models(root)
    whole = read_model(early.path)
    assert (early.share, early.path.stem) == (1.0, "tiny-early-100")
    assert (whole.manifest.metadata.name, whole.manifest.memorization) == ("tiny-early-100", None)
    # While the prior still learns there are its checkpoints: the best of them is the same.
    early.path.unlink()
    workspace.prior.unlink()
    # Behind its last step a stage counts other things.
    status = status_file(root, "train_prior")
    status.write_text(json.dumps({**json.loads(status.read_text()), "done": 1, "total": 2, "unit": "sounds"}))
    (again,) = renewed_models(root)
    assert again == early
    found = read_model(again.path)
    assert found.manifest.prior_config == whole.manifest.prior_config
    assert whole.prior_state is not None
    assert found.prior_state is not None
    assert all(torch.equal(found.prior_state[name], value) for name, value in whole.prior_state.items())
    assert renewed_models(root) == [again]


def test_another_model_is_heard_only_once_the_prior_is_better_and_has_learned_on(tmp_path: Path) -> None:
    make_sounds(tmp_path / "kit", 6)
    root = trained(tmp_path, until="train_prior")
    Workspace(root).prior.unlink()
    (early,) = renewed_models(root)
    best = read_manifest(early.path).prior_metadata
    assert best is not None

    def known(share: int, epoch: int) -> list[float]:
        """The shares of the models there are, when the last was made after so many percent, of that best epoch."""
        for each in early_models(root):
            each.path.unlink()
        metadata = best.model_copy(update={"best_epoch": epoch})
        manifest = whole.manifest.model_copy(update={"prior_metadata": metadata})
        write_model(early.path.with_name(f"tiny-early-{share}.distill"), manifest, whole.vqvae_state, whole.prior_state)
        return [each.share for each in renewed_models(root)]

    whole = read_model(early.path)
    assert known(40, best.best_epoch) == [0.4]
    assert known(40, best.best_epoch + 1) == [1.0, 0.4]
    assert known(90, best.best_epoch + 1) == [0.9]
    # The name of a model may look like a share.
    (early,) = early_models(root)
    early.path.rename(early.path.with_name("tiny-early-90s-early-40.distill"))
    assert [each.share for each in early_models(root)] == [0.4]


def test_sounds_are_made_once_and_those_that_are_missing_again(project: Path) -> None:
    pytest.importorskip("gradio")
    from distill.ui.context import Context
    from distill.ui.first_takes import WALL, FirstTakes
    from distill.ui.start_view import takes

    (root,) = (project / "runs").iterdir()
    begin_with(project, project / "kit")
    set_run(project, root)
    context, standing = Context(project), standing_of(project)
    first_takes = FirstTakes(context)

    def made() -> list[Path]:
        (batch, *_) = first_takes.of(standing)
        assert first_takes.trouble(batch) == ""
        return batch.paths

    paths = wait(lambda: len(found := made()) == WALL and found, LONG)
    assert paths[3] == project / "generated" / root.name / "tiny_0003.wav"
    assert read_sidecar(sidecar_of(paths[3])).sound.seed == 3
    before = {path: path.read_bytes() for path in paths}
    for path in (paths[2], sidecar_of(paths[5])):
        path.unlink()
    wait(lambda: len(made()) == WALL, LONG)
    assert {path: path.read_bytes() for path in paths} == before
    page = takes(context, standing, first_takes)
    assert page.count("d-play") == WALL
    assert "16 new sounds of tiny." in page
    # Another server on the same project finds them.
    assert FirstTakes(Context(project)).of(standing)[0].paths == paths


def test_what_could_not_be_made_is_tried_again_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    from distill.ui import first_takes as module
    from distill.ui.context import Context

    def fail(_self: object, _batch: object) -> None:
        tries.append(1)
        raise RuntimeError("two threads import")

    model_file(tmp_path / "models" / "bells.distill")
    monkeypatch.setattr(module.FirstTakes, "_produce", fail)
    tries: list[int] = []
    first_takes, standing = module.FirstTakes(Context(tmp_path)), standing_of(tmp_path)
    (batch,) = first_takes.of(standing)
    wait(lambda: "two threads" in first_takes.trouble(batch))
    first_takes.of(standing)
    monkeypatch.setattr(module, "TROUBLE_SECONDS", 0.0)
    assert len(tries) == 1
    # Each look may start another try.
    wait(lambda: first_takes.of(standing) and len(tries) >= 2)


def test_the_verdict_is_said_plainly_with_both_sounds_to_hear(project: Path) -> None:
    pytest.importorskip("gradio")
    from distill.registry.catalogue import catalogue
    from distill.ui.context import Context
    from distill.ui.evidence import GONE
    from distill.ui.first_takes import FirstTakes
    from distill.ui.shelf import details_of
    from distill.ui.start_view import takes

    (root,) = (project / "runs").iterdir()
    begin_with(project, project / "kit")
    set_run(project, root)
    context = Context(project)
    [entry], _ = catalogue(project, registry=False)
    for page in (takes(context, standing_of(project), FirstTakes(context)), details_of(entry, context)):
        assert re.search(r"(of \d+ new sounds (is|are) close to)", page)
        assert page.count("<b>New</b>") == page.count("<b>Yours</b>") > 0
        assert ".flac" in page
    assert all(read_sound(path).seconds > 0 for path in (context.files / "evidence").iterdir())
    # Where the run is gone, what distill check found takes its place.
    kept = Workspace(root).page("check_memorization").read_bytes()
    shutil.rmtree(root)
    assert GONE in details_of(entry, context)
    folder = project / "models" / "tiny-check"
    write_json(folder / "report.json", {"schema": 1, "digest": entry.manifest.tensor_digest})
    (folder / "report.html").write_bytes(kept)
    assert GONE not in details_of(entry, context)


def test_sounds_come_while_it_learns_though_nobody_looks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    from distill.ui.context import Context
    from distill.ui.first_takes import FIRST, FirstTakes
    from distill.ui.start_view import takes

    monkeypatch.setattr("distill.ui.first_takes.LOOK_SECONDS", 0.1)
    (root,) = (project / "runs").iterdir()
    begin_with(project, project / "kit")
    set_run(project, root)
    early = renewed_models(root)
    context = Context(project)
    with hold(root):
        first_takes = FirstTakes(context)
        first_takes.keep_making()
        wait(lambda: len(list((context.generated / root.name).glob("tiny-early-100_*.wav"))) == FIRST, LONG)
        assert [batch.model for batch in first_takes.of(standing_of(project))] == [early[0].path]
    # What was made while it learned stays, behind the sounds of the finished model.
    wait(lambda: len(list((context.generated / root.name).glob("tiny_*.wav"))) == 16, LONG)
    first_takes.close()
    page = takes(context, standing_of(project), first_takes)
    places = [page.index(words) for words in ("16 new sounds of tiny.", "it was learning", "Tries after 100% of")]
    assert places == sorted(places)


def test_without_sounds_a_model_is_heard(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from distill.ui.context import Context
    from distill.ui.first_takes import GREETING, FirstTakes
    from distill.ui.start_view import takes

    first_takes, standing = FirstTakes(Context(tmp_path)), standing_of(tmp_path)
    assert len(first_takes.of(standing)[0].paths) == GREETING
    assert "Meanwhile: new sounds of a model that comes with distill." in takes(
        Context(tmp_path), standing, first_takes
    )
    # A model of one's own is heard instead.
    model_file(tmp_path / "models" / "bells.distill")
    wait(lambda: len(first_takes.of(standing)[0].paths) == GREETING, LONG)
    page = takes(Context(tmp_path), standing, first_takes)
    assert "Meanwhile: new sounds of bells." in page
    # Nobody asked for them: they are not among the generated sounds, nor known to other tabs.
    assert not (tmp_path / "generated").exists()
    assert page.count('class="d-acts" hidden') == GREETING


def test_what_became_of_the_sounds_is_said_in_plain_words(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from distill.dataset.scan import FileVerdict, scan
    from distill.ui.start_view import WHY, verdict

    make_sounds(tmp_path / "kit", 6)
    assert "All 6 sounds can be used" in verdict(tmp_path / "kit", scan(tmp_path / "kit"))
    for number in range(9):
        (tmp_path / "kit" / f"<b>{number}.wav").write_text("no sound")
    said = verdict(tmp_path / "kit", scan(tmp_path / "kit"))
    assert "6 of 15 sounds can be used" in said
    assert "&lt;b&gt;0.wav" in said
    assert "and 3 more" in said
    assert set(FileVerdict) - set(WHY) == {FileVerdict.OK, FileVerdict.CLIPPED}
    assert "<b>" not in said


def test_the_command_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["start", str(tmp_path / "nothing"), "--project", str(tmp_path)])
    assert isinstance(result.exception, DataError)
    assert "no such folder of sounds" in str(result.exception)
    assert SKETCH.name in CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200"}).output
