"""Names and messages on the terminal: shown as they are, never markup, nothing that does something to the terminal."""

import logging
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from rich.table import Table

from cases_util import NAMES
from distill.cli.console import lines_of, print_result, remark, set_up_logging, stderr, stdout_console
from distill.cli.progress import shown_progress
from distill.live.events import Warned
from distill.words import visible
from sounds_util import save, tone


def hidden(text: str) -> set[str]:
    """Characters that act on a terminal, but for the ends of lines."""
    return {each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp") and each != "\n"}


@pytest.mark.parametrize("name", NAMES)
def test_a_text_is_shown_whole_and_its_hidden_characters_as_escapes(name: str) -> None:
    shown = visible(name)
    assert hidden(shown) == set()
    assert "\n" not in shown
    assert visible(shown) == shown
    if name.isprintable():
        assert shown == name
    if name.isascii() and "\\" not in name:
        assert shown.encode().decode("unicode_escape") == name


def test_what_joins_letters_and_emoji_stays() -> None:
    family, persian = "👩\u200d👧 drum", "می\u200cخواهم"
    assert (visible(family), visible(persian)) == (family, persian)
    assert visible("lone \udcff.wav") == "lone \\udcff.wav"


@pytest.mark.parametrize("name", NAMES)
def test_every_way_to_the_terminal_shows_a_name_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(quiet=False, verbose=False)
    table = Table("file", title=name)
    table.add_row(name)
    table.add_row(lines_of([name, name]))
    stdout_console().print(table)
    stdout_console().print(f"before {name} after")
    stderr.print(f"before {name} after")
    remark("Warning", name)
    logging.getLogger("distill.some.module").warning("%s is odd", name)
    with shown_progress() as listener:
        listener(Warned("prepare", name, name))
    said = capsys.readouterr()
    assert hidden(said.out + said.err) == set()
    assert said.out.count(visible(name)) >= 5
    assert said.err.count(visible(name)) == 4
    print_result([name], {"file": name}, as_json=False)
    assert capsys.readouterr().out == f"{name}\n"


def test_the_command_lists_every_file_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "x [" / "[fx]"
    for index, name in enumerate(NAMES):
        save(folder / name, tone(frequency=200 + 30 * index), format="WAV")
    (folder / "[no] sound\x1b[2J.wav").write_text("text")
    command = [sys.executable, "-m", "distill", "dataset", "check", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert hidden(done.stdout + done.stderr) == set()
    cells = [line.split("│")[1].strip() for line in done.stdout.splitlines() if line.count("│") > 7]
    joined = "".join(cells).replace(" ", "")
    for name in NAMES:
        assert visible(name).replace(" ", "") in joined


def test_an_error_about_a_name_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "distill", "dataset", "check", f"{tmp_path}/gone [x]\n\x1b[31m\u202e"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "gone [x]\\n\\x1b[31m\\u202e: no such folder" in done.stderr
