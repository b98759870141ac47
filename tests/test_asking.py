"""Sounds that are asked for by label and knob, from the request to the file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

import artifact_example
from asking_util import LABELS, conditions, prior, write_askable
from command_util import Command
from distill.artifact.manifest import Manifest
from distill.artifact.model_file import read_manifest
from distill.audio.knobs import KNOBS
from distill.audio.pitch import pitch_of
from distill.audio.sound import read_sound
from distill.errors import StorageError, UsageError
from distill.generation.adherence import RANKS, SOUNDS, _correlation, following
from distill.generation.autoregressive import Conditioning
from distill.generation.conditioning import Target, nearest_grids, target_of, value_of
from distill.generation.generator import Generator, sample_grids
from distill.generation.remaking import remake
from distill.generation.seeds import candidate_seed
from distill.generation.sidecar import Properties
from distill.generation.sound_request import Request
from distill.generation.writing import Destination, produce
from distill.live.folder import RunFolder
from distill.models.kernels import MOST_ROWS
from distill.stages.train_prior import read_conditions
from model_example import vqvae, write_example
from pipeline_util import make_workspace, run
from sounds_util import noise, save, tone


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that can be asked."""
    return write_askable(tmp_path_factory.mktemp("model") / "kit.distill")


def test_a_file_says_what_can_be_asked_for_and_one_that_cannot_keeps_its_document(model: Path, tmp_path: Path) -> None:
    manifest = read_manifest(model)
    assert manifest.minor == 2
    assert manifest.prior_config is not None
    known = manifest.prior_config.conditions
    assert known == conditions()
    wish = {"length": 0.2, "bright": 0.9, "pitch": 0.5}
    assert np.array_equal(known.vector("kick", wish), conditions().vector("kick", wish))
    plain = artifact_example.manifest(
        prior_config=artifact_example.PRIOR, prior_metadata=artifact_example.PRIOR_METADATA
    ).document()
    assert plain["minor"] == 0
    assert "conditions" not in plain["prior_config"]
    assert "following" not in plain["prior_metadata"]
    assert Manifest.model_validate(plain).prior_config == artifact_example.PRIOR


