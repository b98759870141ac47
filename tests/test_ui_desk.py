"""What the page keeps for a session, without a browser."""

import copy
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("gradio")

import gradio as gr
import numpy as np

from codes_util import grid, model
from distill.codes.edits import SetCode
from distill.codes.exchange import swap
from distill.codes.grid import CodeGrid
from distill.codes.history import History
from distill.codes.model import CodesModel
from distill.codes.selection import Selection
from distill.codes.session import EditSession
from distill.errors import DataError, UsageError
from distill.ui.cards import render_template
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.desks import Desks
from distill.ui.forms import Form
from distill.ui.grid_files import MOST_SECONDS
from distill.ui.grid_requests import Wish, selection_of, wish_of
from distill.ui.models import MOST_LOADED, Models
from distill.ui.outline import POINTS_A_COLUMN
from distill.ui.results import given_file
from registry_util import make_folder, model_file
from sounds_util import save, tone

CELL = {"columns": [1, 2], "bands": [0], "levels": [0]}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(make_folder(tmp_path / "project"))


def desk_with_grid(context: Context, columns: int = 6) -> Desk:
    desk = Desk(context)
    desk.put(EditSession.begin(model(), History(grid(columns))), "models/bells.distill", "kick.wav")
    return desk


def test_each_session_has_a_desk_of_its_own_that_ends(context: Context) -> None:
    first = desk_with_grid(context)
    second = copy.deepcopy(first)
    assert second.sheets == {}
    played = first.play()
    assert played["play"]
    [folder] = (context.files / "desks").iterdir()
    first.close()
    assert not folder.exists()
    with pytest.raises(UsageError, match="open a sound"):
        first.view()


NAME = "0123456789abcdef" * 2


def test_what_lies_on_a_desk_is_found_again_when_the_server_is_started_anew(context: Context) -> None:
    def opened(load: Callable[[str], CodesModel] = lambda _name: model()) -> tuple[Desks, Desk]:
        desks = Desks(context, load)
        return desks, desks.take(NAME, Desk(context))

    desks, desk = opened()
    desk.put(EditSession.begin(model(), History(grid())), "models/bells.distill", "kick.wav")
    desk.change(desk.sheet().work.do(SetCode(selection=Selection(**CELL), code=3)))
    desk.change(desk.sheet().work.do(SetCode(selection=Selection(**CELL), code=4)).undo())
    desk.earlier = (desk.sheet(), desk.sheet())
    desk.forms = {"train": {"name": "mine", "levels": 2}}
    desk.dropped = desk.lasting() / "dropped"
    save(desk.dropped / "kick.wav", tone(0.1))
    desks.save()
    _, found = opened()
    sheet, before = found.sheet(), desk.sheet()
    assert (sheet.name, sheet.model_name) == ("kick.wav", "models/bells.distill")
    assert sheet.work.grid == before.work.grid
    assert [each.work.grid for each in found.earlier] == [before.work.grid] * 2
    assert sheet.edited
    assert (sheet.work.undoable, sheet.work.redoable) == (before.work.undoable, before.work.redoable)
    assert (found.forms, found.dropped) == (desk.forms, desk.dropped)

    # What cannot be used any more is left out, and a damaged file is as none.
    def gone(_name: str) -> CodesModel:
        raise UsageError("the model is not there any more")

    _, without = opened(gone)
    assert (without.sheets, without.forms) == ({}, desk.forms)
    note = context.desks / NAME / "desk.json"
    for damaged in ("{", '{"schema": 1, "forms": 3}', '{"schema": 1, "sheets": {"mine": {}}}'):
        note.write_text(damaged)
        _, anew = opened()
        assert (anew.sheets, anew.forms) == ({}, {})
    # Its last session may end because the tab is loaded anew after a long time.
    desks, lasting = opened()
    lasting.forms = desk.forms
    desks.save()
    lasting.close()
    desks.forget_left()
    assert desks.take(NAME, Desk(context)).forms == desk.forms
    desks.forget_left(0)
    assert (context.desks / NAME).exists()
    lasting.close()
    desks.forget_left(0)
    assert not (context.desks / NAME).exists()


