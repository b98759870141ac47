"""`distill generate --from-sidecar`: sounds made again, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command_util import Command
from distill.artifact.model_file import read_manifest, write_model
from distill.audio.sound import read_sound
from distill.generation.sound_request import Request
from distill.generation.writing import Destination, produce
from generate_util import copied, make_originals
from model_example import manifest, prior, vqvae
from sounds_util import save, tone


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_originals(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def folder(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(originals, tmp_path, monkeypatch)


EXAMPLES = [
    ("-d", "0.3", "--format", "flac", "--bits", "16", "--sample-rate", "96000", "-n", "2"),
    ("-d", "4", "--natural", "--temperature", "0.9,1.2", "--top-k", "12,0", "--top-p", "0.95", "--min-p", "0.01,0.02"),
    ("-d", "0.4", "--continue", "kick.wav", "--bits", "32f"),
    ("--fill", "0.3:0.7", "--file", "kick.wav", "--levels", "Detail", "--bits", "16"),
]


@pytest.mark.parametrize("options", EXAMPLES, ids=["new", "natural", "continued", "filled"])
def test_a_sidecar_makes_the_same_file_again(folder: Path, distill: Command, options: tuple[str, ...]) -> None:
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


def test_a_sidecar_makes_the_same_file_again_in_a_fresh_process(folder: Path, distill: Command) -> None:
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


def test_the_sidecar_that_a_sound_is_made_from_stays(folder: Path, distill: Command) -> None:
    distill("generate", "bells.distill", "-d", "0.3")
    sidecar = Path("generated/bells_0000.wav.json")
    refused = distill("generate", "--from-sidecar", str(sidecar), "--force", "--no-sidecar", code=2)
    assert "would be removed" in refused.err
    assert sidecar.exists()
    distill("generate", "--from-sidecar", str(sidecar), "--no-sidecar", "-o", "elsewhere")


def test_a_name_that_no_sidecar_can_have_is_refused_before_anything_is_made(folder: Path, distill: Command) -> None:
    (folder / "kick.wav").rename(folder / "ki\\ck.wav")
    refused = distill("generate", "bells.distill", "--continue", "ki\\ck.wav", "-d", "0.4", "-o", "new", code=2)
    assert "cannot have a backslash" in refused.err
    assert not Path("new").exists()


def test_behind_the_largest_seed_the_first_free_ones_are_used(folder: Path, distill: Command) -> None:
    for seed in (["--seed", str(2**63 - 2)], [], []):
        distill("generate", "bells.distill", "-d", "0.3", *seed)
    names = sorted(path.name for path in Path("generated").glob("*.wav"))
    assert names == ["bells_0000.wav", "bells_0001.wav", f"bells_{2**63 - 2}.wav"]


@pytest.mark.parametrize("format", ["ogg", "mp3"])
def test_lossy_sounds_are_made_from_the_same_samples_again(folder: Path, distill: Command, format: str) -> None:
    distill("generate", "bells.distill", "-d", "0.5", "--format", format)
    path = Path(f"generated/bells_0000.{format}")
    before = read_sound(path).samples
    assert "does not have" not in distill("generate", "--from-sidecar", f"{path}.json", "--force").err
    assert np.array_equal(before, read_sound(path).samples)


def test_a_sidecar_of_another_model_is_refused_with_both_digests(folder: Path, distill: Command) -> None:
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
    assert "is missing: name the model file" in gone.err
    assert not Path("new").exists()


def test_a_given_sound_that_changed_is_refused(folder: Path, distill: Command) -> None:
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
        (lambda values: values["environment"].update(device="abacus"), "device abacus is not available"),
    ],
)
def test_a_sidecar_broken_by_hand_is_one_line(
    folder: Path, distill: Command, sidecar: str, change: Any, words: str
) -> None:
    values = json.loads(sidecar)
    change(values)
    Path("broken.json").write_text(json.dumps(values))
    of_the_model = words in ("the temperature has 3 values", "device abacus is not available")
    code = 2 if of_the_model else 1
    done = distill("generate", "--from-sidecar", "broken.json", "bells.distill", "-o", "new", code=code)
    assert words in done.err
    assert "broken.json" in done.err
    assert not Path("new").exists()


@pytest.mark.parametrize("text", ["", "not JSON", "[1]", '{"schema": 1', '{"schema": 1, "sound": NaN}'])
def test_what_is_no_sidecar_is_one_line(folder: Path, distill: Command, text: str) -> None:
    Path("broken.json").write_text(text)
    assert "broken.json" in distill("generate", "--from-sidecar", "broken.json", code=1).err


def test_a_sidecar_of_another_environment_warns(folder: Path, distill: Command) -> None:
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