def test_the_same_is_asked_by_rank_unit_and_note() -> None:
    known = conditions()
    seconds = known.value("length", 0.4)
    by_rank = target_of(Request(seconds=1, length=0.4), known)
    by_unit = target_of(Request(seconds=1, length=f"{1000 * seconds}ms"), known)
    assert by_rank is not None
    assert by_unit is not None
    assert by_unit.ranks["length"] == pytest.approx(by_rank.ranks["length"])
    by_note = target_of(Request(seconds=1, natural=True, pitch="A4"), known)
    assert by_note is not None
    assert by_note.hertz == 440.0
    assert value_of("bright", "2 kHz") == 2000.0
    assert target_of(Request(seconds=1), known) is None


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"label": "snare"}, "there is no label snare; the model's labels: hat, kick"),
        ({"low": 0.5}, "low: the training sounds do not differ in it; this model has the knobs length, bright, noisy"),
        ({"length": "9s"}, "length 9s: the training sounds lie between"),
        ({"length": "long"}, "length long: expected a number from 0 to 1 or a value such as 0.3s"),
        ({"length": "300Hz"}, "length 300Hz: expected"),
        ({"noisy": "2dB"}, "noisy 2dB: expected a number from 0 to 1"),
        ({"pitch": "H2"}, "pitch H2: expected a number from 0 to 1 or a value such as 880Hz or a note such as A1"),
        ({"pitch": "A1"}, "for sounds that end by themselves"),
        ({"pitch": "-5Hz", "natural": True}, "choose one from 30 to 2000 Hz"),
        ({"pitch": "9kHz", "natural": True}, "choose one from 30 to 2000 Hz"),
    ],
)
def test_what_cannot_be_asked_is_one_line(wish: dict[str, str | float], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        target_of(Request.model_validate({"seconds": 1, **wish}), conditions())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_asked_is_chosen_noted_and_made_again(model: Path, tmp_path: Path) -> None:
    request = Request(seconds=0.6, natural=True, bright=0.9, best_of=4)
    [written] = produce(model, request, Destination(tmp_path), seed=5)
    assert written.sidecar is not None
    said = json.loads(written.sidecar.read_text())
    assert (said["request"]["bright"], said["request"]["best_of"]) == (0.9, 4)
    assert {*said["got"]["knobs"]} == {"length", "bright", "noisy", "pitch"}
    assert said["got"]["label"] in LABELS
    assert remake(written.sidecar, folder=tmp_path / "again").identical


def test_while_no_candidate_has_the_label_more_are_drawn(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is drawn for one sound does not depend on what others need."""
    generator = Generator.load(model)
    drawn: list[int] = []

    def labelled(_generator: Generator, grid: np.ndarray, _samples: int, target: Target) -> tuple[float, Properties]:
        drawn.append(int(grid.sum()))
        # One grid in five is a kick.
        label = "kick" if grid.sum() % 5 == 0 else "hat"
        return float(label != target.label), Properties(label=label)

    monkeypatch.setattr("distill.generation.conditioning._measure", labelled)
    settings: dict[str, Any] = {"config": None, "natural": False}

    def asked(best_of: int | None) -> Target:
        found = target_of(Request(seconds=0.2, label="kick", best_of=best_of), generator.conditions)
        assert found is not None
        return found

    usual = list(nearest_grids(generator, range(8), 9_600, asked(None), **settings))
    many, few = len(drawn), 3 * 8
    assert few < many <= 12 * 8
    once = list(nearest_grids(generator, range(8), 9_600, asked(3), **settings))
    assert len(drawn) - many == few
    right, right_once = (sum(got.label == "kick" for _, _, got in found) for found in (usual, once))
    assert right > right_once
    for seed, grid, _ in usual:
        [(_, alone, _)] = nearest_grids(generator, [seed], 9_600, asked(None), **settings)
        assert np.array_equal(alone, grid)
    assert asked(None).turns > 1
    assert target_of(Request(seconds=1, bright=0.5), conditions()).turns == 1  # type: ignore[union-attr]


def test_natural_sounds_of_which_nothing_is_asked_are_told_what_they_draw(model: Path, tmp_path: Path) -> None:
    drawing = Generator.load(model)
    assert drawing.conditions is not None
    assert drawing.conditions.drawn == ("length",)
    generator = replace(drawing, conditions=drawing.conditions.model_copy(update={"drawn": ()}))
    seeds, settings = range(3, 3 + MOST_ROWS + 2), {"config": None, "natural": True}
    drawn = dict(sample_grids(drawing, seeds, 28_800, **settings))
    assert not all(
        np.array_equal(grid, drawn[seed]) for seed, grid in sample_grids(generator, seeds, 28_800, **settings)
    )
    for seed in (3, seeds[-1]):
        told = Conditioning(drawing.conditions.drawn_vector(seed))
        [(_, alone)] = sample_grids(generator, [seed], 28_800, **settings, conditioning=told)
        assert np.array_equal(alone, drawn[seed])
    # What is asked for is all that counts, and what has a given duration draws none.
    for others in ({"conditioning": Conditioning(conditions().vector(None, {"bright": 0.9}))}, {"natural": False}):
        pair = (next(sample_grids(each, [3], 28_800, **{**settings, **others}))[1] for each in (generator, drawing))
        assert np.array_equal(*pair)


def test_a_request_that_asks_for_nothing_is_written_as_before(model: Path, tmp_path: Path) -> None:
    [written] = produce(model, Request(seconds=0.2), Destination(tmp_path))
    assert written.sidecar is not None
    said = json.loads(written.sidecar.read_text())
    assert "got" not in said
    assert not {"label", "guidance", "best_of", *KNOBS} & {*said["request"]}


def test_a_note_is_exact_where_a_sound_has_a_pitch(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = np.arange(24_000) / 48_000
    sound = np.sin(2 * np.pi * 100.0 * time).astype(np.float32) * np.exp(-3 * time).astype(np.float32)
    monkeypatch.setattr("distill.generation.sounds.waveform_blocks", lambda *_: iter([sound]))
    request = Request(seconds=0.5, natural=True, pitch="A2", best_of=1)
    [written] = produce(model, request, Destination(tmp_path))
    found = pitch_of(read_sound(written.path).samples[0], 48_000)
    assert found is not None
    assert abs(1200 * np.log2(found / 110.0)) < 5
    # A lower note takes longer, but no longer than was asked for; what was measured is that of the note.
    low = request.model_copy(update={"pitch": "A1", "seconds": 0.6})
    [longer] = produce(model, low, Destination(tmp_path / "low"))
    assert 0.5 < longer.seconds <= 0.6
    # What is said of it is what it has: no more than it lasts, and the note.
    assert longer.got is not None
    assert 0.5 < (longer.got.knobs["length"] or 0) <= 0.6 + 512 / 48_000
    assert longer.got.knobs["pitch"] == pytest.approx(55.0, rel=0.1)


def test_nothing_that_somebody_else_writes_meanwhile_is_replaced(model: Path, tmp_path: Path) -> None:
    one = produce(model, Request(seconds=0.3), Destination(tmp_path), count=2, seed=0)
    first = next(one)
    other = produce(model, Request(seconds=0.3), Destination(tmp_path), count=1, seed=1)
    written = next(other).path.read_bytes()
    with pytest.raises(StorageError, match=r"_0001.wav exists"):
        next(one)
    assert (tmp_path / first.path.name.replace("_0000", "_0001")).read_bytes() == written


def test_what_a_seed_decides_besides_the_codes_needs_no_chance() -> None:
    Request(action="vary", strength=0.5, temperature=0).check(count=2, seed=0)
    with pytest.raises(UsageError, match="would be the same"):
        Request(seconds=1.0, temperature=0).check(count=2, seed=0)


def test_the_command_asks_and_refuses(model: Path, distill: Command, tmp_path: Path) -> None:
    done = distill(
        "generate", str(model), "--label", "hat", "--length", "0.2", "--best-of", "2", "-d", "0.4", "--json",
        "-o", str(tmp_path),
    )  # fmt: skip
    assert json.loads(done.out)["sounds"][0]["label"] in LABELS
    plain = write_example(tmp_path / "plain.distill")
    for arguments, words in (
        ((str(model), "--label", "tom"), "the model's labels: hat, kick"),
        ((str(model), "--bright", "1.5"), "between 0 and 1"),
        ((str(model), "--best-of", "4"), "--best-of needs a label or a knob"),
        ((str(plain), "--label", "hat"), "knows neither labels nor knobs"),
        (
            (str(model), "--continue", str(done.paths[0] if done.paths else plain), "--label", "hat"),
            "is only for new sounds",
        ),
    ):
        refused = distill("generate", *arguments, "-o", str(tmp_path / "none"), code=2)
        assert words in refused.err
        assert len(refused.complaints) == 1
    assert not (tmp_path / "none").exists()


def test_a_prior_learns_labels_and_knobs_through_all_stages(tmp_path: Path, distill: Command) -> None:
    for number in range(12):
        label, samples = ("tone", tone(0.3, 200 + 37 * number)) if number % 2 else ("noise", noise(0.4, number))
        save(tmp_path / "in" / label / f"{number}.wav", samples)
    workspace = make_workspace(tmp_path, data={"path": str(tmp_path / "in")}, prior={"conditions": True})
    report = run(workspace, "prepare", "configure", "train_vqvae", "train_prior")
    assert {*report["following"]["labels"]} == {"noise", "tone"}
    run(workspace, "check_memorization", "train_vocoder", "assemble")
    manifest = read_manifest(tmp_path / "models" / "tiny.distill")
    assert manifest.prior_config is not None
    assert manifest.prior_config.conditions is not None
    assert manifest.prior_config.conditions.labels == ("noise", "tone")
    assert "bright" in manifest.prior_config.conditions.knobs
    assert manifest.prior_metadata is not None
    assert manifest.prior_metadata.following is not None
    assert manifest.memorization is not None
    asked_for = manifest.memorization.evidence["labels"]
    assert {label: each["sounds"] for label, each in asked_for.items()} == {"noise": 4, "tone": 4}
    # A model made of the training before it ends can be asked as well.
    assert read_conditions(RunFolder(tmp_path, "train_prior").noted()[0]) == manifest.prior_config.conditions
    # Of several candidates, each of which can be made alone, the nearest is taken.
    request = Request(seconds=0.4, natural=True, bright=1.0, best_of=8, top_p=1.0)
    [chosen] = produce(tmp_path / "models" / "tiny.distill", request, Destination(tmp_path / "best"), seed=5)
    missed = []
    for number in range(8):
        alone, place = request.model_copy(update={"best_of": 1}), Destination(tmp_path / str(number))
        seed = candidate_seed(5, number)
        [each] = produce(tmp_path / "models" / "tiny.distill", alone, place, seed=seed)
        assert each.got is not None
        found = each.got.knobs["bright"]
        assert found is not None
        missed.append((1.0 - manifest.prior_config.conditions.rank("bright", found), each.codes))
    assert len({value for value, _ in missed}) > 2
    assert np.array_equal(chosen.codes, min(missed, key=lambda each: each[0])[1])
    shown = distill("model", "info", str(tmp_path / "models" / "tiny.distill")).out
    assert "labels" in shown
    assert "noise (" in shown
    # The same sounds without it: the same model as when nobody knew of labels.
    plain = make_workspace(tmp_path, data={"path": str(tmp_path / "in")})
    assert "following" not in run(plain, "configure", "train_prior")


def test_how_well_a_knob_is_followed_has_the_same_bits_wherever_its_numbers_lie() -> None:
    random = np.random.default_rng(0)
    asked, got = np.repeat(RANKS, 4), random.normal(size=20)
    found = set()
    for shift in range(8):
        places = np.zeros((2, 40))[:, shift : shift + 20]
        places[:] = asked, got
        found.add(_correlation(pd.DataFrame({"asked": places[0], "got": places[1]}, copy=False)))
    [value] = found
    assert value == pytest.approx(spearmanr(asked, got).statistic)


def test_following_is_told_for_every_label_and_knob() -> None:
    known = conditions()
    held_out = [("hat", np.array(known.centres[0])), ("kick", np.array(known.centres[0])), ("", np.zeros(23))]
    found = following(vqvae(), prior(known), known, artifact_example.manifest().spectrogram_config, held_out)
    assert {*found.labels} == {*LABELS}
    assert found.judged == 0.5
    assert {*found.knobs} == {*known.knobs}
    assert all(share * SOUNDS == round(share * SOUNDS) for share in found.labels.values())
    assert all(value is None or -1 <= value <= 1 for value in found.knobs.values())
