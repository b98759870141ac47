"""distill from Python."""

import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

import distill
from asking_util import write_askable
from distill.audio.sound import read_sound
from distill.errors import DataError, UsageError
from distill.generation.export import ExportSettings
from distill.generation.sound_request import Request
from distill.generation.writing import Destination, produce
from sounds_util import noise, save, tone

RATE = 48_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> distill.Model:
    return distill.load(write_askable(tmp_path_factory.mktemp("model") / "kit.distill"))


def test_a_model_says_what_it_is(model: distill.Model) -> None:
    assert (model.name, model.sample_rate, model.labels) == ("kit", RATE, ("hat", "kick"))
    assert {*model.knobs} == {"length", "bright", "noisy", "pitch"}
    assert model.info()["metadata"]["name"] == "kit"


@pytest.mark.parametrize(
    "settings",
    [
        {"seconds": 0.4, "natural": True},
        {"seconds": 0.4, "natural": False, "finish": False},
        {"bpm": 150, "bars": 1, "loop": True},
        {"seconds": 0.4, "natural": True, "label": "hat", "best_of": 2},
    ],
)
def test_sounds_are_those_that_the_command_writes(
    model: distill.Model, tmp_path: Path, settings: dict[str, object]
) -> None:
    made = model.generate(2, seed=3, **settings)  # type: ignore[arg-type]
    place = Destination(tmp_path, ExportSettings(bits="32f"))
    request = Request.model_validate({"finish": True, **settings})
    for new, written in zip(made, produce(model.path, request, place, count=2, seed=3), strict=True):
        assert new.seed == written.seed
        assert np.array_equal(new.codes, written.codes)
        assert np.array_equal(new.samples, read_sound(written.path).samples[0])
        assert new.label == (None if written.got is None else written.got.label)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros(RATE, np.int16), "floating-point numbers with full scale at 1, not of int16"),
        (np.zeros((RATE, 2), np.float32), "more channels than samples"),
    ],
)
def test_an_array_that_is_no_sound_is_refused(model: distill.Model, samples: np.ndarray, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        model.encode(samples, RATE)


def test_a_given_sound_is_varied_continued_filled_and_morphed(model: distill.Model) -> None:
    sound = tone(1.0, 220, RATE)
    [varied] = model.vary(sound, RATE, strength=0.5, keep="attack")
    assert varied.samples.shape == (RATE,)
    assert (varied.distance or 0) > 0
    both = np.stack([sound, sound])
    [on] = model.continue_(both, RATE, seconds=0.3)
    assert on.samples.shape == (2, RATE + round(0.3 * RATE))
    assert np.array_equal(on.samples[:, :RATE], both)
    [filled] = model.fill(sound, RATE, start=0.4, end=0.6, levels=[1])
    assert filled.samples.shape == (1, RATE)
    assert np.array_equal(filled.samples[0, :8192], sound[:8192])
    series = model.morph(sound, RATE, noise(0.5, rate=RATE), RATE, steps=3)
    assert [len(each.samples) for each in series] == [RATE, 3 * RATE // 4, RATE // 2]


def test_codes_go_there_and_back(model: distill.Model) -> None:
    codes = model.encode(tone(0.5, 440, 44_100), 44_100)
    assert codes.ndim == 3
    samples = model.decode(codes)
    assert np.isfinite(samples).all()
    assert abs(len(samples) - len(codes) * 8192) <= 512


def test_what_cannot_be_is_said(model: distill.Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown parameter brigth"):
        model.generate(brigth=0.5)
    with pytest.raises(UsageError, match="there is no label tom"):
        model.generate(label="tom")
    with pytest.raises(UsageError, match="an array"):
        model.vary(np.full(10, np.nan), RATE)
    with pytest.raises(DataError, match="silent"):
        model.vary(np.zeros(RATE), RATE)
    with pytest.raises(DataError, match="no model file"):
        distill.load("nobody", project=tmp_path)
    for codes in (np.zeros((0, 8, 2), int), np.full((2, 8, 2), 10_000), np.full((2, 8, 2), 0.9)):
        with pytest.raises(DataError):
            model.decode(codes)
    with pytest.raises(AttributeError):
        distill.nothing  # noqa: B018


def test_the_examples_of_the_page_run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "python.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 3
    shutil.copy(trained / "models" / "tiny.distill", tmp_path / "kit.distill")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.py").write_text("".join(examples))
    assert len(runpy.run_path("page.py")["softer"]) == 3


@pytest.mark.slow
def test_a_model_is_trained_and_checked_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        save(tmp_path / "in" / f"{number}.wav", tone(0.3, 200 + 60 * number, RATE), RATE)
    few = [f"{part}.epochs=2" for part in ("vqvae", "prior")]
    path = distill.train("in", "tiny.distill", settings=[*few, "run.preset=reference", "vqvae.kmeans_chunks=4"])
    assert path == Path("tiny.distill")
    assert len(distill.load(path).generate(2, seconds=0.2)) == 2
    assert distill.check(path).verdict.verdict in ("pass", "warn", "fail")
