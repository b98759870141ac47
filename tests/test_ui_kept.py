"""What a page's server keeps: its own, while it runs, and nobody else's."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("gradio")

from distill.errors import UsageError
from distill.ui.context import Context
from distill.ui.server_folder import own_folder
from sounds_util import save, tone

KILLED = """
import os, signal, sys
from pathlib import Path
from distill.ui.context import Context
from distill.ui.server_folder import own_folder
context = Context(Path(sys.argv[1]))
with own_folder(context):
    (context.files / "left").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_second_page_leaves_what_was_dropped_in_the_first(tmp_path: Path) -> None:
    first, second = Context(tmp_path), Context(tmp_path)
    with own_folder(first):
        dropped = save(first.uploads / "kick.wav", tone(0.1))
        with own_folder(second):
            assert dropped.is_file()
            assert first.uploaded(str(dropped)) == dropped
            with pytest.raises(UsageError, match="not among what was uploaded"):
                second.uploaded(str(dropped))
        assert dropped.is_file()
        assert not second.files.exists()
    assert not first.files.exists()


def test_what_a_killed_server_left_is_removed_by_the_next(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (left,) = tmp_path.glob(".distill/ui/*/left")
    with own_folder(Context(tmp_path)):
        assert not left.parent.exists()


def test_only_uploads_are_taken(tmp_path: Path) -> None:
    context = Context(tmp_path / "project")
    outside = save(tmp_path / "outside.wav", tone(0.1))
    with own_folder(context):
        inside = save(context.uploads / "a" / "inside.wav", tone(0.1))
        (context.uploads / "link.wav").symlink_to(outside)
        (context.uploads / "shelf").symlink_to(tmp_path)
        desk = save(context.files / "desks" / "other.wav", tone(0.1))
        for path in (
            outside,
            desk,
            context.uploads,
            context.uploads / "link.wav",
            context.uploads / "shelf" / "outside.wav",
            context.uploads / ".." / "desks" / "other.wav",
            context.uploads / "a" / "gone.wav",
            "",
        ):
            with pytest.raises(UsageError, match="not among what was uploaded"):
                context.uploaded(str(path))
        assert context.uploaded(str(context.uploads / "a" / ".." / "a" / "inside.wav")) == inside
