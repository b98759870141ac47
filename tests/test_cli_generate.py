"""`distill generate`: what its options do, sounds made again from their sidecars, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from distill.artifact.model_file import read_manifest, write_model
from distill.audio.sound import read_sound
from distill.cli.main import main
from distill.generation.production import Destination, produce
from distill.generation.render import generate
from distill.generation.request import Request
from model_example import manifest, prior, vqvae, write_example
from sounds_util import noise, save, tone

SECONDS = 0.3


class Ended:
    """What a command said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, " ".join(err.split())

    @property
    def paths(self) -> list[Path]:
        return [Path(line) for line in self.out.splitlines()]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a sound, and with much that cannot be used."""
    folder = tmp_path_factory.mktemp("originals")
    write_example(folder / "bells.distill")
    save(folder / "kick.wav", np.stack([tone(1.0), 0.5 * tone(1.0)], axis=1), subtype="PCM_16")
    save(folder / "silent.wav", np.zeros(44_100, np.float32))
    save(folder / "short.wav", tone(0.01))
    (folder / "cut.wav").write_bytes((folder / "kick.wav").read_bytes()[:40])
    (folder / "text.wav").write_text("this is no sound\n" * 50)
    write_example(folder / "no prior.distill", with_prior=False)
    damaged = prior()
    with torch.no_grad():
        damaged.norm.weight[0] = torch.nan
    write_model(folder / "nan.distill", manifest(), vqvae().state_dict(), damaged.state_dict())
    decoder = vqvae()
    with torch.no_grad():
        decoder.decoder.out[0].bias.fill_(torch.inf)
    write_model(folder / "inf.distill", manifest(), decoder.state_dict(), prior().state_dict())
    return folder


@pytest.fixture
def folder(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, and commands are run in it."""
    folder = tmp_path / "folder"
    shutil.copytree(originals, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def distill(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str, code: int = 0) -> Ended:
        monkeypatch.setattr(sys, "argv", ["distill", *arguments])
        try:
            main()
            ended = 0
        except SystemExit as exited:
            ended = int(exited.code or 0)
        shown = capfd.readouterr()
        assert ended == code, shown.err
        assert "Traceback" not in shown.err
        return Ended(ended, shown.out, shown.err)

    return run


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_sound_and_its_sidecar(folder: Path, distill: Any) -> None:
    done = distill("generate", "bells.distill", "-n", "3", "-d", str(SECONDS), "--seed", "5", "--sample-rate", "44100")
    assert [str(path) for path in done.paths] == [f"generated/bells_000{seed}.wav" for seed in (5, 6, 7)]
    for index, path in enumerate(done.paths):
        sidecar = json.loads(Path(f"{path}.json").read_text())
        assert sidecar["schema"] == 1
        assert sidecar["model_file"]["digest"] == read_manifest(Path("bells.distill")).tensor_digest
        assert (sidecar["sound"]["seed"], sidecar["sound"]["index"]) == (5 + index, index)
        assert sidecar["request"]["seconds"] == SECONDS
        assert sidecar["environment"]["threads"] == torch.get_num_threads()
        assert str(folder) not in json.dumps(sidecar)
        read = read_sound(path)
        assert (read.sample_rate, read.samples.shape[1], read.subtype) == (44_100, round(SECONDS * 44_100), "PCM_24")


def test_sounds_are_written_as_they_come_and_named_when_the_rest_fails(folder: Path, distill: Any) -> None:
    sounds = produce(Path("bells.distill"), Request(seconds=0.2), Destination(folder / "new"), count=3)
    assert not (folder / "new").exists()
    first = next(sounds)
    assert {path.name for path in (folder / "new").iterdir()} == {"bells_0000.wav", "bells_0000.wav.json"}
    assert (first.path.name, first.seconds) == ("bells_0000.wav", pytest.approx(0.2))
    (folder / "new" / "bells_0001.wav").mkdir()
    done = distill("generate", "bells.distill", "-d", "0.2", "-n", "2", "-o", "new", "--force", code=1)
    assert "cannot write new/bells_0001.wav" in done.err
    assert done.out == "new/bells_0000.wav\n"


def test_files_hold_what_the_library_makes(folder: Path, distill: Any) -> None:
    distill("generate", "bells.distill", "-d", str(SECONDS), "--bits", "32f", "--no-sidecar", "--as-made")
    (sound,) = generate(Path("bells.distill"), seconds=SECONDS)
    assert np.array_equal(read_sound(Path("generated/bells_0000.wav")).samples[0], sound.samples)
    assert [path.name for path in Path("generated").iterdir()] == ["bells_0000.wav"]


def test_new_sounds_are_finished_unless_they_shall_be_as_made(folder: Path, distill: Any) -> None:
    distill("generate", "bells.distill", "-d", "0.5", "-o", "new")
    distill("generate", "bells.distill", "-d", "0.5", "-o", "raw", "--as-made")
    said = [json.loads(Path(f"{name}/bells_0000.wav.json").read_text())["request"]["finish"] for name in ("new", "raw")]
    assert said == [True, False]
    new, raw = (read_sound(Path(f"{name}/bells_0000.wav")).samples[0] for name in ("new", "raw"))
    assert len(new) == len(raw)
    assert abs(new[0]) < 1e-6
    for options in (("--continue", "kick.wav"), ("--fill", "0.3:0.7", "--file", "kick.wav")):
        assert "--as-made" in distill("generate", "bells.distill", *options, "--as-made", code=2).err


@pytest.mark.parametrize("option", ["--natural", "--chain"])
def test_whether_sounds_end_by_themselves_is_the_models_or_ones_own(folder: Path, distill: Any, option: str) -> None:
    def natural(*options: str) -> bool:
        done = distill("generate", "bells.distill", "-d", "1", "--force", "-o", "new", *options)
        return bool(json.loads(Path(f"{done.paths[0]}.json").read_text())["request"]["natural"])

    # The example says nothing of how long its sounds were.
    assert natural() is False
    short = manifest().metadata.model_copy(update={"seconds": 5.0, "file_count": 10})
    states = vqvae().state_dict(), prior().state_dict()
    write_model(Path("bells.distill"), manifest().model_copy(update={"metadata": short}), *states)
    assert natural() is True
    assert natural(option) is (option == "--natural")


EXAMPLES = [
    ("-d", "0.3", "--format", "flac", "--bits", "16", "--sample-rate", "96000", "-n", "2"),
    ("-d", "4", "--natural", "--temperature", "0.9,1.2", "--top-k", "12,0", "--top-p", "0.95", "--min-p", "0.01,0.02"),
    ("-d", "0.4", "--continue", "kick.wav", "--bits", "32f"),
    ("--fill", "0.3:0.7", "--file", "kick.wav", "--levels", "Detail", "--bits", "16"),
]


@pytest.mark.parametrize("options", EXAMPLES, ids=["new", "natural", "continued", "filled"])
def test_a_sidecar_makes_the_same_file_again(folder: Path, distill: Any, options: tuple[str, ...]) -> None:
    done = distill("generate", "bells.distill", *options, "--seed", "11", "-o", "sounds")
    first = done.paths[-1]
    again = distill("generate", "--from-sidecar", f"{first}.json", "-o", "again", "--json")
    values = json.loads(again.out)
    assert values["identical"] is True
    (path,) = (Path(each["path"]) for each in values["sounds"])
    assert path == Path("again") / first.name
    assert path.read_bytes() == first.read_bytes()
    # The folders lie beside each other, so even the paths in the sidecars are the same.
    assert Path(f"{path}.json").read_bytes() == Path(f"{first}.json").read_bytes()


def test_a_sidecar_makes_the_same_file_again_in_a_fresh_process(folder: Path, distill: Any) -> None:
    distill("generate", "bells.distill", "-n", "3", "-d", "0.5", "-o", "sounds")
    # Another number of threads than here, which the sidecar overrules, and files that were moved.
    (folder / "elsewhere").mkdir()
    for name in ("bells.distill", "sounds"):
        shutil.move(name, f"elsewhere/{name}")
    subprocess.run(
        [sys.executable, "-m", "distill", "generate", "--from-sidecar", "elsewhere/sounds/bells_0002.wav.json", "-q"],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "3"},
    )
    made = Path("generated/bells_0002.wav")
    assert made.read_bytes() == Path("elsewhere/sounds/bells_0002.wav").read_bytes()


