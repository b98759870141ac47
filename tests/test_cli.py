"""The command as people call it: results, errors in one line, exit codes, options before and after arguments."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from command_util import Command
from distill.artifact.model_file import read_manifest
from distill.cli.main import main
from page_util import wait
from pipeline_util import TINY
from sounds_util import folder_of_tones

SETTINGS = [
    f"--set={section}.{key}={json.dumps(value)}"
    for section, values in TINY.items()
    if section != "model"
    for key, value in values.items()
    if (section, key) not in {("vqvae", "epochs"), ("prior", "epochs"), ("run", "device")}
]


def started(*arguments: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "distill", *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a model was trained."""
    folder = tmp_path_factory.mktemp("cli")
    folder_of_tones(folder / "my tönes", 6)
    done = started(
        "train",
        "--epochs",
        "2",
        "my tönes",
        *SETTINGS,
        "--set=prior.epochs=2",
        "-o",
        "out/bells.distill",
        "--model-name",
        "bells",
        "--json",
        cwd=folder,
    )
    made = [path.relative_to(folder) for path in folder.rglob("*")]
    inside = sorted(path.as_posix() for path in made if path.parts[0] not in (".distill", "runs"))
    (folder / "made.json").write_text(json.dumps([sorted({path.parts[0] for path in made}), inside]))
    (folder / "train.json").write_text(done.stdout)
    (folder / "train.err").write_text(done.stderr)
    return folder


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--rvq-levels", "9"),
            "--rvq-levels: vqvae.num_quantizers: Input should be less than or equal to 4 (given: 9)",
        ),
        (("--epochs", "0"), "--epochs: vqvae.epochs: "),
        (("--preset", "tunes"), "--preset: run.preset: "),
        (("--set", "vqvae.num_quantizers=9"), "--set: vqvae.num_quantizers: "),
    ],
)
def test_a_wrong_value_is_answered_by_the_name_of_its_option(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["distill", "train", "sounds", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_train_says_where_the_model_is_and_how_it_went(trained: Path) -> None:
    values = json.loads((trained / "train.json").read_text())
    assert values["model"] == "out/bells.distill"
    assert values["verdict"] in {"pass", "warn", "fail"}
    assert values["memorization_warnings"] == []
    assert values["reports"]["train_vqvae"]["epochs"] == 2
    said = (trained / "train.err").read_text()
    for words in ("level 0", "level 1", "level 2", "held-out", "perplexity", "Memorization"):
        assert words in said
    assert read_manifest(trained / "out" / "bells.distill").metadata.name == "bells"


def test_the_same_command_goes_on_and_another_is_refused(
    trained: Path, distill: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    model = trained / "out" / "bells.distill"
    before = model.read_bytes()
    same = [
        "train",
        "my tönes",
        "--epochs",
        "2",
        *SETTINGS,
        "--set=prior.epochs=2",
        "-o",
        "out/bells.distill",
        "--model-name",
        "bells",
    ]
    done = distill(*same)
    assert done.out == "out/bells.distill\n"
    assert model.read_bytes() == before
    other = distill("train", "my tönes", "--seed", "3", *SETTINGS, "-o", "out/bells.distill", code=1)
    assert "exists and is another file: choose another file, or replace it with --force" in other.err
    assert model.read_bytes() == before


def test_generate(trained: Path, distill: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    done = distill("generate", "-n", "2", "out/bells.distill", "--duration", "0.4", "-o", "new", "--format", "flac")
    paths = done.out.split("\n")[:-1]
    assert len(paths) == 2
    assert all((trained / path).is_file() for path in paths)
    (first, _) = paths
    same = ("generate", "out/bells.distill", "--seed", "0", "-o", "new", "--format", "flac")
    again = distill(*same, code=1)
    assert first in again.err
    assert "force" in again.err


def test_train_prior_replaces_the_model_whole(trained: Path, distill: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    import shutil

    shutil.copy(trained / "out" / "bells.distill", trained / "copy.distill")
    before = read_manifest(trained / "copy.distill")
    free = [each for each in SETTINGS if not each.startswith("--set=vqvae.")]
    words = "--set=model.description=other", "--set=model.tags=[bell]"
    done = distill("train-prior", "copy.distill", "my tönes", "--epochs", "1", *free, *words, "--json")
    after = read_manifest(trained / "copy.distill")
    assert json.loads(done.out)["model"] == "copy.distill"
    assert after.prior_metadata is not None
    assert after.prior_metadata.epochs == 1
    assert (after.metadata.description, after.metadata.tags) == ("other", ("bell",))
    assert after.vqvae_config == before.vqvae_config
    assert after.metadata.best_val_loss == before.metadata.best_val_loss
    assert after.tensor_digest != before.tensor_digest


def test_model_info(trained: Path, distill: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    done = distill("model", "info", "out/bells.distill", "--json")
    assert json.loads(done.out)["metadata"]["name"] == "bells"
    shown = distill("model", "info", "out/bells.distill")
    assert "level 2" in shown.out
    (trained / "old.distill").write_bytes(b"PK\x03\x04 and so on")
    refused = distill("model", "info", "old.distill", code=1)
    assert "version 1" in refused.err
    assert len(refused.complaints) == 1


def test_dataset_check(trained: Path, distill: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    (trained / "my tönes" / "text.wav").write_text("no sound")
    try:
        done = distill("dataset", "check", "my tönes", "--json", "--report", "report.json")
        shown = distill("dataset", "check", "my tönes").out
    finally:
        (trained / "my tönes" / "text.wav").unlink()
    values = json.loads(done.out)
    assert values["usable"] == 6
    # What can be used needs no reason.
    assert "text.wav: " in shown
    assert ": usable" not in shown
    assert values["verdicts"] == {"ok": 6, "unreadable": 1}
    assert json.loads((trained / "report.json").read_text())["usable"] == 6
    monkeypatch.chdir(trained / "my tönes")
    assert json.loads(distill("dataset", "check", ".", "--json").out)["folder"] == "my tönes"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "nowhere"], 1, "no such folder"),
        (["train", "empty"], 1, "empty"),
        (["train"], 2, "Missing argument"),
        (["train", "empty", "--epochs", "0"], 2, "vqvae.epochs"),
        (["train", "empty", "--epochs", "x"], 2, "Invalid value"),
        (["train", "empty", "--preset", "best"], 2, "'tuned', 'sketch', 'sharp' or 'reference'"),
        (["train", "empty", "--plan", "rough"], 2, "no plan 'rough'"),
        (["train", "empty", "--set", "vqvae.dropot=1"], 2, "did you mean dropout?"),
        (["train", "empty", "--device", "cuda"], 2, "cuda is not available"),
        (["train", "empty", "-o", "file/model.distill"], 1, "cannot write"),
        (["generate", "nowhere.distill"], 1, "nowhere.distill"),
        (["generate", "nowhere.distill", "--temperature", "-1"], 2, "temperature"),
        (["model", "info", "empty"], 1, "no model file and no registered model"),
        (["dataset", "add", "empty"], 2, "is not in a project"),
        (["stage", "prepare"], 1, "holds no params.yaml: name a project or run folder with --workspace"),
        (["tracking", "sync"], 1, "holds no finished run"),
        (["tracking", "sync", "nowhere"], 1, "nowhere is no folder"),
        (["stage", "nothing"], 2, "there is no stage"),
        (["train-prior", "m", "empty", "--set", "vqvae.epochs=3"], 2, "--set vqvae.epochs: it is fixed by the model"),
        (["train-prior", "m", "empty", "--set", "spectrogram.n_mels=64"], 2, "fixed by the model"),
        (["train-prior", "m", "empty", "--set", "model.name=x"], 2, "with --model-name"),
        # An unset variable would mean the folder where one is, or the default.
        (["train", ""], 2, "what follows train is empty"),
        (["train-prior", "m.distill", ""], 2, "what follows m.distill is empty"),
        (["dataset", "check", ""], 2, "what follows check is empty"),
        (["dataset", "diff", "empty", ""], 2, "what follows empty is empty"),
        (["dataset", "add", "empty", "--name", ""], 2, "what follows --name is empty"),
        (["generate", "-o", ""], 2, "what follows -o is empty"),
        (["generate", "--label="], 2, "--label= is empty"),
        (["kit", "m.distill", "-o", "kit", "--pads", ""], 2, "what follows --pads is empty"),
        (["stage", "prepare", "--code", "99"], 2, "version 99"),
    ],
)
def test_wrong_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, distill: Command, arguments: list[str], code: int, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    if "cuda" in arguments:
        folder_of_tones(tmp_path / "empty", 2)
    monkeypatch.chdir(tmp_path)
    done = distill(*arguments, code=code)
    assert said in done.err
    assert done.out == ""
    assert not [path for path in tmp_path.rglob("*.distill") if path.is_file()]
    if "cuda" in arguments:
        assert not (tmp_path / "runs").exists()
        assert "Prepare" not in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_ctrl_c_saves_and_says_how_to_go_on(trained: Path, tmp_path: Path, number: signal.Signals) -> None:
    folder_of_tones(tmp_path / "tones", 6)
    command = ["train", "tones", "--epochs", "400", *SETTINGS, "--model-name", "bells"]
    process = subprocess.Popen(
        [sys.executable, "-m", "distill", *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    wait(lambda: list(tmp_path.rglob("checkpoint-*")))
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "run the same command to resume" in said
    assert not (tmp_path / "models" / "bells.distill").exists()


def test_help_and_version_need_no_torch(tmp_path: Path) -> None:
    script = "import sys\nfrom distill.cli.main import app\nassert not {'torch', 'pandas', 'mlflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    done = started("--help", cwd=tmp_path)
    assert "Exit codes" in done.stdout
    for command, network in (("train", "VQ-VAE"), ("train-prior", "prior")):
        assert f"Epochs of the {network}" in started(command, "--help", cwd=tmp_path).stdout
    assert started("--version", cwd=tmp_path).stdout.startswith("distill ")


def test_nothing_is_written_where_nothing_was_asked(trained: Path) -> None:
    top, inside = json.loads((trained / "made.json").read_text())
    assert top == [".distill", "my tönes", "out", "runs"]
    sounds = ["my tönes", *(f"my tönes/tone{index:03}.wav" for index in range(6))]
    assert inside == [*sounds, "out", "out/bells.distill"]


def test_a_stage_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """A killed `dvc repro` leaves no training behind, and what the training did is saved."""
    from pipeline_util import make_workspace, run

    workspace = make_workspace(tmp_path, vqvae={"epochs": 4000})
    run(workspace, "prepare", "configure")
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'distill', 'stage', 'train_vqvae', '-q'])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    wait(lambda: list(tmp_path.rglob("checkpoint-*")))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    psutil.wait_procs([child], timeout=30)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


LEFT_ALONE = """
import os, time
from distill.live.stop_request import StopRequest, remember_parent, stop_with_owner
remember_parent()
parent = os.getppid()
print("up", flush=True)
until = time.monotonic() + 60
while os.getppid() == parent and time.monotonic() < until:
    time.sleep(0.01)
request = StopRequest()
stop_with_owner(request)
until = time.monotonic() + 2
while not request.asked and time.monotonic() < until:
    time.sleep(0.01)
print(request.asked, flush=True)
"""


def test_a_stage_whose_parent_was_killed_while_it_began_ends() -> None:
    script = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', sys.argv[1]])"
    parent = subprocess.Popen([sys.executable, "-c", script, LEFT_ALONE], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        parent.kill()
        assert parent.stdout.readline() == "True\n"


def test_of_a_text_that_is_no_utf_8_only_the_place_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("distill.cli.main.app", lambda: f"{'x' * 9000} b\udcff.wav {'y' * 9000}".encode())
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert "b\\udcff.wav" in said
    assert "no UTF-8" in said
    assert len(said) < 400
