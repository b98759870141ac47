"""Labels and knobs: where labels come from, what knobs measure, and how a prior is told of them."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from command_util import Command
from distill.audio.knobs import KNOBS, knobs_of
from distill.audio.mel import MelTransform
from distill.audio.pitch import pitch_of, tuned
from distill.audio.timbre import timbre_of
from distill.configs import DataConfig, SpectrogramConfig
from distill.dataset.labels import TABLE, labels_of, learned
from distill.dataset.overview import overview
from distill.dataset.prepare import prepare
from distill.dataset.scan import FileReport, FileVerdict, scan
from distill.dataset.store import PreparedDataset
from distill.errors import DataError, UsageError
from distill.generation.autoregressive import Conditioning
from distill.generation.sampling import sample_codes
from distill.models.conditions import KNOTS, Conditions
from distill.models.incremental import CodeReader, ReadablePrior
from distill.models.prior import CodePrior
from distill.params import parse_params, write_params
from distill.stages.workspace import Workspace
from pipeline_util import run
from sounds_util import noise, save, tone

RATE = 48_000
SPECTROGRAM = SpectrogramConfig()
NAMES = ["kicks/a.wav", "kicks/deep/b.wav", "c.wav"]


def knobs(samples: np.ndarray) -> dict[str, float]:
    peak = samples / max(1e-9, float(np.abs(samples).max()))
    log_mel = MelTransform(SPECTROGRAM).log_mel(torch.from_numpy(peak.astype(np.float32))).numpy()
    return dict(zip(KNOBS, knobs_of(log_mel, SPECTROGRAM).tolist(), strict=True))


def table(folder: Path, *lines: str) -> Path:
    (folder / TABLE).write_text("\n".join(("path,label", *lines)) + "\n")
    return folder


def test_an_accent_is_part_of_its_letter_however_a_table_writes_it(tmp_path: Path) -> None:
    name = "caf\u00e9.wav"
    assert labels_of(table(tmp_path, unicodedata.normalize("NFD", f"{name},bébé")), [name]) == ["bébé"]


def test_labels_are_the_first_folders_or_those_of_the_table(tmp_path: Path) -> None:
    assert labels_of(tmp_path, NAMES) == ["kicks", "kicks", ""]
    assert labels_of(table(tmp_path, "c.wav,snare", "kicks/a.wav, Kick "), NAMES) == ["Kick", "", "snare"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["d.wav,snare"], "line 2: there is no file d.wav"),
        (["c.wav,snare", "c.wav,kick"], "line 3: c.wav is there twice"),
        (["c.wav"], "line 2: expected a path and a label"),
        (["c.wav," + 41 * "x"], "line 2: a label has at most 40 characters"),
    ],
)
def test_a_table_that_cannot_be_is_one_line(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        labels_of(table(tmp_path, *lines), NAMES)
    assert "\n" not in str(caught.value)


def test_a_table_with_other_columns_or_bytes_is_one_line(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_text("file;label\n")
    with pytest.raises(DataError, match="its columns must be path, label"):
        labels_of(tmp_path, NAMES)
    (tmp_path / TABLE).write_bytes(b"path,label\nc.wav,\xff\xfe\n")
    with pytest.raises(DataError, match="cannot be read as a table"):
        labels_of(tmp_path, NAMES)


def test_labels_are_learned_where_there_are_enough_sounds_and_they_tell_them_apart() -> None:
    assert learned(["a"] * 3 + ["b"] * 2) == ("a",)
    assert learned(["a"] * 5) == ()
    assert len(learned([f"{number:02}" for number in range(40) for _ in range(3)])) == 32


def test_labels_are_in_the_prepared_dataset_and_in_its_digest(tmp_path: Path) -> None:
    for seed in range(4):
        save(tmp_path / "in" / ("low" if seed < 2 else "high") / f"{seed}.wav", noise(0.3, seed))
    prepare(tmp_path / "in", tmp_path / "out", DataConfig(), SPECTROGRAM, 0)
    by_folder = PreparedDataset(tmp_path / "out")
    assert {*by_folder.labels} == {"high", "low"}
    assert all(by_folder.segment_name(row).startswith(label) for row, label in enumerate(by_folder.labels))
    table(tmp_path / "in", "low/0.wav,odd")
    # The table is no sound of its own.
    assert len(scan(tmp_path / "in")) == 4
    prepare(tmp_path / "in", tmp_path / "out2", DataConfig(), SPECTROGRAM, 0)
    by_table = PreparedDataset(tmp_path / "out2")
    assert {by_table.segment_name(row) for row, label in enumerate(by_table.labels) if label} == {"low/0.wav"}
    assert by_table.digest != by_folder.digest


@pytest.mark.parametrize(("counts", "warned"), [((4, 4), "a, b"), ((2, 2), None), ((9, 9), None), ((9, 2), "b")])
def test_a_check_warns_of_labels_that_may_not_be_learned(counts: tuple[int, int], warned: str | None) -> None:
    labels = ["a"] * counts[0] + ["b"] * counts[1]
    reports = [FileReport(str(number), FileVerdict.OK, "usable", usable=True) for number in range(len(labels))]
    said = [line for line in overview("kit", reports, labels)["warnings"] if line.startswith("labels of fewer")]
    assert [line.rpartition(": ")[2] for line in said] == ([warned] if warned else [])


def test_a_check_tells_labels_and_how_the_knobs_lie(tmp_path: Path, distill: Command) -> None:
    for seed, label in enumerate(["low"] * 6 + ["high"] * 3):
        save(tmp_path / "in" / label / f"{seed}.wav", tone(0.2 + 0.05 * seed, 300.0 + 112.5 * seed))
    done = distill("dataset", "check", str(tmp_path / "in"), "--json")
    said = json.loads(done.out)
    assert said["labels"] == {"high": 3, "low": 6}
    # Half of so few sounds are held out.
    words = "labels of fewer than 3 training sounds are not learned, and some sounds are held out, so these may not be"
    assert f"{words}: high" in said["warnings"]
    words = "below 20 usable sounds no label is learned, unless you ask for it with --set prior.conditions=true"
    assert words in said["warnings"]
    least, middle, greatest = said["knobs"]["pitch"]
    assert 280 < least < 320
    assert least < middle < greatest
    assert 1100 < greatest < 1300
    assert said["knobs"]["length"][0] < 0.3 < said["knobs"]["length"][2]
    text = distill("dataset", "check", str(tmp_path / "in")).out
    assert "Labels: high 3, low 6." in text
    assert "9 of 9 files are usable" in text
    (tmp_path / "one").mkdir()
    save(tmp_path / "one" / "0.wav", tone(0.2, 300.0))
    assert "1 of 1 file is usable" in distill("dataset", "check", str(tmp_path / "one")).out
    assert "Pitch: " in text
    table(tmp_path / "in", "nothing.wav,a")
    assert "there is no file nothing.wav" in distill("dataset", "check", str(tmp_path / "in"), code=1).err


def test_each_knob_measures_what_it_is_called_after() -> None:
    plain = knobs(noise(0.5, 1, RATE))
    assert knobs(noise(1.5, 1, RATE))["length"] > 2 * plain["length"]
    rising = noise(0.5, 1, RATE) * np.minimum(1.0, np.arange(RATE // 2) / (0.3 * RATE))
    assert knobs(rising)["attack"] > 0.15 > plain["attack"]
    dull = np.convolve(noise(0.5, 1, RATE), np.ones(64) / 64, "same")
    assert knobs(dull)["bright"] < 0.3 * plain["bright"]
    assert knobs(dull)["low"] > plain["low"] + 6
    assert knobs(tone(0.5, 440, RATE))["noisy"] < 0.1 * plain["noisy"]
    for hertz in (110.0, 440.0, 1200.0):
        assert abs(12 * np.log2(knobs(tone(0.5, hertz, RATE))["pitch"] / hertz)) < 1.5
    assert np.isnan(plain["pitch"])
    assert all(np.isnan(value) for value in knobs(np.zeros(RATE)).values())


@pytest.mark.parametrize("hertz", [41.2, 55.0, 220.0, 1318.5])
def test_the_pitch_of_a_sound_is_found_within_5_cents(hertz: float) -> None:
    found = pitch_of(_saw(hertz), RATE)
    assert found is not None
    assert abs(1200 * np.log2(found / hertz)) < 5
    assert pitch_of(noise(0.5, 3, RATE), RATE) is None
    assert pitch_of(np.zeros(RATE, np.float32), RATE) is None


@pytest.mark.parametrize("hertz", [2500.0, 4300.0, 8000.0])
def test_a_sound_above_the_highest_pitch_has_none(hertz: float) -> None:
    time = np.arange(RATE) / RATE
    sound = (0.5 * np.sin(2 * np.pi * hertz * time) * np.exp(-3 * time)).astype(np.float32)
    assert pitch_of(sound, RATE) is None
    assert tuned(sound, RATE, 440.0) is None


def test_a_gliding_sound_gets_the_pitch_that_is_asked_for() -> None:
    """Its frames lie elsewhere at another speed."""
    seconds = np.arange(RATE // 2) / RATE
    for glide in (-2.0, 1.5):
        hertz = 150 * np.exp2(glide * seconds + 0.05 * np.sin(2 * np.pi * 5 * seconds))
        sound = np.sin(2 * np.pi * np.cumsum(hertz) / RATE).astype(np.float32)
        found = tuned(sound, RATE, 220.0)
        assert found is not None
        assert abs(1200 * np.log2((pitch_of(found, RATE) or 0.0) / 220.0)) < 3


def _saw(hertz: float) -> np.ndarray:
    time = np.arange(RATE // 2) / RATE
    partials = range(1, int(min(20, 0.4 * RATE / hertz)))
    return sum(np.sin(2 * np.pi * hertz * n * time) / n for n in partials).astype(np.float32)


def conditions() -> Conditions:
    values = np.array([1.0, 1.0, 1.0, 2.0, 3.0, 5.0, 8.0, np.nan])
    timbres = np.arange(16.0).reshape(8, 2)
    labels = ["a"] * 4 + ["b"] * 4
    mostly = np.array([1.0] * 7 + [5.0])
    knobs = {"bright": values, "same": np.ones(8), "mostly": mostly, "few": values[:3]}
    return Conditions.of(("a", "b"), labels, knobs, timbres)


def test_a_knob_is_known_by_its_rank_and_one_that_tells_nothing_is_not() -> None:
    found = conditions()
    assert list(found.knobs) == ["bright"]
    ranks = [found.rank("bright", value) for value in (0.5, 2.0, 3.0, 8.0, 9.0)]
    assert ranks == sorted(ranks)
    assert (ranks[0], ranks[-1]) == (0.0, 1.0)
    # Of equal values each has the rank in their middle.
    assert 0.1 < found.rank("bright", 1.0) < 0.25
    assert found.rank("bright", found.value("bright", 0.7)) == pytest.approx(0.7)
    assert np.isnan(found.rank("bright", float("nan")))


def test_a_vector_holds_a_label_and_ranks_between_knots() -> None:
    found = conditions()
    vector = found.vector("b", {"bright": 0.9})
    labels, bright = (vector[part] for part in found.parts)
    assert labels.tolist() == [0.0, 1.0]
    assert bright.sum() == pytest.approx(1.0)
    assert np.linspace(0, 1, KNOTS) @ bright == pytest.approx(0.9)
    assert not found.vector(None, {"bright": float("nan")}).any()
    with pytest.raises(UsageError, match="no label c; the model's labels: a, b"):
        found.vector("c", {})
    with pytest.raises(UsageError, match="between 0 and 1, not 2"):
        found.vector(None, {"bright": 2.0})


def test_a_sound_of_which_nothing_is_asked_draws_how_long_it_shall_be() -> None:
    lengths = np.linspace(0.1, 1.0, 19)
    found = Conditions.of((), [""] * 19, {"length": lengths, "bright": lengths}, np.zeros((19, 2)))
    assert found.drawn == ("length",)
    assert conditions().drawn == ()
    vectors = np.stack([found.drawn_vector(seed) for seed in range(400)])
    assert np.array_equal(vectors[7], found.drawn_vector(7))
    bright, length = (vectors[:, part] for part in found.parts[1:])
    assert not bright.any()
    np.testing.assert_allclose(length.sum(1), 1.0, atol=1e-6)
    ranks = length @ np.linspace(0, 1, KNOTS)
    assert kstest(ranks, "uniform").pvalue > 0.01
    # A file written before sounds drew anything gives the sounds that it gave.
    said = found.model_dump(mode="json")
    del said["drawn"]
    assert Conditions.model_validate(said).drawn == ()
    with pytest.raises(ValueError, match="only what is a knob"):
        Conditions.model_validate({**said, "drawn": ["attack"]})
    with pytest.raises(ValueError, match="greater than 0"):
        Conditions.model_validate({"labels": ["a"], "centres": [[0.0]], "spreads": [0.0]})


def test_a_sound_has_the_label_whose_sounds_it_is_like() -> None:
    # Of each kind other sounds than those that are judged.
    kinds = {"noise": lambda seed: noise(0.4, seed, RATE), "tone": lambda seed: tone(0.4, 200.0 + 40 * seed, RATE)}

    def timbre(samples: np.ndarray) -> np.ndarray:
        return timbre_of(MelTransform(SPECTROGRAM).log_mel(torch.from_numpy(samples)).numpy(), SPECTROGRAM)

    labels = [kind for kind in kinds for _ in range(4)]
    timbres = np.stack([timbre(make(seed)) for make in kinds.values() for seed in range(4)])
    found = Conditions.of(tuple(kinds), labels, {}, timbres)
    for kind, make in kinds.items():
        assert found.label_of(timbre(make(9))) == kind


def prior(width: int = 6) -> CodePrior:
    torch.manual_seed(2)
    model = CodePrior(32, 2, 4, 0.0, codebook_size=16, num_quantizers=2, bands=8, context=128, conditions=width).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
        model.trained_columns.fill_(model.context_columns)
    return model


def test_code_by_code_the_prior_says_what_it_says_of_whole_windows() -> None:
    model = prior()
    asked = np.random.default_rng(0).random((3, 6)).astype(np.float32)
    codes = np.random.default_rng(1).integers(0, 16, (3, 32))
    starts = torch.ones(3, dtype=torch.bool)
    with torch.inference_mode():
        whole = model(torch.from_numpy(codes), starts, None, torch.from_numpy(asked))
        untold = model(torch.from_numpy(codes), starts)
    assert not torch.allclose(whole, untold)
    reader = CodeReader(ReadablePrior(model), 3, condition=asked)
    logits = [reader.start(codes[:, :0], at_start=True)]
    logits += [reader.step(codes[:, place]) for place in range(codes.shape[1])]
    np.testing.assert_allclose(np.stack(logits, axis=1), whole.numpy(), atol=2e-4)


def test_without_conditions_nothing_changes_and_nothing_asked_is_the_same_as_no_vector() -> None:
    torch.manual_seed(3)
    plain = CodePrior(32, 2, 4, 0.0, codebook_size=16, num_quantizers=2, bands=8, context=128)
    assert "conditions" not in plain.state_dict()
    model = prior()
    settings = {"columns": 4, "seeds": [3, 4]}
    untold = sample_codes(model, **settings)
    nothing = sample_codes(model, **settings, conditioning=Conditioning(np.zeros(6, np.float32)))
    assert all(np.array_equal(*pair) for pair in zip(untold, nothing, strict=True))


@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_what_is_asked_of_a_sound_changes_that_one_alone(guidance: float) -> None:
    model = prior()
    vectors = np.random.default_rng(4).random((20, 6)).astype(np.float32)
    together = sample_codes(model, columns=4, seeds=range(20), conditioning=Conditioning(vectors, guidance))
    for row in (0, 7, 19):
        (alone,) = sample_codes(model, columns=4, seeds=[row], conditioning=Conditioning(vectors[row], guidance))
        assert np.array_equal(alone, together[row])
    other = sample_codes(model, columns=4, seeds=range(20), conditioning=Conditioning(vectors[::-1], guidance))
    assert not all(np.array_equal(*pair) for pair in zip(other, together, strict=True))


def test_guidance_brings_out_what_a_condition_changes() -> None:
    model = prior(1)
    with torch.no_grad():
        # The condition alone makes one code likelier.
        model.conditions.zero_()
        model.conditions[0] = 0.5 * torch.randn(32, generator=torch.Generator().manual_seed(5))
    vector, settings = np.ones(1, np.float32), {"columns": 2, "seeds": range(40)}
    counts = []
    for asked in (Conditioning(0 * vector), Conditioning(vector), Conditioning(vector, 3.0)):
        grids = np.stack(sample_codes(model, **settings, conditioning=asked))
        counts.append(np.bincount(grids[:, 0, 0, 0], minlength=16) / len(grids))
    told, guided = (np.abs(each - counts[0]).sum() for each in counts[1:])
    assert guided > told


def test_labels_and_knobs_of_enough_sounds_are_learned_without_being_asked_to(tmp_path: Path) -> None:
    for number in range(20):
        save(tmp_path / "many" / f"{number}.wav", tone(0.2, 200 + 50 * number))
        if number:
            save(tmp_path / "few" / f"{number}.wav", tone(0.2, 200 + 50 * number))
    for folder, learns in (("many", True), ("few", False)):
        workspace = Workspace(tmp_path / f"run-{folder}")
        workspace.root.mkdir()
        write_params(workspace.params_file, parse_params({"data": {"path": str(tmp_path / folder)}}, where="here"))
        run(workspace, "prepare", "configure")
        said = json.loads(workspace.config("train_prior").read_text())
        assert said["prior"]["conditions"] is learns