@pytest.mark.parametrize("format", ["ogg", "mp3"])
def test_lossy_sounds_are_made_from_the_same_samples_again(folder: Path, distill: Any, format: str) -> None:
    distill("generate", "bells.distill", "-d", "0.5", "--format", format)
    path = Path(f"generated/bells_0000.{format}")
    before = read_sound(path).samples
    assert "does not have" not in distill("generate", "--from-sidecar", f"{path}.json", "--force").err
    assert np.array_equal(before, read_sound(path).samples)


def test_what_is_given_stays_as_it_is(folder: Path, distill: Any) -> None:
    given = read_sound(Path("kick.wav")).samples
    distill("generate", "bells.distill", "--continue", "kick.wav", "-d", "0.5", "--bits", "16")
    continued = read_sound(Path("generated/kick_continue_0000.wav"))
    assert continued.samples.shape == (2, 44_100 + 22_050)
    assert np.array_equal(continued.samples[:, :44_100], given)
    distill("generate", "bells.distill", "--fill", "0.4:0.6", "--file", "kick.wav", "--bits", "16")
    filled = read_sound(Path("generated/kick_fill_0000.wav"))
    changed = np.flatnonzero((filled.samples != given).any(0)) / 44_100
    assert 0.2 < changed.min() < changed.max() < 0.8
    assert filled.samples.shape == given.shape


