"""The tutorial does what it says: all of its commands are run, in order, with the smallest settings."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import soundfile

from command_util import Command
from page_util import LEAST

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial" / "first-model.md"
SETTINGS = [f"--set={each}" for each in LEAST]
# What is here already.
INSTALL = ["python3 -m venv .venv", "source .venv/bin/activate", "pip install 'distill-audio[ui]'"]

DISTILL = """\
#!/bin/sh
exec {python} -m distill "$@"
"""


def commands() -> list[str]:
    """The lines of the tutorial's grey boxes."""
    text = TUTORIAL.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```bash\n(.*?)^ *```$", text, flags=re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines()]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """That of somebody who has a `distill`, and whose own folder is empty."""
    monkeypatch.delenv("DISTILL_PROJECT")
    monkeypatch.setenv("DISTILL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    script = tmp_path / "bin" / "distill"
    script.parent.mkdir()
    script.write_text(DISTILL.format(python=shlex.quote(sys.executable)))
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}"}


def test_the_tutorial_can_be_followed(
    tmp_path: Path, environment: dict[str, str], distill: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = commands()
    assert [line for line in lines if line in INSTALL] == INSTALL
    where = tmp_path / "somebody"
    where.mkdir()
    said: dict[str, str] = {}
    for line in lines:
        if line in INSTALL:
            continue
        if line.startswith("cd "):
            where /= line.removeprefix("cd ")
            # Step 3 is done with the mouse.
            shutil.copytree(ROOT / "sounds", where / "kit")
        elif line.startswith("distill start "):
            _served(line, where, environment)
        elif line.startswith("distill "):
            # Within this process: one of its own would import for longer than it works.
            monkeypatch.chdir(where)
            _, command, *rest = shlex.split(line)
            ended = distill(command, *rest, *(SETTINGS if command == "train" else ()))
            said[line.partition(" ")[2]] = ended.out + ended.err
        else:
            done = subprocess.run(["bash", "-c", line], cwd=where, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert "24 of 24 files are usable, 23.5 s in all" in said["dataset check kit"]
    assert "kit.distill" in said["train kit -o kit.distill --plan sketch"].splitlines()
    made = {name: sorted(path.name for path in (where / name).glob("*.wav")) for name in ("new", "varied", "between")}
    assert made["new"] == [f"kit_{number:04}.wav" for number in range(8)]
    assert (len(made["varied"]), len(made["between"])) == (3, 5)
    assert all(soundfile.info(where / "new" / name).duration > 0 for name in made["new"])
    for name in ("kit.distill", "best.distill", "MyKit/MyKit.sfz", "MyKit/MyKit.dspreset", "MyKit/drumkit.xml"):
        assert (where / name).is_file(), name
    # Nothing but what the tutorial speaks of is in the folder.
    found = {path.name for path in where.iterdir()}
    assert found == {"kit", "kit.distill", "new", "varied", "between", "MyKit", "MyKit.zip", "best.distill"}


def _served(line: str, where: Path, environment: dict[str, str]) -> None:
    """Open the page as the terminal says, and end it with Ctrl-C."""
    # Its address has a token, which a browser keeps as a cookie.
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    command = ["bash", "-c", f"exec {line}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=where, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            address = next(word for word in process.stdout.readline().split() if word.startswith("http://"))
            with browser.open(address, timeout=30) as answer:
                assert "distill" in answer.read().decode()
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
