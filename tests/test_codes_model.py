"""Codes with a model: encoding, decoding, blending, drawing anew and pictures."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codes_util import IDENTITY, OTHER_IDENTITY, edits, grid, grids, model, selections
from distill.audio.sound import Sound
from distill.codec.codec import MOST_LOST_DB, normalize
from distill.codec.load import Networks
from distill.codec.unchanged_codes import keep_codes
from distill.codec.vectors import codebooks, quantize, sum_of_vectors
from distill.codes.blend import blend
from distill.codes.edits import Freeze, Repeat, SetCode
from distill.codes.grid import CodeGrid
from distill.codes.history import History
from distill.codes.model import CodesModel
from distill.codes.pictures import difference_png, grid_png, usage_png
from distill.codes.playback import hear, render, rerender
from distill.codes.randomize import randomize
from distill.codes.selection import EVERYTHING, Selection
from distill.codes.sound import as_source, decode, encode_file, encode_sound, round_trip
from distill.errors import ArtifactError, DataError, UsageError
from distill.models.grid import FREE
from model_example import BANDS, LEVELS, SIZE, encode_grid, write_example
from sounds_util import noise, save, tone

FEW = settings(max_examples=15)


def test_a_file_is_encoded_as_in_training_whatever_its_level_rate_and_channels(tmp_path: Path) -> None:
    mono = tone(0.7, rate=48_000)
    path = save(tmp_path / "a.wav", mono, 48_000, subtype="FLOAT")
    found = encode_file(model(), path)
    expected = model().codec.encode(normalize(mono).samples)
    assert np.array_equal(found.codes, expected)
    assert found.source is not None
    assert (found.source.name, round(found.source.seconds, 3)) == ("a.wav", 0.7)
    for name, samples in {"quiet": 0.1 * mono, "stereo": np.stack([mono, mono], 1)}.items():
        other = encode_file(model(), save(tmp_path / f"{name}.wav", samples, 48_000, subtype="FLOAT"))
        assert np.mean(other.codes == expected) > 0.98
    resampled = encode_file(model(), save(tmp_path / "44.wav", tone(0.7), 44_100, subtype="FLOAT"))
    assert resampled.codes.shape == expected.shape
    with pytest.raises(DataError, match="silent"):
        encode_sound(model(), Sound(np.zeros((1, 999), np.float32), 48_000, "", ""), "silence")


@FEW
@given(st.integers(1, 300_000))
def test_any_length_is_encoded_and_decoded_to_its_duration(samples: int) -> None:
    sound = Sound(noise(samples / 48_000, rate=48_000)[None] + 0.1, 48_000, "", "")
    found = encode_sound(model(), sound, "noise")
    assert len(found) * model().codec.column_samples >= sound.samples.shape[1]
    made = decode(model(), found)
    assert made.shape == (len(found) * model().codec.column_samples,)
    assert len(as_source(model(), found, made)) == sound.samples.shape[1]


def test_a_grid_knows_how_much_louder_the_sound_was_than_its_codes() -> None:
    codec, codes = model().codec, grid(4).codes
    decoded = codec.decode_log_mel(codes)
    assert codec.lost_db(decoded, codes) == pytest.approx(0, abs=1e-3)
    louder = codec.mel.from_power(4 * codec.mel.to_power(torch.from_numpy(decoded))).numpy()
    assert codec.lost_db(louder, codes) == pytest.approx(6.02, abs=0.01)
    assert codec.lost_db(louder[:, :50], codes) > 0
    assert codec.lost_db(decoded + 20, codes) == MOST_LOST_DB
    for level in (0.02, 0.5):
        samples = level * noise(0.5, rate=48_000) / np.abs(noise(0.5, rate=48_000)).max()
        found = encode_sound(model(), Sound(samples[None], 48_000, "FLOAT", "WAV"), "noise")
        lost = codec.lost_db(codec.log_mel(normalize(samples).samples), found.codes)
        assert found.source is not None
        assert found.source.gain_db == pytest.approx(-20 * np.log10(level) - lost, abs=0.01)


def test_a_sound_is_encoded_at_the_level_of_the_grid_that_it_came_from() -> None:
    sound = Sound(0.1 * noise(0.5, rate=48_000)[None], 48_000, "FLOAT", "WAV")
    first = encode_sound(model(), sound, "noise")
    quieter = Sound(0.3 * sound.samples, 48_000, "FLOAT", "WAV")
    assert first.source is not None
    assert encode_sound(model(), quieter, "quieter").source != first.source
    again = encode_sound(model(), quieter, "quieter", like=first)
    assert again.source == replace(first.source, name="quieter")
    level = 0.3 * sound.samples[0] * 10 ** (first.source.gain_db / 20)
    log_mel = model().codec.log_mel(level.astype(np.float32))
    found = model().codec.encode_log_mel(log_mel)
    assert np.array_equal(again.codes, keep_codes(model().codec, log_mel, found, first.codes))
    with pytest.raises(DataError, match="not made from a sound"):
        encode_sound(model(), sound, "noise", like=grid(3, source=None))
    with pytest.raises(ArtifactError, match="belongs to the model drums"):
        encode_sound(model(), sound, "noise", like=grid(model=OTHER_IDENTITY))


def test_a_long_sound_is_encoded_in_pieces_as_if_whole() -> None:
    codec = model().codec
    samples = noise(50.0, rate=48_000)
    log_mel = codec.mel.log_mel(torch.from_numpy(samples))[None]
    whole = encode_grid(codec.vqvae, log_mel)[0].numpy()
    found = codec.encode(samples)
    assert len(found) > 256
    assert found.shape == whole.shape
    # Rounding may turn a code that is as near as another.
    assert np.mean(found == whole) > 0.999


@FEW
@given(st.data())
def test_decoding_depends_on_the_codes_alone(data: st.DataObject) -> None:
    history = History(data.draw(grids(most=4)))
    for _ in range(3):
        history = history.do(data.draw(edits(history.grid).filter(lambda edit: not isinstance(edit, Repeat))))
    end = history.grid
    plain = grid(len(end), codes=end.codes, source=None)
    assert np.array_equal(decode(model(), end), decode(model(), plain))


def test_decoding_restores_the_level_of_the_source_without_clipping() -> None:
    made = decode(model(), grid(4))
    peak = np.abs(made).max()
    quiet = replace(grid(4), source=replace(grid(4).source, gain_db=26.0))  # type: ignore[type-var]
    assert np.abs(as_source(model(), quiet, made)).max() == pytest.approx(peak / 10**1.3, rel=1e-4)
    loud = replace(grid(4), source=replace(grid(4).source, gain_db=-80.0))  # type: ignore[type-var]
    assert np.abs(as_source(model(), loud, made)).max() < 1.0
    unknown = grid(4, source=None)
    assert np.abs(as_source(model(), unknown, made)).max() == pytest.approx(10 ** (-1 / 20), rel=1e-4)
    longer = Repeat(columns=(0, 4)).apply(grid(4))
    assert len(as_source(model(), longer, decode(model(), longer))) == 8 * model().codec.column_samples


def test_a_round_trip_counts_the_codes_that_change() -> None:
    start = grid(5)
    found = round_trip(model(), start)
    again = model().codec.encode_log_mel(model().codec.decode_log_mel(start.codes))
    assert found.by_spectrogram == pytest.approx([np.mean(again[..., i] != start.codes[..., i]) for i in range(LEVELS)])
    assert len(found.by_sound) == len(found.by_file) == LEVELS
    assert all(0 <= share <= 1 for share in (*found.by_sound, *found.by_file))
    assert found.distance > 0


def test_a_grid_of_another_model_is_refused_with_both_digests() -> None:
    foreign = grid(model=OTHER_IDENTITY)
    for do in (
        lambda: decode(model(), foreign),
        lambda: render(model(), foreign),
        lambda: hear(model(), foreign),
        lambda: round_trip(model(), foreign),
        lambda: blend(model(), grid(), foreign, 0.5),
        lambda: blend(model(), foreign, grid(), 0.5),
        lambda: randomize(model(), foreign, seed=0),
        lambda: rerender(model(), render(model(), grid(2)), foreign),
    ):
        with pytest.raises(ArtifactError, match=r"2{64}.*1{64}"):
            do()
    # Another prior gives the file another digest; the codes are the same.
    decode(model(), grid(2, model=replace(IDENTITY, digest="3" * 64)))


def test_the_codes_of_a_model_stay_its_own_when_its_prior_changes(tmp_path: Path) -> None:
    with_prior = CodesModel.load(write_example(tmp_path / "a.distill"))
    without = CodesModel.load(write_example(tmp_path / "b.distill", with_prior=False))
    assert with_prior.identity.digest != without.identity.digest
    assert with_prior.identity.codec_digest == without.identity.codec_digest
    found = with_prior.grid(grid(3).codes)
    assert np.array_equal(decode(without, found), decode(with_prior, found))
    with pytest.raises(ArtifactError, match="no prior: train one"):
        randomize(without, found, seed=0)


def test_a_grid_that_only_claims_to_be_of_the_model_is_refused() -> None:
    wide = grid(codes=np.zeros((2, BANDS, 3), np.int64), labels=("a", "b", "c"))
    with pytest.raises(DataError, match="does not fit the model"):
        decode(model(), wide)
    with pytest.raises(DataError, match="codes from"):
        decode(model(), grid(codes=np.full((2, BANDS, LEVELS), SIZE), codebook_size=SIZE + 1))


@FEW
@given(st.data())
def test_a_blend_has_both_grids_as_its_ends(data: st.DataObject) -> None:
    one, two = data.draw(grids()), data.draw(grids())
    chosen = data.draw(selections(one))
    at = data.draw(st.integers(0, len(two) - 1))
    nothing = blend(model(), one, two, 0.0, chosen, at)
    assert nothing.edit.apply(one) == one
    assert (nothing.edit.distance, nothing.changed) == (pytest.approx(0.0, abs=1e-6), 0)
    everything = blend(model(), one, two, 1.0, chosen, at)
    after = everything.edit.apply(one)
    cells, theirs = everything.overlap.here.cells(one), everything.overlap.there.cells(two)
    assert np.array_equal(after.codes[cells], two.codes[theirs])
    untouched = np.ones(one.codes.shape, bool)
    untouched[cells] = False
    assert np.array_equal(after.codes[untouched], one.codes[untouched])


@FEW
@given(st.floats(0, 1), st.integers(0, 99))
def test_a_blend_is_the_nearest_level_by_level_to_the_interpolated_vectors(weight: float, seed: int) -> None:
    one, two = grid(4, seed), grid(4, seed + 1)
    books = codebooks(model().codec)
    found = blend(model(), one, two, weight)
    codes = found.edit.apply(one).codes
    if 0 < weight < 1:
        target = sum_of_vectors(books, one.codes, 1 - weight) + sum_of_vectors(books, two.codes, weight)
        left = torch.from_numpy(target.reshape(-1, target.shape[-1]))
        for level in range(LEVELS):
            distances = torch.cdist(left, torch.from_numpy(books[level]))
            chosen = torch.from_numpy(codes[..., level].flatten())
            nearest = distances.min(1).values
            assert torch.allclose(distances.gather(1, chosen[:, None])[:, 0], nearest, atol=1e-4)
            left = left - torch.from_numpy(books[level])[chosen]
        rms = left.square().mean().sqrt() / torch.from_numpy(target).square().mean().sqrt()
        assert found.edit.distance == pytest.approx(float(rms), rel=1e-3, abs=1e-6)
    assert found.changed == int(np.sum(codes != one.codes))


def test_quantizing_is_what_the_model_does() -> None:
    vqvae = model().codec.vqvae
    vectors = torch.randn(2, 24, vqvae.codebook_dim, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = vqvae.quantizer(vectors).indices.numpy()
    books = codebooks(model().codec)
    assert np.array_equal(quantize(books, vectors.numpy(), np.full(expected.shape, FREE)), expected)


def test_a_blend_by_level_keeps_what_is_frozen_and_takes_over_what_weighs_1() -> None:
    one, two = grid(4, 1), grid(6, 2)
    after = blend(model(), one, two, [0.0, 1.0]).edit.apply(one)
    assert np.array_equal(after.codes[..., 0], one.codes[..., 0])
    assert np.array_equal(after.codes[..., 1], two.codes[:4, :, 1])
    frozen = Freeze(levels=(0,)).apply(one)
    after = blend(model(), frozen, two, 0.5).edit.apply(frozen)
    assert np.array_equal(after.codes[..., 0], one.codes[..., 0])
    found = blend(model(), two, one, 0.5)
    assert (found.overlap.columns, found.overlap.left_out) == (4, 2)
    assert np.array_equal(found.edit.apply(two).codes[4:], two.codes[4:])


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -0.1, 1.1, [0.5], [0.5, 0.5, 0.5], [0.5, float("nan")]])
def test_a_weight_that_is_none_is_refused(weight: Any) -> None:
    with pytest.raises(UsageError, match="weight"):
        blend(model(), grid(), grid(), weight)


def test_drawing_anew_changes_only_the_selection_and_follows_from_the_seed() -> None:
    start = grid(6)
    chosen = Selection(columns=(2, 4), bands=(1, 5), levels=(1,))
    first = randomize(model(), start, chosen, seed=3, candidates=4)
    assert first == randomize(model(), start, chosen, seed=3, candidates=4)
    assert first != randomize(model(), start, chosen, seed=4, candidates=4)
    after = first.apply(start)
    untouched = np.ones(start.codes.shape, bool)
    untouched[chosen.cells(start)] = False
    assert np.array_equal(after.codes[untouched], start.codes[untouched])
    assert not np.array_equal(after.codes, start.codes)
    frozen = Freeze(levels=(0,)).apply(start)
    after = randomize(model(), frozen, seed=1, candidates=4).apply(frozen)
    assert np.array_equal(after.codes[..., 0], start.codes[..., 0])
    for wrong in (Selection(columns=(5, 9)), Selection(columns=(3, 3)), Selection(bands=(BANDS,))):
        with pytest.raises(UsageError):
            randomize(model(), start, wrong, seed=0)
    with pytest.raises(UsageError, match="seed"):
        randomize(model(), start, seed=-1)


def test_pictures_of_grids_follow_from_the_codes(tmp_path: Path) -> None:
    one, two = grid(12), grid(9, seed=4, frozen=(1,))
    for name in ("a", "b"):
        grid_png(tmp_path / f"{name}1.png", one, "one")
        grid_png(tmp_path / f"{name}2.png", two)
        difference_png(tmp_path / f"{name}3.png", one, two)
        usage_png(tmp_path / f"{name}4.png", one)
    for number in range(1, 5):
        data = (tmp_path / f"a{number}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        assert data == (tmp_path / f"b{number}.png").read_bytes()


def test_a_picture_has_its_cells_where_their_time_is(tmp_path: Path) -> None:
    """Cells of the extreme codes are found by their colour in the middle of where they should be."""
    import matplotlib.image

    codes = np.zeros((10, BANDS, LEVELS), np.int64)
    codes[7, 0, 0] = SIZE - 1
    grid_png(tmp_path / "a.png", grid(codes=codes))
    image = matplotlib.image.imread(tmp_path / "a.png")[..., :3]
    dark = np.all(np.abs(image - [0.267, 0.005, 0.329]) < 0.02, axis=2)
    light = np.all(np.abs(image - [0.993, 0.906, 0.144]) < 0.02, axis=2)
    # The upper panel; the scale at the right has both colours, too.
    rows = np.flatnonzero(dark.sum(1) > image.shape[1] // 2)
    top, bottom = rows[0], rows[np.flatnonzero(np.diff(rows) > 1)[0]]
    left, right = (each(np.flatnonzero(dark[(top + bottom) // 3])) for each in (np.min, np.max))
    panel = light[top : bottom + 1, left : left + round((right - left) * 0.88)]
    ys, xs = np.nonzero(panel)
    runs = np.flatnonzero(dark[top + 2])
    width = runs[np.flatnonzero(np.diff(runs) > 1)[0]] - left if (np.diff(runs) > 1).any() else right - left
    assert np.mean(xs) / width == pytest.approx(0.75, abs=0.01)
    assert np.mean(ys) / (bottom - top) == pytest.approx(1 - 0.5 / BANDS, abs=0.02)


@pytest.mark.skipif("DISTILL_TEST_AUDIO" not in os.environ, reason="DISTILL_TEST_AUDIO is not set")
def test_real_sounds_go_there_and_back() -> None:
    folder = Path(os.environ["DISTILL_TEST_AUDIO"])
    for path in [next(iter(sorted((folder / name).glob("*.*")))) for name in ("kit", "digits", "tabla")]:
        found = encode_file(model(), path)
        made = as_source(model(), found, decode(model(), found))
        assert found.source is not None
        assert len(made) == round(found.source.seconds * 48_000)
        assert np.abs(made).max() < 1.0
        assert isinstance(SetCode(selection=EVERYTHING, code=0).apply(found), CodeGrid)


@pytest.mark.parametrize("over_db", [-3.0, 0.0, 3.0])
def test_single_peaks_do_not_make_a_decoded_sound_softer(over_db: float) -> None:
    made = np.random.default_rng(0).normal(0, 0.05, 48_000).astype(np.float32)
    made[20_000] = 10 ** (over_db / 20)
    source = replace(grid(4).source, gain_db=0.0)  # type: ignore[type-var]
    heard = as_source(model(), replace(grid(4), source=source), made)
    level = 10 * np.log10(np.square(heard).mean() / np.square(made[: len(heard)]).mean())
    assert abs(level) < 0.1
    assert np.abs(heard).max() < 1.0


def test_a_model_whose_networks_are_damaged_says_so() -> None:
    broken = CodesModel(model().codec, IDENTITY, Networks(model().codec.vqvae, None, Path("x.distill")))
    with pytest.raises(ArtifactError, match=r"x\.distill has no prior"):
        randomize(broken, grid(), seed=0)


def test_a_sound_whose_name_a_grid_cannot_say_is_refused(tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(save(tmp_path / "b.wav", tone(0.3))).replace(b"b.wav", b"b\xff.wav")))
    (tmp_path / "b.wav").rename(path)
    with pytest.raises(DataError, match="no UTF-8"):
        encode_file(model(), path)