def test_a_long_sound_is_heard_as_far_as_the_window_goes(folder: Path, distill: Any) -> None:
    save(folder / "long.wav", noise(8.0))
    done = distill("generate", "bells.distill", "--continue", "long.wav", "-d", "0.2")
    assert "long.wav is longer than the model's window: it hears the last" in done.err
    assert read_sound(done.paths[0]).seconds == pytest.approx(8.2, abs=1e-4)


@pytest.mark.parametrize("options", [("-d", "0.4"), ("--fill", "0.2:0.5")], ids=["continued", "filled"])
def test_several_sounds_from_a_given_one_are_those_of_their_seeds(
    folder: Path, distill: Any, options: tuple[str, ...]
) -> None:
    what = ("--file", "kick.wav") if "--fill" in options else ("--continue", "kick.wav")
    together = distill("generate", "bells.distill", *what, *options, "-n", "2").paths
    (alone,) = distill("generate", "bells.distill", *what, *options, "--seed", "1", "-o", "alone").paths
    assert alone.read_bytes() == together[1].read_bytes() != together[0].read_bytes()


def test_nothing_is_replaced_without_force(folder: Path, distill: Any) -> None:
    call = ("generate", "bells.distill", "-d", "0.2", "--seed", "4")
    distill(*call)
    before = everything(folder)
    # The second of two names is taken; the sidecar's is, too.
    for more in (("--seed", "3", "-n", "2"), ("--no-sidecar",)):
        assert "exists" in distill(*call, *more, code=1).err
        assert everything(folder) == before
    Path("generated/bells_0004.wav").unlink()
    assert "bells_0004.wav.json exists" in distill(*call, code=1).err
    distill(*call, "-n", "2", "--force")
    assert everything(folder).items() >= before.items()
    distill(*call, "--force", "--no-sidecar")
    assert not Path("generated/bells_0004.wav.json").exists()


def test_the_next_sounds_have_the_next_seeds(folder: Path, distill: Any) -> None:
    call = ("generate", "bells.distill", "-d", "0.2")
    first = distill(*call, "-n", "2").paths
    again = distill(*call, "--format", "flac").paths
    third = distill(*call, "-n", "2").paths
    assert [path.name for path in (*first, *again, *third)] == [
        "bells_0000.wav",
        "bells_0001.wav",
        "bells_0002.flac",
        "bells_0003.wav",
        "bells_0004.wav",
    ]
    assert [path.name for path in distill(*call, "--force").paths] == ["bells_0000.wav"]
    assert [path.name for path in distill(*call, "-o", "elsewhere").paths] == ["bells_0000.wav"]
    assert "exists" in distill(*call, "--seed", "0", code=1).err
    # What is wrong with the settings is said before what is there.
    assert "the temperature has 3 values" in distill(*call, "--seed", "0", "--temperature", "1,1,1", code=2).err


