"""`distill encode`, `distill decode` and `distill codes`: results, files, errors in one line, exit codes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from command_util import Command
from distill.codes.file import read_grid, write_grid
from distill.codes.history import History
from distill.codes.model import CodesModel
from distill.codes.sound import encode_file
from model_example import SIZE, write_example
from pipeline_util import bytes_of
from sounds_util import noise, save, tone

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, two sounds and their grids, a.json and b.json."""
    folder = tmp_path_factory.mktemp("codes")
    model = CodesModel.load(write_example(folder / "bells.distill"))
    for grid, path in (("a", save(folder / "ä tone.wav", tone(1.1))), ("b", save(folder / "noise.flac", noise(0.6)))):
        write_grid(folder / f"{grid}.json", History(encode_file(model, path)))
    return folder


@pytest.fixture
def distill(distill: Command, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in a copy of the folder; its JSON with --json, else what it printed, or its error."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> Any:
        ended = distill(*arguments, code=code)
        if code:
            assert len(ended.complaints) == 1 or code == 2, ended.err
            return ended.err
        return json.loads(ended.out) if "--json" in arguments else ended.out

    return run


def test_names_with_dollars_are_no_formulas(distill: Run) -> None:
    shutil.copy("a.json", "$_$.json")
    distill("codes", "rename", "$_$.json", "Detail", r"$\\frac$")
    distill("codes", "show", "$_$.json", "--picture", "codes.png")
    distill("codes", "diff", "$_$.json", "a.json", "--picture", "difference.png")
    assert Path("codes.png").stat().st_size > 1000
    assert Path("difference.png").stat().st_size > 1000


def test_a_grid_is_edited_through_a_link(distill: Run) -> None:
    Path("link.json").symlink_to("a.json")
    before = Path("a.json").read_bytes()
    distill("codes", "set", "link.json", "5", "--columns", "0")
    assert Path("link.json").is_symlink()
    assert Path("a.json").read_bytes() != before


def test_selected_columns_that_the_other_grid_lacks_are_told(distill: Run) -> None:
    columns = [len(json.loads(Path(name).read_text())["codes"]) for name in ("a.json", "b.json")]
    assert columns[0] > columns[1]
    said = f"{columns[0] - columns[1]} selected columns have no counterpart and stay unchanged"
    assert said in distill("codes", "blend", "bells.distill", "a.json", "b.json")
    assert said in distill("codes", "swap", "a.json", "b.json")


def test_encode_and_decode(distill: Run) -> None:
    values = distill("encode", "bells.distill", "ä tone.wav", "--output", "c.json", "--json")
    assert Path("c.json").read_bytes() == Path("a.json").read_bytes()
    assert (values["columns"], values["bands"], values["levels"]) == (7, 8, ["Structure", "Detail"])
    assert values["source"]["name"] == "ä tone.wav"
    assert values["source"]["seconds"] == pytest.approx(1.1)
    assert set(values["usage"]) == {"level_0", "level_1"}
    assert distill("decode", "bells.distill", "a.json", "-o", "b.wav") == "b.wav\n"
    heard = soundfile.info("b.wav")
    assert (heard.samplerate, heard.frames, heard.subtype) == (48_000, 52_800, "PCM_24")
    values = distill("decode", "bells.distill", "a.json", "-o", "c.flac", "--check", "--json")
    assert len(values["round_trip"]["by_sound"]) == 2
    assert "distance of the code vectors" in distill(
        "decode", "bells.distill", "a.json", "-o", "c.flac", "--check", "--force"
    )
    distill("decode", "bells.distill", "a.json", "-o", "d.wav", "--levels", "structure")
    assert soundfile.info("d.wav").frames == 52_800


def test_nothing_is_replaced_without_force(distill: Run) -> None:
    Path("x.wav").write_bytes(b"mine")
    before = bytes_of(Path())
    assert "--force" in distill("encode", "bells.distill", "noise.flac", "-o", "a.json", code=1)
    assert "--force" in distill("decode", "bells.distill", "a.json", "-o", "x.wav", code=1)
    # An edit has no such option.
    said = distill("codes", "set", "a.json", "1", "-o", "b.json", code=1)
    assert "choose another file" in said
    assert "--force" not in said
    assert bytes_of(Path()) == before
    distill("encode", "bells.distill", "noise.flac", "-o", "a.json", "--force")
    after = bytes_of(Path())
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == ["a.json"]


def test_every_edit_can_be_undone_and_done_again(distill: Run) -> None:
    start, other = read_grid(Path("a.json")).grid, read_grid(Path("b.json")).grid
    ends = []
    for words in (
        ("set", "a.json", "3", "--columns", "2", "--bands", "1", "--levels", "Detail"),
        ("set", "a.json", "5", "--seconds", "0.2:0.5", "--bands", "0:2,5"),
        ("swap", "a.json", "b.json", "--columns", "1:3", "--levels", "0"),
        ("blend", "bells.distill", "a.json", "b.json", "--weight", "0.4", "--level-weight", "detail=1"),
        ("randomize", "bells.distill", "a.json", "--columns", "3:4", "--seed", "3", "--top-k", "4"),
        ("reverse", "a.json", "--columns", "2:"),
        ("transpose", "a.json", "--by", "-1"),
        ("repeat", "a.json", "--columns", ":2", "--times", "2"),
        ("rename", "a.json", "Detail", "Shine"),
        ("freeze", "a.json", "Structure,shine"),
        ("freeze", "a.json", "0", "--off"),
    ):
        values = distill("codes", *words, "--json")
        assert values["grid"] == "a.json"
        ends.append(read_grid(Path("a.json")).grid)
        assert values["edits"] == values["done"] == len(ends)
        assert values["columns"] == len(ends[-1])
    assert ends[-1].labels == ("Structure", "Shine")
    assert ends[-1].frozen == (1,)
    assert len(ends[-1]) == len(start) + 4
    for grid in ends[-2::-1]:
        distill("codes", "undo", "a.json")
        assert read_grid(Path("a.json")).grid == grid
    said = distill("codes", "undo", "a.json")
    assert said.startswith("undone: set to 3: column 2; band 1; Detail\n")
    assert read_grid(Path("a.json")).grid == start
    assert "nothing to undo" in distill("codes", "undo", "a.json", code=1)
    distill("codes", "redo", "a.json", "--steps", "11")
    assert read_grid(Path("a.json")).grid == ends[-1]
    assert "nothing to redo" in distill("codes", "redo", "a.json", code=1)
    distill("codes", "undo", "b.json")
    assert read_grid(Path("b.json")).grid == other


def test_cells_that_come_and_go_are_changed_ones(distill: Run) -> None:
    cells = 8 * 2
    assert distill("codes", "repeat", "a.json", "--columns", "2", "--times", "5", "--json")["changed"] == 5 * cells
    assert distill("codes", "undo", "a.json", "--json")["changed"] == 5 * cells
    said = distill("codes", "repeat", "a.json", "--times", "2")
    assert f"{2 * 7 * cells} cells changed, 21 columns" in said


def test_an_edit_that_changes_nothing_is_none(distill: Run) -> None:
    distill("codes", "freeze", "a.json", "Structure")
    distill("codes", "freeze", "a.json", "Detail")
    distill("codes", "undo", "a.json")
    before = Path("a.json").read_bytes()
    assert distill("codes", "freeze", "a.json", "Structure").startswith("nothing changes: ")
    assert distill("codes", "transpose", "a.json", "--by", "0").startswith("nothing changes: ")
    assert Path("a.json").read_bytes() == before
    distill("codes", "swap", "a.json", "b.json", "--copy", "--columns", "0", "--levels", "Detail")
    again = distill("codes", "swap", "a.json", "b.json", "--copy", "--columns", "0", "--levels", "Detail", "--json")
    assert (again["changed"], again["edits"]) == (0, 2)


def test_an_edit_can_be_written_elsewhere(distill: Run) -> None:
    before = Path("a.json").read_bytes()
    assert distill("codes", "reverse", "a.json", "-o", "c.json", "--json")["grid"] == "c.json"
    assert Path("a.json").read_bytes() == before
    assert np.array_equal(read_grid(Path("c.json")).grid.codes, read_grid(Path("a.json")).grid.codes[::-1])


def test_swapping_says_what_grids_of_other_length_leave_out(distill: Run) -> None:
    one, two = read_grid(Path("a.json")).grid, read_grid(Path("b.json")).grid
    values = distill("codes", "swap", "a.json", "b.json", "--json")
    assert (values["swapped_columns"], values["left_out"]) == (len(two), len(one) - len(two))
    assert np.array_equal(read_grid(Path("a.json")).grid.codes[: len(two)], two.codes)
    assert np.array_equal(read_grid(Path("b.json")).grid.codes, one.codes[: len(two)])
    said = distill("codes", "swap", "a.json", "b.json")
    assert f"{len(one) - len(two)} selected columns have no counterpart" in said
    assert read_grid(Path("a.json")).grid == one
    before = Path("b.json").read_bytes()
    distill("codes", "swap", "a.json", "b.json", "--copy", "--columns", "0", "--at", "2")
    assert Path("b.json").read_bytes() == before
    assert np.array_equal(read_grid(Path("a.json")).grid.codes[0], two.codes[2])
    assert "given twice" in distill("codes", "swap", "a.json", "./a.json", code=2)


def test_show_and_diff(distill: Run) -> None:
    distill("codes", "set", "a.json", "7", "--columns", "1")
    values = distill("codes", "show", "a.json", "--picture", "p.png", "--usage", "u.png", "--json")
    assert values["columns"] == 7
    assert values["codes"] == read_grid(Path("a.json")).grid.codes.tolist()
    assert values["edits"] == ["set to 7: column 1"]
    assert distill("codes", "show", "a.json", "--columns", "2:4", "--json")["first"] == 2
    said = distill("codes", "show", "a.json")
    for words in ("bells", "ä tone.wav", "0 Structure, 1 Detail", "set to 7", "Structure 7"):
        assert words in said
    distill("codes", "repeat", "b.json", "--times", "9")
    assert "more columns: --columns 24:" in distill("codes", "show", "b.json")
    values = distill("codes", "diff", "a.json", "b.json", "--picture", "d.png", "--json")
    assert values["missing"] > 0
    assert not values["same"]
    assert "Structure: " in distill("codes", "diff", "a.json", "b.json")
    assert distill("codes", "diff", "a.json", "a.json") == "the codes are the same\n"
    for name in ("p", "u", "d"):
        assert Path(f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_preview(distill: Run) -> None:
    values = distill("codes", "preview", "bells.distill", "--code", "3", "--length", "1", "-o", "entries", "--json")
    assert [(each["level"], each["code"]) for each in values["entries"]] == [("Structure", 3), ("Detail", 3)]
    assert all(soundfile.info(each["path"]).frames == 8192 for each in values["entries"])
    distill("codes", "preview", "bells.distill", "--levels", "Detail", "--length", "1", "-o", "all.wav")
    assert soundfile.info("all.wav").frames == SIZE * 8192
    values = distill("codes", "preview", "bells.distill", "a.json", "--columns", "2:4", "-o", "two.wav", "--json")
    assert values["seconds"] == pytest.approx(2 * 8192 / 48_000)
    distill("codes", "preview", "bells.distill", "a.json", "--bands", "0", "-o", "band.wav", "--true-level")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("codes", "set", "a.json", str(SIZE)), 2, f"no code {SIZE}"),
        (("codes", "set", "a.json", "--", "-3"), 2, "no code -3"),
        (("codes", "set", "a.json", "1", "--columns", "7"), 2, "leaves the grid"),
        (("codes", "set", "a.json", "1", "--columns", "5:5"), 2, "nothing is selected"),
        (("codes", "set", "a.json", "1", "--columns", "x"), 2, "--columns takes a number or FIRST:END"),
        (("codes", "set", "a.json", "1", "--seconds", "nan:1"), 2, "--seconds takes FROM:TO"),
        (("codes", "set", "a.json", "1", "--seconds", "0:99"), 2, "--seconds takes FROM:TO"),
        (("codes", "set", "a.json", "1", "--columns", "1", "--seconds", "0:1"), 2, "not both"),
        (("codes", "set", "a.json", "1", "--levels", "Timbre"), 2, "levels are 0 Structure, 1 Detail"),
        (("codes", "set", "a.json", "1", "--levels", ""), 2, "what follows --levels is empty"),
        (("codes", "set", "a.json", "1", "--bands", "9"), 2, "bands are 0 to 7, not 9"),
        (("codes", "set", "a.json", "1", "--bands", "0:999999999"), 2, "bands are 0 to 7, not 8"),
        (("codes", "set", "missing.json", "1"), 1, "no such grid file"),
        (("codes", "show", "bells.distill"), 1, "not a readable grid of codes"),
        (("codes", "blend", "bells.distill", "a.json", "b.json", "-w", "nan"), 2, "a weight must be a number"),
        (("codes", "blend", "bells.distill", "a.json", "b.json", "--level-weight", "x"), 2, "LEVEL=WEIGHT"),
        (("codes", "swap", "a.json", "b.json", "--at", "9"), 2, "nothing is selected in the other grid"),
        (("codes", "randomize", "bells.distill", "a.json", "--seed", "-1"), 2, "seed"),
        (("codes", "rename", "a.json", "0", "2"), 2, "no number"),
        (("codes", "freeze", "a.json", ""), 2, "what follows a.json is empty"),
        (("codes", "undo", "a.json", "-n", "0"), 2, "1 or more"),
        (("codes", "preview", "bells.distill", "--code", "99", "-o", "x.wav"), 2, "no code 99"),
        (("codes", "preview", "bells.distill", "--columns", "1", "-o", "x.wav"), 2, "name a grid file"),
        (("codes", "preview", "bells.distill", "a.json", "-o", "x.xyz"), 2, "cannot write .xyz"),
        (("codes", "preview", "bells.distill", "a.json", "-o", "x.wav", "--length", "2"), 2, "for codebook entries"),
        (("decode", "bells.distill", "a.json", "-o", "x.xyz"), 2, "cannot write .xyz"),
        (("decode", "missing.distill", "a.json", "-o", "x.wav"), 1, "missing.distill"),
        (("encode", "bells.distill", "a.json", "-o", "x.json"), 1, "not a sound"),
        (("encode", "bells.distill", "missing.wav", "-o", "x.json"), 1, "missing.wav"),
        (("encode", "bells.distill", "noise.flac", "-o", "x.json", "--device", "abacus"), 2, "abacus is not available"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_said_in_one_line(distill: Run, words: tuple[str, ...], status: int, said: str) -> None:
    before = bytes_of(Path())
    assert said in distill(*words, code=status)
    assert bytes_of(Path()) == before


def test_a_grid_of_another_model_is_refused_with_both_digests(distill: Run) -> None:
    document = json.loads(Path("a.json").read_text())
    own = document["model"]["digest"]
    document["model"] |= {"digest": "2" * 64, "codec_digest": "b" * 64, "name": "drums"}
    Path("foreign.json").write_text(json.dumps(document))
    for words in (
        ("decode", "bells.distill", "foreign.json", "-o", "x.wav"),
        ("codes", "swap", "a.json", "foreign.json"),
        ("codes", "blend", "bells.distill", "a.json", "foreign.json"),
        ("codes", "diff", "a.json", "foreign.json"),
        ("codes", "preview", "bells.distill", "foreign.json", "-o", "x.wav"),
    ):
        said = distill(*words, code=1)
        assert own in said
        assert "2" * 64 in said
