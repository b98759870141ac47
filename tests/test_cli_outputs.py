"""What a command writes over, and how it ends when somebody or something ends it."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asking_util import write_askable
from command_util import Command
from distill.codes.file import write_grid
from distill.codes.history import History
from distill.codes.model import CodesModel
from distill.codes.sound import encode_file
from distill.errors import EXIT_INTERRUPTED
from distill.runs.folder import Order, write_order
from model_example import write_example
from page_util import wait
from pipeline_util import make_workspace
from pipeline_util import run as run_stages
from sounds_util import folder_of_tones, noise, save


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a sound, its grid, and sounds in a folder."""
    folder = tmp_path_factory.mktemp("outputs")
    model = CodesModel.load(write_example(folder / "bells.distill"))
    sound = save(folder / "noise.wav", noise(0.6))
    for name in ("a", "b"):
        write_grid(folder / f"{name}.json", History(encode_file(model, sound)))
    folder_of_tones(folder / "tones", 4)
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, in which commands run."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "suffix"),
    [
        (("codes", "show", "a.json", "--picture", "noise.wav"), ".png"),
        (("codes", "show", "a.json", "--usage", "a.json"), ".png"),
        (("codes", "diff", "a.json", "b.json", "--picture", "noise.wav"), ".png"),
        (("dataset", "check", "tones", "--report", "noise.wav"), ".json"),
        (("encode", "bells.distill", "noise.wav", "-o", "bells.distill", "--force"), ".json"),
        (("encode", "bells.distill", "noise.wav", "-o", "new.wav"), ".json"),
        (("codes", "set", "a.json", "1", "-o", "new.wav"), ".json"),
        (("model", "export", "bells.distill", "-o", "noise.wav", "--force"), ".distill"),
        (("train", "tones", "-o", "noise.wav", "--force"), ".distill"),
    ],
)
def test_nothing_takes_the_place_of_a_file_of_another_kind(
    here: Path, distill: Command, words: tuple[str, ...], suffix: str
) -> None:
    before = {path: path.read_bytes() for path in here.glob("*.*")}
    assert f"must end in {suffix}" in distill(*words, code=2).err
    assert {path: path.read_bytes() for path in here.glob("*.*")} == before


def test_ctrl_c_is_no_answer_to_a_question(here: Path) -> None:
    # Where the tests run in the background, children would inherit that SIGINT is ignored.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "distill", "model", "delete", "bells.distill"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
        assert asking.stderr
        asked = b""
        while b"permanently?" not in asked:
            asked += asking.stderr.read(1)
        asking.send_signal(signal.SIGINT)
        assert asking.wait(60) == 3
    assert (here / "bells.distill").is_file()


def test_the_case_of_an_ending_does_not_matter(here: Path, distill: Command) -> None:
    distill("dataset", "check", "tones", "--report", "REPORT.JSON")
    assert (here / "REPORT.JSON").is_file()


def test_a_file_in_the_place_of_a_folder_is_one_line(here: Path, distill: Command) -> None:
    assert "noise.wav is a file: choose another name" in distill(
        "kit", "bells.distill", "-o", "noise.wav", "--force", "--pads", "1", code=1
    ).err  # fmt: skip
    assert "nowhere: no such folder" in distill("run", "list", "nowhere", code=1).err
    assert "nowhere: no such folder" in distill("run", "prune", "nowhere", "--keep", "1", code=1).err


def test_a_project_is_no_dataset_of_itself(here: Path, distill: Command) -> None:
    distill("new", "project")
    shutil.copytree(here / "tones", here / "project" / "data" / "tones")
    for source in ("project", "project/data"):
        said = distill("dataset", "add", source, "--name", "all", "--project", "project", code=2).err
        assert "name the folder of the sounds alone" in said
    assert [path.name for path in (here / "project" / "data").iterdir() if path.is_dir()] == ["tones"]


def test_the_sounds_of_a_training_are_those_of_its_folder(here: Path, distill: Command) -> None:
    assert "data.path" in distill("train", "tones", "--set", "data.path=other", code=2).err
    assert not (here / "runs").exists()


def test_every_file_of_a_check_is_named_whole_in_a_narrow_terminal(
    here: Path, distill: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a name that is longer than any column of a table may be in a terminal of eighty columns.wav"
    save(here / "tones" / name, noise(0.3))
    (here / "tones" / "broken.wav").write_bytes(b"no sound")
    monkeypatch.setattr("distill.cli.console.PLAIN_WIDTH", 80)
    shown = distill("dataset", "check", "tones").out
    assert max(map(len, shown.splitlines()[:12])) <= 80
    cells = "".join(line.split("│")[1].strip() + " " for line in shown.splitlines() if line.startswith("│"))
    assert "".join(name.split()) in "".join(cells.split())
    assert any(line.startswith("broken.wav: ") for line in shown.splitlines())
    assert "…" not in shown


def test_runs_and_models_are_named_whole_in_a_narrow_terminal(
    here: Path, distill: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "models").mkdir()
    (here / "bells.distill").rename(here / "models" / "bells-of-a-rather-long-name.distill")
    run = make_workspace(here / "runs" / "bells-0123abcd", vqvae={"epochs": 1})
    write_order(run.root, Order("sounds"))
    run_stages(run, "prepare", "configure", "train_vqvae")
    lists = {
        ("run", "list"): ("bells-0123abcd", "train_vqvae"),
        ("model", "list", "--files-only"): ("models/bells-of-a-rather-long-name.distill",),
    }
    for width, wide in ((80, False), (160, True)):
        monkeypatch.setattr("distill.cli.console.PLAIN_WIDTH", width)
        for command, names in lists.items():
            shown = distill(*command).out
            assert max(map(len, shown.splitlines())) <= width
            rows = [line.split("│")[1:-1] for line in shown.splitlines() if line.startswith("│")]
            columns = {"".join(cell.strip() for cell in column) for column in zip(*rows, strict=True)}
            assert set(names) <= columns
            assert "…" not in shown
            assert ("epoch" in shown or "codebooks" in shown) == wide


def test_waveforms_are_left_out_where_they_cannot_be_shown(here: Path) -> None:
    command = [sys.executable, "-m", "distill", "dataset", "check", "tones"]
    said = {}
    for encoding in ("utf-8", "ascii"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        said[encoding] = subprocess.run(command, env=environment, capture_output=True, check=True).stdout.decode()
    assert "waveform" in said["utf-8"]
    assert "waveform" not in said["ascii"]
    assert "tone000.wav" in said["ascii"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_ended_says_so_and_leaves_nothing_half(here: Path, number: signal.Signals) -> None:
    write_askable(here / "kit.distill")
    command = [sys.executable, "-m", "distill", "kit", "kit.distill", "-o", "Kit", "--pads", "64", "--velocity", "4"]
    # Where the tests run in the background, children would inherit that SIGINT is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    signal.signal(signal.SIGINT, before)
    wait(lambda: list(here.glob(".kit-*")) or process.poll() is not None)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-1]) == (EXIT_INTERRUPTED, "distill: interrupted")
    assert "Traceback" not in said
    assert not list(here.glob(".kit-*"))
    assert not (here / "Kit").exists()


def done_well(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_what_cannot_be_printed_is_one_line(here: Path) -> None:
    command = [sys.executable, "-m", "distill", "model", "info", "bells.distill"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "distill: the output cannot be written: No space left on device"
    for stream, said in ((">&-", ("", "")), ("2>&-", (done_well(command), ""))):
        words = f"exec {' '.join(command)} {stream}"
        closed = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
        assert (closed.returncode, (closed.stdout, closed.stderr)) == (0, said)