REFUSED = [
    (["-d", "-1"], 2, "the duration must be above 0 and at most 3600 s, not -1"),
    (["-d", "0"], 2, "the duration must be above 0"),
    (["-d", "nan"], 2, "the duration must be above 0"),
    (["-d", "1e9"], 2, "at most 3600 s"),
    (["-d", "1e9", "--continue", "kick.wav"], 2, "at most 3600 s"),
    (["-n", "0"], 2, "the number of sounds must lie between 1 and 10000, not 0"),
    (["--seed", "-1"], 2, "the seed must lie between 0"),
    (["--temperature", "-0.1"], 2, "the temperature must lie between 0 and 10"),
    (["--temperature", "9999"], 2, "the temperature must lie between 0 and 10, not 9999"),
    (["-n", "3", "--temperature", "0"], 2, "all 3 sounds would be the same"),
    (["-n", "2", "--top-k", "1,1"], 2, "all 2 sounds would be the same"),
    (["--temperature", "1,nan"], 2, "the temperature must lie between 0 and 10"),
    (["--temperature", "1,1,1"], 2, "the temperature has 3 values, and the model has 2 levels"),
    (["--temperature", "hot"], 2, "--temperature hot: expected a number"),
    (["--top-k", "1.5"], 2, "--top-k 1.5: expected a whole number"),
    (["--top-p", "1.1"], 2, "top-p must be above 0 and at most 1"),
    (["--min-p", "0.1,2"], 2, "min-p must lie between 0"),
    (["--format", "opus"], 2, "unknown format opus; known: wav, flac, ogg, mp3"),
    (["--sample-rate", "8000"], 2, "the sample rate must be one of"),
    (["--format", "mp3", "--bits", "16"], 2, "mp3 has no bits to choose"),
    (["--device", "abacus"], 2, "device abacus is not present here"),
    (["--continue", "absent.wav"], 1, "absent.wav"),
    (["--continue", "silent.wav"], 1, "silent.wav: the sound is silent"),
    (["--continue", "text.wav"], 1, "text.wav: its content is not a sound"),
    (["--continue", "cut.wav"], 1, "cut.wav: the file ends inside its header"),
    (["--continue", "short.wav"], 1, "short.wav: a sound of 0.010 s is too short"),
    (
        ["--continue", "kick.wav", "--fill", "0:1", "--file", "kick.wav"],
        2,
        "--continue and --fill cannot be done at once",
    ),
    (["--fill", "0.1:0.2"], 2, "--fill START:END and --file FILE belong together"),
    (["--file", "kick.wav"], 2, "belong together"),
    (["--fill", "0.5", "--file", "kick.wav"], 2, "--fill 0.5: expected START:END"),
    (["--fill", "0.5:0.2", "--file", "kick.wav"], 2, "0.5 s to 0.2 s is no part of a sound of 1.000 s"),
    (["--fill", "0.5:7", "--file", "kick.wav"], 2, "is no part of a sound"),
    (["--fill", "0.1:0.2", "--file", "silent.wav"], 1, "silent.wav: the sound is silent"),
    (["--fill", "0.1:0.2", "--file", "kick.wav", "-d", "1"], 2, "leave --duration out"),
    (
        ["--fill", "0.1:0.2", "--file", "kick.wav", "--levels", "Timbre"],
        2,
        "there is no level 'Timbre': the levels are 0 Structure, 1 Detail",
    ),
    (["--levels", "Detail"], 2, "--levels needs --fill"),
    (["--from-sidecar", "a.json", "--seed", "1", "-n", "2"], 2, "leave --count, --seed out"),
]


@pytest.mark.parametrize(("options", "code", "words"), REFUSED, ids=[" ".join(each[0]) for each in REFUSED])
def test_bad_requests_are_one_line_and_write_nothing(
    folder: Path, distill: Any, options: list[str], code: int, words: str
) -> None:
    before = everything(folder)
    done = distill("generate", "bells.distill", *options, code=code)
    assert words in done.err
    assert done.out == ""
    assert everything(folder) == before
    assert not Path("generated").exists()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("no prior.distill", "no prior.distill has no prior: train one with distill train-prior"),
        ("nan.distill", "nan.distill is damaged: prior.norm.weight"),
        ("inf.distill", "inf.distill is damaged: vqvae.decoder.out.0.bias"),
        ("absent.distill", "absent.distill"),
        ("kick.wav", "kick.wav"),
    ],
)
def test_models_that_cannot_be_used_are_named(folder: Path, distill: Any, model: str, words: str) -> None:
    done = distill("generate", model, "-d", "0.2", code=1)
    assert words in done.err
    assert not Path("generated").exists()


def test_a_sidecar_of_another_model_is_refused_with_both_digests(folder: Path, distill: Any) -> None:
    distill("generate", "bells.distill", "-d", "0.2")
    other = vqvae()
    with torch.no_grad():
        other.decoder.out[0].bias.add_(0.1)
    digest = write_model(folder / "other.distill", manifest(), other.state_dict(), prior().state_dict())
    sidecar = "generated/bells_0000.wav.json"
    done = distill("generate", "other.distill", "--from-sidecar", sidecar, "-o", "new", code=1)
    assert digest in done.err
    assert read_manifest(Path("bells.distill")).tensor_digest in done.err
    Path("bells.distill").unlink()
    gone = distill("generate", "--from-sidecar", sidecar, "-o", "new", code=1)
    assert "is not there: name the model's file" in gone.err
    assert not Path("new").exists()


