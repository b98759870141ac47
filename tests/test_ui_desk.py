"""What the page keeps for a session, without a browser."""

import copy
import threading
from pathlib import Path

import pytest

pytest.importorskip("gradio")

from codes_util import grid, model
from distill.codes.history import History
from distill.codes.session import EditSession
from distill.errors import DataError, UsageError
from distill.ui.cards import filled
from distill.ui.context import Context
from distill.ui.desk import MOST_SECONDS, Desk, selection_of, wish_of
from distill.ui.models import MOST_LOADED, Models
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
    played = first.played()
    assert played["play"]
    [folder] = (context.files / "desks").iterdir()
    first.close()
    assert not folder.exists()
    with pytest.raises(UsageError, match="open a sound"):
        first.view()


def test_files_of_a_desk_do_not_pile_up(context: Context) -> None:
    desk = desk_with_grid(context, 2)
    for _ in range(7):
        desk.played()
    assert len(list(desk.folder().glob("*.wav"))) == 4


def test_edits_during_decoding_are_kept(context: Context) -> None:
    desk = desk_with_grid(context, 12)
    thread = threading.Thread(target=desk.decode)
    thread.start()
    for code in range(4):
        desk.fulfil(wish_of({"what": "set", "code": code, "selection": CELL}), hear=False)
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
    long = save(tmp_path / "long.wav", tone(MOST_SECONDS + 1, rate=800), 800)
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
    text = filled("details", name="<b>", value="\" onload='x' <script>")
    assert "<script>" not in text
    assert "<b>" not in text
    assert "'x'" not in text