def test_only_what_was_in_a_form_before_a_tab_was_loaded_comes_back(context: Context) -> None:
    desks = Desks(context, lambda _name: model())
    form = Form("train", {"name": gr.Textbox(), "levels": gr.Number()})
    fresh = Desk(context)
    # Somebody was faster than the page.
    fresh.forms = {"train": {"name": "mine", "levels": 2}}
    desk = desks.take(NAME, fresh)
    assert form.values_left(desk) == {}
    assert desk.forms == {"train": {"name": "mine", "levels": 2}}
    # With the next load it is what was there before.
    assert form.values_left(desks.take(NAME, Desk(context))) == {"name": "mine", "levels": 2}
    desks.save()
    desk.forms = {"train": {"name": "other", "levels": 2}}
    assert form.values_left(desk) == {"name": "mine", "levels": 2}


def test_only_a_tab_of_a_browser_gets_a_folder(context: Context) -> None:
    desks = Desks(context, lambda _name: model())
    for name in (None, "", "../../elsewhere", "x" * 32):
        assert desks.take(name, Desk(context)).home is None


def test_tabs_that_never_came_back_are_forgotten(context: Context) -> None:
    for name in ("old", "new"):
        (context.desks / name).mkdir(parents=True)
        (context.desks / name / "desk.json").write_text("{}")
    os.utime(context.desks / "old" / "desk.json", (0, 0))
    Desks(context, lambda _name: model()).forget_old()
    assert [folder.name for folder in context.desks.iterdir()] == ["new"]


def test_a_grid_says_how_it_sounds_when_its_sound_has_changed(context: Context) -> None:
    desk = desk_with_grid(context, 6)
    first = desk.draw_outline()
    assert first is not None
    assert (first["grid"], len(first["wave"]), max(map(abs, first["wave"]))) == (
        desk.sheet().key,
        2 * 6 * POINTS_A_COLUMN,
        100,
    )
    assert first["picture"].endswith(".png")
    assert desk.draw_outline(anew=False) is None
    assert desk.draw_outline() is not None
    desk.change(desk.sheet().work.do(SetCode(selection=Selection(columns=(1, 5)), code=3)))
    edited = desk.draw_outline(anew=False)
    assert edited is not None
    assert edited["wave"] != first["wave"]


def test_files_of_a_desk_do_not_pile_up(context: Context) -> None:
    desk = desk_with_grid(context, 2)
    for _ in range(7):
        desk.play()
    assert len(list(desk.folder().glob("*.wav"))) == 4


def test_an_edited_grid_is_had_back_after_another_was_opened(context: Context) -> None:
    desk = desk_with_grid(context)
    desk.put(EditSession.begin(model(), History(grid(3))), "models/bells.distill", "snare.wav")
    with pytest.raises(UsageError, match="no earlier grid"):
        desk.go_back()
    desk.change(desk.sheet().work.do(SetCode(selection=Selection(**CELL), code=3)))
    edited = desk.sheet()
    desk.put(EditSession.begin(model(), History(grid(4))), "models/bells.distill", "hat.wav")
    # What nobody edited is no loss.
    desk.put(EditSession.begin(model(), History(grid(5))), "models/bells.distill", "bell.wav")
    desk.go_back()
    assert desk.sheet() == edited
    desk.go_back()
    assert desk.sheet().name == "bell.wav"
    # A history that came with a file is no edit here; of several edited ones none is lost.
    desk.put(EditSession.begin(model(), edited.work.history), "models/bells.distill", "saved.json")
    desk.put(EditSession.begin(model(), History(grid(2))), "models/bells.distill", "tom.wav")
    desk.change(desk.sheet().work.do(SetCode(selection=Selection(**CELL), code=3)))
    desk.put(EditSession.begin(model(), History(grid(1))), "models/bells.distill", "clap.wav")
    seen = []
    for _ in range(3):
        seen.append(desk.sheet().name)
        desk.go_back()
    assert seen == ["clap.wav", "tom.wav", "snare.wav"]


