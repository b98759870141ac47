"""`distill generate`: what its options do, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from command_util import Command
from distill.artifact.model_file import read_manifest, write_model
from distill.audio.sound import read_sound
from distill.generation.generator import generate
from distill.generation.sound_request import Request
from distill.generation.writing import Destination, produce
from generate_util import copied, make_originals
from model_example import manifest, prior, vqvae
from sounds_util import noise, save

SECONDS = 0.3


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_originals(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def folder(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(originals, tmp_path, monkeypatch)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_sound_and_its_sidecar(folder: Path, distill: Command) -> None:
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


def test_sounds_are_written_as_they_come_and_named_when_the_rest_fails(folder: Path, distill: Command) -> None:
    sounds = produce(Path("bells.distill"), Request(seconds=0.2), Destination(folder / "new"), count=3)
    assert not (folder / "new").exists()
    first = next(sounds)
    assert {path.name for path in (folder / "new").iterdir()} == {"bells_0000.wav", "bells_0000.wav.json"}
    assert (first.path.name, first.seconds) == ("bells_0000.wav", pytest.approx(0.2))
    (folder / "new" / "bells_0001.wav").mkdir()
    done = distill("generate", "bells.distill", "-d", "0.2", "-n", "2", "-o", "new", "--force", code=1)
    assert "cannot write new/bells_0001.wav" in done.err
    assert done.out == "new/bells_0000.wav\n"


def test_files_hold_what_the_library_makes(folder: Path, distill: Command) -> None:
    distill("generate", "bells.distill", "-d", str(SECONDS), "--bits", "32f", "--no-sidecar", "--as-made")
    (sound,) = generate(Path("bells.distill"), seconds=SECONDS)
    assert np.array_equal(read_sound(Path("generated/bells_0000.wav")).samples[0], sound.samples)
    assert [path.name for path in Path("generated").iterdir()] == ["bells_0000.wav"]


def test_new_sounds_are_finished_unless_they_shall_be_as_made(folder: Path, distill: Command) -> None:
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
def test_whether_sounds_end_by_themselves_is_the_models_or_ones_own(
    folder: Path, distill: Command, option: str
) -> None:
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


def test_what_is_given_stays_as_it_is(folder: Path, distill: Command) -> None:
    given = read_sound(Path("kick.wav")).samples
    distill("generate", "bells.distill", "--continue", "kick.wav", "-d", "0.5", "--bits", "16")
    continued = read_sound(Path("generated/kick_continue_0000.wav"))
    assert continued.samples.shape == (2, 44_100 + 22_050)
    assert np.array_equal(continued.samples[:, :44_100], given)
    done = distill("generate", "bells.distill", "--fill", "0.4:0.6", "--file", "kick.wav", "--bits", "16")
    assert "kick.wav: made again from 0.341 s to 0.683 s (whole columns of 0.171 s)" in done.err
    assert "nothing of it stays" not in done.err
    filled = read_sound(Path("generated/kick_fill_0000.wav"))
    changed = np.flatnonzero((filled.samples != given).any(0)) / 44_100
    assert 0.2 < changed.min() < changed.max() < 0.8
    assert filled.samples.shape == given.shape
    done = distill("generate", "bells.distill", "--fill", "0.1:0.9", "--file", "kick.wav", "--force")
    assert "that is all of the sound; nothing of it stays" in done.err


def test_a_long_sound_is_heard_as_far_as_the_window_goes(folder: Path, distill: Command) -> None:
    save(folder / "long.wav", noise(8.0))
    done = distill("generate", "bells.distill", "--continue", "long.wav", "-d", "0.2")
    assert "long.wav is longer than the model's context: it hears only the last" in done.err
    assert read_sound(done.paths[0]).seconds == pytest.approx(8.2, abs=1e-4)


@pytest.mark.parametrize("options", [("-d", "0.4"), ("--fill", "0.2:0.5")], ids=["continued", "filled"])
def test_several_sounds_from_a_given_one_are_those_of_their_seeds(
    folder: Path, distill: Command, options: tuple[str, ...]
) -> None:
    what = ("--file", "kick.wav") if "--fill" in options else ("--continue", "kick.wav")
    together = distill("generate", "bells.distill", *what, *options, "-n", "2").paths
    (alone,) = distill("generate", "bells.distill", *what, *options, "--seed", "1", "-o", "alone").paths
    assert alone.read_bytes() == together[1].read_bytes() != together[0].read_bytes()


def test_nothing_is_replaced_without_force(folder: Path, distill: Command) -> None:
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


def test_the_next_sounds_have_the_next_seeds(folder: Path, distill: Command) -> None:
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
    (["--device", "abacus"], 2, "device abacus is not available"),
    (["--continue", "absent.wav"], 1, "absent.wav"),
    (["--continue", "silent.wav"], 1, "silent.wav: the sound is silent"),
    (["--continue", "text.wav"], 1, "text.wav: its content is not a sound"),
    (["--continue", "cut.wav"], 1, "cut.wav: the file ends inside its header"),
    (["--continue", "short.wav"], 1, "short.wav: a sound of 0.010 s is too short"),
    (
        ["--continue", "kick.wav", "--fill", "0:1", "--file", "kick.wav"],
        2,
        "--continue and --fill do not work together",
    ),
    (["--fill", "0.1:0.2"], 2, "--fill START:END and --file FILE belong together"),
    (["--file", "kick.wav"], 2, "belong together"),
    (["--fill", "0.5", "--file", "kick.wav"], 2, "--fill 0.5: expected START:END"),
    (["--fill", "0.5:0.2", "--file", "kick.wav"], 2, "0.5 s to 0.2 s: the end must be after the start"),
    (["--fill", "0.5:7", "--file", "kick.wav"], 2, "is not within a sound"),
    (["--fill", "0.1:0.2", "--file", "silent.wav"], 1, "silent.wav: the sound is silent"),
    (["--fill", "0.1:0.2", "--file", "kick.wav", "-d", "1"], 2, "omit --duration"),
    (
        ["--fill", "0.1:0.2", "--file", "kick.wav", "--levels", "Timbre"],
        2,
        "there is no level 'Timbre': the levels are 0 Structure, 1 Detail",
    ),
    (["--levels", "Detail"], 2, "--levels needs --fill"),
    (["--from-sidecar", "a.json", "--seed", "1", "-n", "2"], 2, "omit --count, --seed"),
]


@pytest.mark.parametrize(("options", "code", "words"), REFUSED, ids=[" ".join(each[0]) for each in REFUSED])
def test_bad_requests_are_one_line_and_write_nothing(
    folder: Path, distill: Command, options: list[str], code: int, words: str
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
def test_models_that_cannot_be_used_are_named(folder: Path, distill: Command, model: str, words: str) -> None:
    done = distill("generate", model, "-d", "0.2", code=1)
    assert words in done.err
    assert not Path("generated").exists()


def test_tags_name_the_model_and_the_seed(folder: Path, distill: Command) -> None:
    distill("generate", "bells.distill", "-d", "0.2", "--seed", "8", "--format", "flac")
    tags = soundfile.SoundFile("generated/bells_0008.flac").copy_metadata()
    assert read_manifest(Path("bells.distill")).tensor_digest in tags["comment"]
    assert "seed 8" in tags["comment"]