def test_a_given_sound_that_changed_is_refused(folder: Path, distill: Any) -> None:
    distill("generate", "bells.distill", "--continue", "kick.wav", "-d", "0.2")
    sidecar = "generated/kick_continue_0000.wav.json"
    shutil.move("kick.wav", "moved.wav")
    assert "--file" in distill("generate", "--from-sidecar", sidecar, "-o", "new", code=1).err
    distill("generate", "--from-sidecar", sidecar, "--file", "moved.wav", "-o", "new")
    save(folder / "moved.wav", tone(0.9))
    again = ("generate", "--from-sidecar", sidecar, "--file", "moved.wav", "-o", "newer")
    assert "moved.wav is not the sound that" in distill(*again, code=1).err
    assert not Path("newer").exists()


@pytest.fixture(scope="module")
def sidecar(originals: Path) -> str:
    """The text of a sidecar in a folder within the copy."""
    destination = Destination(originals / "made")
    (written,) = produce(originals / "bells.distill", Request(seconds=0.2), destination)
    assert written.sidecar is not None
    text = written.sidecar.read_text()
    shutil.rmtree(originals / "made")
    return text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda values: values.pop("request"), "request"),
        (lambda values: values.pop("schema"), "no schema number"),
        (lambda values: values.update(schema=2), "schema 2; this version reads up to 1"),
        (lambda values: values.update(mood="happy"), "unknown parameter mood"),
        (lambda values: values["request"].update(temperature="hot"), "request.temperature"),
        (lambda values: values["request"].update(temperature=-1), "the temperature must lie between 0 and 10"),
        (lambda values: values["request"].update(temperature=[1, 1, 1]), "the temperature has 3 values"),
        (lambda values: values["request"].update(seconds=1e9), "at most 3600 s"),
        (lambda values: values["request"].update(seconds=None), "a duration is needed"),
        (lambda values: values["request"].update(action="fill"), "start and end"),
        (lambda values: values["request"].update(action="continue"), "do not belong together"),
        (lambda values: values["export"].update(format="opus"), "unknown format opus"),
        (lambda values: values["export"].update(format="flac"), "is not the name of a flac"),
        (lambda values: values["sound"].update(file="../bells.wav"), "sound.file"),
        (lambda values: values["sound"].update(seed=-4), "the seed must lie between"),
        (lambda values: values["model_file"].update(digest="abc"), "model_file.digest"),
        (lambda values: values["environment"].update(threads=0), "environment.threads"),
        (lambda values: values["environment"].update(device="abacus"), "device abacus is not present"),
    ],
)
def test_a_sidecar_broken_by_hand_is_one_line(
    folder: Path, distill: Any, sidecar: str, change: Any, words: str
) -> None:
    values = json.loads(sidecar)
    change(values)
    Path("broken.json").write_text(json.dumps(values))
    of_the_model = words in ("the temperature has 3 values", "device abacus is not present")
    code = 2 if of_the_model else 1
    done = distill("generate", "--from-sidecar", "broken.json", "bells.distill", "-o", "new", code=code)
    assert words in done.err
    assert "broken.json" in done.err
    assert not Path("new").exists()


@pytest.mark.parametrize("text", ["", "not JSON", "[1]", '{"schema": 1', '{"schema": 1, "sound": NaN}'])
def test_what_is_no_sidecar_is_one_line(folder: Path, distill: Any, text: str) -> None:
    Path("broken.json").write_text(text)
    assert "broken.json" in distill("generate", "--from-sidecar", "broken.json", code=1).err


def test_a_sidecar_of_another_environment_warns(folder: Path, distill: Any) -> None:
    distill("generate", "bells.distill", "-d", "0.2")
    path = Path("generated/bells_0000.wav.json")
    values = json.loads(path.read_text())
    values["environment"]["torch"] = "1.0"
    values["sound"]["samples_digest"] = "0" * 64
    path.write_text(json.dumps(values))
    done = distill("generate", "--from-sidecar", str(path), "-o", "new", "--json")
    assert "The samples may differ from those of bells_0000.wav.json: torch" in done.err
    assert "does not have the samples" in done.err
    assert json.loads(done.out)["identical"] is False


def test_tags_name_the_model_and_the_seed(folder: Path, distill: Any) -> None:
    distill("generate", "bells.distill", "-d", "0.2", "--seed", "8", "--format", "flac")
    tags = soundfile.SoundFile("generated/bells_0008.flac").copy_metadata()
    assert read_manifest(Path("bells.distill")).tensor_digest in tags["comment"]
    assert "seed 8" in tags["comment"]
