"""Which sounds are near to one, which of many are best, and where all of them lie."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from command_util import Command
from distill.artifact.model_file import read_manifest
from distill.audio.knobs import KNOBS
from distill.configs import SpectrogramConfig
from distill.errors import UsageError
from distill.generation.sound_request import Request
from distill.library.best import best_seeds, chosen_of
from distill.library.finding import find, log_mel_of, model_of
from distill.library.sound_map import LIKENESS, sound_map
from distill.library.takes import Takes
from distill.params import Params, with_settings, write_params
from registry_util import make_folder, model_file
from sounds_util import noise as noise_at
from sounds_util import save as save_at
from sounds_util import tone as tone_at

RATE = 48_000
noise, tone, save = partial(noise_at, rate=RATE), partial(tone_at, rate=RATE), partial(save_at, rate=RATE)


@pytest.fixture
def model(trained: Path) -> Path:
    return trained / "models" / "tiny.distill"


def test_a_training_sound_is_nearest_to_itself(trained: Path, model: Path) -> None:
    found = find(model, trained / "in" / "tone3.wav", trained, count=6)
    assert (found[0].name, found[0].kind in ("training", "held-out")) == ("tone3.wav", True)
    assert found[0].distance < 0.02
    assert [each.distance for each in found] == sorted(each.distance for each in found)
    assert len(found) == 6
    # Tones are nearer to a tone than noise is.
    whole = find(model, trained / "in" / "tone3.wav", trained, count=16)
    known = [each for each in whole if each.kind != "generated"]
    assert all(each.name.startswith("tone") for each in known[:3])


def test_a_generated_sound_is_found_among_the_others(trained: Path, model: Path) -> None:
    take = Takes(trained).all()[0]
    copy = trained / "copy.wav"
    copy.write_bytes(take.path.read_bytes())
    found = find(model, copy, trained, count=3)
    assert (found[0].kind, found[0].name) == ("generated", take.id)
    # A sound is not found beside itself.
    assert take.id not in [each.name for each in find(model, take.path, trained, count=20)]
    copy.unlink()


def test_the_command_finds(trained: Path, model: Path, distill: Command, tmp_path: Path) -> None:
    sound = trained / "in" / "noise2.wav"
    done = distill("find", str(model), str(sound), "-n", "2", "--project", str(trained), "--json")
    assert json.loads(done.out)["found"][0]["name"] == "noise2.wav"
    assert "noise2.wav" in distill("find", str(model), str(sound), "--project", str(trained)).out
    for arguments, words, code in (
        ((str(sound), "-n", "0"), "between 1 and 100", 2),
        ((str(tmp_path / "gone.wav"),), "gone.wav", 1),
    ):
        refused = distill("find", str(model), *arguments, "--project", str(trained), code=code)
        assert words in refused.err
        assert len(refused.complaints) == 1


def test_a_sound_tells_which_model_it_is_changed_with(trained: Path, model: Path, tmp_path: Path) -> None:
    assert model_of(Takes(trained).all()[0].path, trained).resolve() == model
    assert model_of(trained / "in" / "tone3.wav", trained).name == "tiny.distill"
    with pytest.raises(UsageError, match="name a model"):
        model_of(trained / "in" / "tone3.wav", tmp_path)
    # A JSON file beside a sound may be of another program.
    loop = tmp_path / "loop.wav"
    shutil.copy(trained / "in" / "tone3.wav", loop)
    loop.with_name("loop.wav.json").write_text('{"title": "x"}')
    assert model_of(loop, trained).name == "tiny.distill"
    with pytest.raises(UsageError, match=r"name a model with --model: .*json is not a sidecar.* there is none"):
        model_of(loop, tmp_path)
    # Of several it is the one that the parameters of the project name.
    project = make_folder(tmp_path / "project")
    for weights, name in enumerate(("bells", "drums"), 1):
        model_file(project / "models" / f"{name}.distill", name=name, weights=weights)
    with pytest.raises(UsageError, match="there are 2"):
        model_of(trained / "in" / "tone3.wav", project)
    write_params(project / "params.yaml", with_settings(Params(), ["model.name=drums"]))
    assert model_of(trained / "in" / "tone3.wav", project).name == "drums.distill"


def test_the_best_are_chosen_by_what_they_are_worth(trained: Path, model: Path, tmp_path: Path) -> None:
    request = Request(seconds=0.4, natural=True)
    best = best_seeds(model, request, keep=3, of=9, seed=20, project=trained)
    assert best.compared
    assert len(set(best.seeds)) == 3
    assert all(20 <= seed < 29 for seed in best.seeds)
    assert list(best.seeds) == sorted(best.seeds)
    # Elsewhere nobody knows what it learned from.
    alone = Path(shutil.copy(model, tmp_path))
    assert not best_seeds(alone, request, keep=1, of=2, seed=0, project=tmp_path).compared
    with pytest.raises(UsageError, match="keep fewer"):
        best_seeds(model, request, keep=4, of=4, seed=0, project=trained)


def test_what_is_alike_is_not_chosen_twice(tmp_path: Path) -> None:
    sounds = [tone(0.4, 200), tone(0.4, 200), noise(0.4), tone(0.4, 3000)]
    config = SpectrogramConfig()
    log_mels = [log_mel_of(save(tmp_path / f"{n}.wav", each), config) for n, each in enumerate(sounds)]
    assert sorted(chosen_of(np.array([1.0, 1.1, 0.5, 0.5]), log_mels, config, 3)) == [1, 2, 3]


def test_the_command_keeps_the_best(trained: Path, model: Path, distill: Command, tmp_path: Path) -> None:
    place = ("-o", str(tmp_path / "best"), "-d", "0.3")
    done = distill("generate", str(model), "--keep-best", "2", "--of", "5", "--seed", "3", *place, "--json")
    seeds = [each["seed"] for each in json.loads(done.out)["sounds"]]
    assert len(seeds) == 2
    assert all(3 <= seed < 8 for seed in seeds)
    # What is there stands in the way before anything is drawn; without a seed further ones follow.
    taken = distill("generate", str(model), "--keep-best", "2", "--of", "5", "--seed", "3", *place, code=1)
    assert "exists" in taken.err
    more = distill("generate", str(model), "--keep-best", "1", "--of", "2", *place, "--json")
    assert json.loads(more.out)["sounds"][0]["seed"] > max(seeds)
    for arguments, words in (
        (("--of", "5"), "--of needs --keep-best"),
        (("--keep-best", "3", "-n", "2"), "omit --count"),
        (("--keep-best", "6", "--of", "5"), "keep fewer"),
        (("--keep-best", "2", "--of", "5", "--temperature", "0"), "would be the same"),
        (("--keep-best", "2", "--of", "5", "-d", "nan", "--chain"), "the duration must be above 0"),
    ):
        refused = distill("generate", str(model), *arguments, "-o", str(tmp_path / "none"), code=2)
        assert words in refused.err
        assert len(refused.complaints) == 1
    assert not (tmp_path / "none").exists()


def test_the_check_tells_copies_by_label_only_where_there_are_labels(model: Path) -> None:
    check = read_manifest(model).memorization
    assert check is not None
    assert "labels" not in check.evidence


def test_alike_sounds_lie_beside_each_other(tmp_path: Path) -> None:
    tones = [save(tmp_path / f"tone{n}.wav", tone(0.3, 200 + 20 * n)) for n in range(4)]
    noises = [save(tmp_path / f"noise{n}.wav", noise(0.6, n)) for n in range(4)]
    silent = save(tmp_path / "silent.wav", np.zeros(4800, np.float32))
    points = sound_map([*tones, *noises, silent, tmp_path / "gone.wav"])
    assert [point.path for point in points] == [*tones, *noises]
    across = np.array([point.places["likeness"] for point in points], float)
    assert abs(across[:4].mean() - across[4:].mean()) > 5 * max(np.ptp(across[:4]), np.ptp(across[4:]))
    for axis in (*LIKENESS, *KNOBS):
        known = [value for point in points if (value := point.places[axis]) is not None]
        assert all(0.0 <= value <= 1.0 for value in known)
    noisy = [point.places["noisy"] or 0.0 for point in points]
    assert max(noisy[:4]) < min(noisy[4:])
    assert sound_map([]) == []


def test_the_map_has_the_sounds_of_the_run(trained: Path) -> None:
    from distill.ui.map_api import sounds_of_run

    assert {path.name for path in sounds_of_run(trained)} == {path.name for path in (trained / "in").iterdir()}