def test_a_swap_is_undone_in_both_grids_unless_the_other_was_edited_since(context: Context) -> None:
    def swapped() -> Desk:
        desk = desk_with_grid(context)
        other = History(grid().with_codes(np.flip(grid().codes, axis=0)))
        desk.put(EditSession.begin(model(), other), "models/bells.distill", "snare.wav", "other")
        mine, theirs = desk.sheet().work, desk.sheet("other").work
        found = swap(mine.grid, theirs.grid, Selection(columns=(1, 3)), 2, names=("kick.wav", "snare.wav"))
        desk.change(mine.do(found.edit))
        desk.change(theirs.do(found.other_edit), "other")
        return desk

    def grids(desk: Desk) -> list[CodeGrid]:
        return [desk.sheet(which).work.grid for which in ("mine", "other")]

    def wish(what: str) -> Wish:
        return wish_of({"what": what, "selection": CELL})

    desk = swapped()
    after, before = grids(desk), [desk.sheet(which).work.history.start for which in ("mine", "other")]
    assert after[0] != before[0]
    desk.fulfil(wish("undo"), hear=False)
    assert grids(desk) == before
    desk.fulfil(wish("redo"), hear=False)
    assert grids(desk) == after
    desk.change(desk.sheet("other").work.do(SetCode(selection=Selection(**CELL), code=3)), "other")
    edited = grids(desk)[1]
    desk.fulfil(wish("undo"), hear=False)
    assert grids(desk) == [before[0], edited]
    # That of a grid which lay here before is another swap.
    desk = swapped()
    desk.put(desk.sheet().work, "models/bells.distill", "hat.wav")
    after = grids(desk)
    desk.fulfil(wish("undo"), hear=False)
    assert grids(desk) == [before[0], after[1]]


def test_edits_during_decoding_are_kept(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, rendered = desk_with_grid(context, 12), EditSession.rendered
    begun, edited = threading.Event(), threading.Event()

    def slowly(session: EditSession) -> EditSession:
        begun.set()
        assert edited.wait(10)
        return rendered(session)

    monkeypatch.setattr(EditSession, "rendered", slowly)
    thread = threading.Thread(target=desk.decode)
    thread.start()
    assert begun.wait(10)
    for code in range(4):
        desk.fulfil(wish_of({"what": "set", "code": code, "selection": CELL}), hear=False)
    edited.set()
    thread.join()
    assert desk.sheet().work.history.position == 4
    assert desk.sheet().work.rendering is not None


@pytest.mark.parametrize(
    "values",
    [
        None,
        {},
        {"what": "delete", "selection": CELL},
        {"what": "set", "code": -1, "selection": CELL},
        {"what": "set", "code": 1, "selection": {**CELL, "path": "/etc/passwd"}},
    ],
)
def test_wishes_that_cannot_be_are_refused(values: object) -> None:
    with pytest.raises(UsageError, match="reload"):
        wish_of(values)


def test_selections_come_as_text() -> None:
    assert selection_of("null") is None
    assert selection_of('{"columns": [0, 2], "bands": null, "levels": [1]}').columns == (0, 2)  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="reload"):
        selection_of('{"columns": [NaN, 2]}')


def test_only_sounds_and_grids_of_a_bearable_length_are_taken(context: Context, tmp_path: Path) -> None:
    desk = Desk(context)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match="neither a sound"):
        desk.open_file(tmp_path / "notes.txt", model(), "bells")
    (tmp_path / "fake.wav").write_text("x")
    with pytest.raises(DataError, match=r"^fake\.wav: "):
        desk.open_file(tmp_path / "fake.wav", model(), "bells")
    long = save(tmp_path / "long.wav", tone(MOST_SECONDS + 1, rate=1000), 1000)
    with pytest.raises(UsageError, match="10 minutes"):
        desk.open_file(long, model(), "bells")


def test_names_never_become_paths(context: Context, tmp_path: Path) -> None:
    outside = model_file(tmp_path / "outside.distill")
    models = Models(context)
    for name in (str(outside), "../outside.distill", "models/../../outside.distill", "nothing.distill"):
        with pytest.raises(UsageError):
            models.path(name)
    upload = save(context.uploads / "0a1b" / "..weird $(x) né.wav", tone(0.2))
    taken = given_file(str(upload), context, tmp_path / "batch")
    assert taken.parent == tmp_path / "batch"
    assert taken.name == "weird-x-né.wav"


def test_a_model_of_the_users_own_folder_is_offered_in_every_project(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILL_HOME", str(tmp_path / "home"))
    own = model_file(tmp_path / "home" / "models" / "own.distill")
    models = Models(context)
    [(_, name)] = models.choices(registry=False)
    assert models.path(name) == own
    assert models.newest() == name


def test_the_last_models_stay_loaded(context: Context) -> None:
    names = [f"models/m{number}.distill" for number in range(MOST_LOADED + 1)]
    for number, name in enumerate(names):
        model_file(context.project / name, weights=number)
    models = Models(context)
    first = models.load(names[0])
    assert models.load(names[0]) is first
    for name in names[1:]:
        models.load(name)
    assert models.load(names[0]) is not first


def test_what_stands_in_a_card_is_escaped() -> None:
    text = render_template("details", name="<b>", value="\" onload='x' <script>")
    assert "<script>" not in text
    assert "<b>" not in text
    assert "'x'" not in text
