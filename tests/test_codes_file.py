"""The grid file: what it says, its schema, and files that somebody broke."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from codes_util import grid
from distill.codes.edits import Freeze, Rename, SetCode, cells_of
from distill.codes.exchange import swap
from distill.codes.file import grid_text, read_grid, schema_text, write_grid, write_grids
from distill.codes.history import History
from distill.codes.selection import Selection
from distill.errors import ArtifactError, DistillError, StorageError
from model_example import BANDS, SIZE

ROOT = Path(__file__).resolve().parent.parent


def edited() -> History:
    history = History(grid(4)).do(SetCode(selection=Selection(columns=(1, 2)), code=3)).do(Freeze(levels=(1,)))
    return history.do(Rename(level=1, label="Glöckchen")).undo()


def test_the_document_says_what_it_is() -> None:
    document = json.loads(grid_text(edited()))
    assert (document["format"], document["schema"]) == ("distill_codes", 1)
    assert document["model"] == {
        "name": "bells",
        "digest": "1" * 64,
        "codec_digest": "a" * 64,
        "codebook_size": SIZE,
    }
    assert document["levels"] == ["Structure", "Detail"]
    assert document["frozen"] == [1]
    assert document["seconds_per_column"] == pytest.approx(8192 / 48_000)
    assert len(document["bands"]) == BANDS
    assert document["bands"][0][0] == 0.0
    assert document["bands"][-1][1] == pytest.approx(24_000, abs=0.1)
    assert all(low[1] == high[0] for low, high in zip(document["bands"], document["bands"][1:], strict=False))
    assert document["history"]["position"] == 2
    assert [edit["kind"] for edit in document["history"]["edits"]] == ["set", "freeze", "rename"]
    assert json.loads(grid_text(History(grid())))["history"] is None


def test_the_schema_in_the_docs_is_current() -> None:
    committed = (ROOT / "docs" / "reference" / "codes.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "run python scripts/write_schema.py"


def test_documents_follow_the_schema() -> None:
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for history in (History(grid()), History(grid(source=None)), edited(), History(grid(30)).do(edited().edits[0])):
        validator.validate(json.loads(grid_text(history)))
    assert not validator.is_valid({**json.loads(grid_text(edited())), "codes": [[["a"]]]})


def with_value(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        part: Any = document
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value

    return change


def without(*keys: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        part: Any = document
        for key in keys[:-1]:
            part = part[key]
        del part[keys[-1]]

    return change


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "newer": (with_value("schema", value=2), "schema 2; this version reads up to 1: update distill"),
    "schema is no number": (with_value("schema", value="1"), "no schema number"),
    "another format": (with_value("format", value="distill_model"), "its format is 'distill_model'"),
    "no codes": (without("codes"), "codes: Field required"),
    "empty codes": (with_value("codes", value=[]), "there are no codes"),
    "empty column": (with_value("codes", 1, value=[]), "column 1 has 0 bands"),
    "ragged bands": (without("codes", 2, 3), "column 2 has 7 bands, column 0 has 8"),
    "ragged levels": (without("codes", 2, 3, 0), "column 2, band 3 has 1 levels, not 2"),
    "code beyond the codebook": (with_value("codes", 0, 0, 0, value=SIZE), f"codes from 0 to {SIZE}"),
    "huge code": (with_value("codes", 0, 0, 0, value=10**30), "codes.0.0.0"),
    "negative code": (with_value("codes", 0, 0, 0, value=-1), "codes.0.0.0"),
    "fraction": (with_value("codes", 0, 0, 0, value=1.5), "codes.0.0.0"),
    "text": (with_value("codes", 0, 0, 0, value="1"), "codes.0.0.0"),
    "truth": (with_value("codes", 0, 0, 0, value=True), "codes.0.0.0"),
    "null": (with_value("codes", value=None), "codes"),
    "other levels": (with_value("levels", value=["Structure", "Timbre", "Detail"]), "does not go with"),
    "same labels": (with_value("levels", value=["Structure", "structure"]), "label of its own"),
    "label is a number": (with_value("levels", value=["Structure", "1"]), "no number"),
    "other bands": (without("bands", 0), "does not go with"),
    "digest": (with_value("model", "digest", value="x"), "model.digest"),
    "unknown key": (with_value("codez", value=1), "codez: Extra inputs are not permitted"),
    "frozen level": (with_value("frozen", value=[2]), "frozen levels"),
    "no duration": (with_value("seconds_per_column", value=0), "seconds_per_column"),
    "endless columns": (with_value("seconds_per_column", value=1e308), "seconds_per_column"),
    "endless sound": (with_value("source", "seconds", value=1e308), "source.seconds"),
    "endless gain": (with_value("source", "gain_db", value=1e6), "source.gain_db"),
    "edited by hand": (with_value("codes", 0, 0, 0, value=0), "not what its history gives; set history to null"),
    "unknown edit": (with_value("history", "edits", 0, "kind", value="stretch"), "history.edits.0"),
    "edit without selection": (without("history", "edits", 0, "selection"), "selection: Field required"),
    "edit outside": (with_value("history", "edits", 0, "selection", "columns", value=[1, 9]), r"edit 0 \(set\)"),
    "edit undone that does not fit": (with_value("history", "edits", 2, "level", value=7), r"edit 2 \(rename\)"),
    "position": (with_value("history", "position", value=4), "position is 4, but there are 3 edits"),
    "negative position": (with_value("history", "position", value=-1), "history.position"),
}


@pytest.mark.parametrize(("change", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_document_is_refused_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    document = json.loads(grid_text(edited()))
    change(document)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=words) as found:
        read_grid(path)
    assert "broken.json" in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a readable grid of codes"),
        (b"{", "not a readable grid of codes"),
        (b"[]", "no schema number"),
        (b'{"schema": 1, "codes": NaN}', "NaN is not a JSON number"),
        (b'{"schema": 1, "codes": \xff}', "not a readable grid of codes"),
        (b'{"schema": 1, "codes": ' + b"[" * 100_000, "not a readable grid of codes"),
        (b"RIFF....WAVE", "not a readable grid of codes"),
    ],
)
def test_a_file_that_is_no_grid_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=words):
        read_grid(path)


def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    text = grid_text(edited()).rstrip()
    path = tmp_path / "a.json"
    for end in range(0, len(text), 37):
        path.write_text(text[:end])
        with pytest.raises(ArtifactError):
            read_grid(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such grid file; distill encode makes one"):
        read_grid(tmp_path / "a.json")
    with pytest.raises(StorageError):
        read_grid(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        write_grid(tmp_path / "file" / "a.json", edited())


def test_two_grids_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    one, two = History(grid(4, seed=1)), History(grid(5, seed=2))
    found = swap(one.grid, two.grid)
    write_grid(tmp_path / "a.json", one)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        write_grids(tmp_path / "a.json", one.do(found.edit), tmp_path / "file" / "b.json", two.do(found.other_edit))
    assert read_grid(tmp_path / "a.json") == one
    write_grids(tmp_path / "a.json", one.do(found.edit), tmp_path / "b.json", two.do(found.other_edit))
    assert read_grid(tmp_path / "a.json").grid.codes[:4].tolist() == two.grid.codes[:4].tolist()
    assert read_grid(tmp_path / "b.json").undo().grid == two.grid
    with pytest.raises(DistillError):
        write_grids(tmp_path / "a.json", one, tmp_path / "a.json", two)


def test_codes_made_by_a_script_are_read(tmp_path: Path) -> None:
    document = json.loads(grid_text(History(grid(3))))
    document["codes"] = [list(map(list, column)) for column in cells_of(grid(3, seed=5).codes)] * 2
    (tmp_path / "a.json").write_text(json.dumps(document, indent=4))
    assert len(read_grid(tmp_path / "a.json").grid) == 6
