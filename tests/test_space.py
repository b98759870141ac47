"""Space: where sounds lie between two channels, measured, coded and made again."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from space_util import RATE, panned, space_model, stereo_codec

from distill.audio.downmix import Downmix, place_of
from distill.audio.mel import MelTransform
from distill.audio.samples import to_mono, two_channels
from distill.audio.sound import Sound
from distill.audio.space import (
    BAND_MELS,
    MONO,
    MOST_DB,
    band_powers,
    channel_factors,
    in_two,
    side_blocks,
    side_of,
    space_of_sound,
)
from distill.configs import SpectrogramConfig
from distill.errors import UsageError
from distill.generation.space import width_of, with_space
from distill.models.grid import FREE
from distill.models.space import SLOTS, cells_of, space_of_cells
from model_example import BANDS, LEVELS, SIZE
from model_example import codec as mono_codec
from sounds_util import noise, tone

CONFIG = SpectrogramConfig()
TRANSFORM = MelTransform(CONFIG)


def _sounding(channels: np.ndarray) -> np.ndarray:
    """The bands and frames in which something is well above the floor, `[frames, bands]`."""
    power = band_powers(TRANSFORM.power_frames(torch.from_numpy(channels.mean(0))))
    return power > 100 * BAND_MELS * TRANSFORM.floor


def _wide(width: float, seconds: float = 0.8) -> np.ndarray:
    """Noise `[2, n]` whose side has a share of the mid's level, and nothing to do with it."""
    mid, side = noise(seconds, 1, RATE), noise(seconds, 2, RATE)
    return np.stack([mid + width * side, mid - width * side])


@pytest.mark.parametrize("at", [-0.6, -0.2, 0.0, 0.4, 0.8])
def test_a_panned_sound_has_its_level_difference_and_is_coherent(at: float) -> None:
    channels = np.ascontiguousarray(panned(noise(0.5, 0, RATE), at).T)
    space = space_of_sound(channels, TRANSFORM)[_sounding(channels)]
    angle = (at + 1) * np.pi / 4
    assert np.allclose(space[:, 0], -20 * np.log10(np.tan(angle)), atol=0.1)
    assert (space[:, 1] > 0.99).all()


@pytest.mark.parametrize("at", [-1.0, 1.0])
def test_one_silent_channel_is_hard_left_or_right_and_its_rendering_too(at: float) -> None:
    channels = np.ascontiguousarray(panned(tone(0.5, rate=RATE), at).T)
    space = space_of_sound(channels, TRANSFORM)
    assert np.allclose(space[_sounding(channels)][:, 0], -at * MOST_DB, atol=0.2)
    mid = channels.mean(0)
    left, right = np.square(in_two(mid, side_of(mid, space, CONFIG))).sum(1)
    assert abs(10 * np.log10(left / right)) > 20


@pytest.mark.parametrize("width", [0.1, 0.3, 0.6, 1.0])
def test_what_two_channels_do_not_share_lowers_their_coherence(width: float) -> None:
    space = space_of_sound(_wide(width), TRANSFORM)
    found = float(np.median(space[..., 1]))
    assert found == pytest.approx((1 - width**2) / (1 + width**2), abs=0.08)
    assert abs(float(np.median(space[..., 0]))) < 0.5


def test_the_same_in_both_channels_is_mono_and_has_no_side() -> None:
    samples = tone(0.4, rate=RATE)
    space = space_of_sound(np.stack([samples, samples]), TRANSFORM)
    assert np.allclose(space, np.array(MONO), atol=1e-3)
    assert not side_of(samples, np.full_like(space, MONO), CONFIG).any()


@pytest.mark.parametrize(
    "channels",
    [
        np.ascontiguousarray(panned(tone(0.6, rate=RATE), 0.5).T),
        np.ascontiguousarray(panned(noise(0.6, 4, RATE), -0.9).T),
        _wide(0.4),
        _wide(0.9),
        _wide(0.3) + np.ascontiguousarray(panned(tone(0.8, rate=RATE), -0.7).T),
    ],
)
def test_a_sound_made_again_lies_where_it_lay_and_its_mix_is_untouched(channels: np.ndarray) -> None:
    space, mid = space_of_sound(channels, TRANSFORM), channels.mean(0)
    made = in_two(mid, side_of(mid, space, CONFIG))
    assert np.allclose(made.sum(0), 2 * mid, atol=1e-6)
    apart = np.abs(space_of_sound(made, TRANSFORM) - space)[_sounding(channels)]
    level, coherence = np.median(apart, axis=0)
    assert level < 2.0
    assert coherence < 0.15


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=12), st.integers(0, 9))
def test_a_side_is_the_same_however_its_sound_comes(sizes: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    mid = random.uniform(-0.5, 0.5, sum(sizes)).astype(np.float32)
    space = np.stack(
        [random.uniform(-12, 12, (1 + len(mid) // 512, 16)), random.uniform(0, 1, (1 + len(mid) // 512, 16))], axis=2
    ).astype(np.float32)
    blocks = np.split(mid, np.cumsum(sizes)[:-1])
    mids, sides = zip(*side_blocks(blocks, space, CONFIG), strict=True)
    assert np.array_equal(np.concatenate(mids), mid)
    assert np.array_equal(np.concatenate(sides), side_of(mid, space, CONFIG))


@pytest.mark.parametrize(("n_fft", "hop"), [(2048, 512), (2048, 128), (4096, 256), (1024, 64)])
def test_a_long_side_has_no_seams(monkeypatch: pytest.MonkeyPatch, n_fft: int, hop: int) -> None:
    config = SpectrogramConfig(n_fft=n_fft, hop_length=hop, n_mels=64)
    channels = _wide(0.6, 2.0)
    space, mid = space_of_sound(channels, MelTransform(config)), channels.mean(0)
    whole = side_of(mid, space, config)
    monkeypatch.setattr("distill.audio.space._PIECE_FRAMES", 200)
    assert np.allclose(side_of(mid, space, config), whole, atol=1e-5)


def test_channels_that_cancel_are_turned_over_and_lie_where_they_lay() -> None:
    left = noise(0.5, 1, RATE)
    sound = Sound(np.stack([left, -0.8 * left]), RATE, "FLOAT", "WAV")
    channels = two_channels(sound, RATE)
    assert channels is not None
    assert np.allclose(channels.mean(0), to_mono(sound, RATE), atol=1e-6)
    assert np.allclose(channels[1], 0.8 * left)
    alike = Sound(np.stack([left, -left]), RATE, "FLOAT", "WAV")
    assert two_channels(alike, RATE) is None
    assert np.allclose(to_mono(alike, RATE), left)


@pytest.mark.parametrize("count", [1, 3, 6, 8])
def test_only_two_channels_have_a_side(count: int) -> None:
    mix = Downmix(count)
    mix.add(np.stack([noise(seed=seed) for seed in range(count)], axis=1))
    assert mix.side_db is None
    assert mix.turned is None


def test_the_bar_of_a_card_follows_place_and_width() -> None:
    samples = noise(0.3, 0, RATE)
    places = [place_of(np.ascontiguousarray(panned(samples, at).T)) for at in (-1.0, -0.5, 0.25, 1.0)]
    assert [place and place[0] for place in places] == pytest.approx([-1.0, -0.5, 0.25, 1.0], abs=0.01)
    assert all(place and place[1] < 0.01 for place in places)
    assert place_of(np.stack([samples, samples])) is None
    widths = [place_of(_wide(width)) for width in (0.1, 0.5, 1.0)]
    assert all(place and abs(place[0]) < 0.05 for place in widths)
    assert [place and place[1] for place in widths] == sorted(place[1] for place in widths if place)


def test_the_powers_of_channels_follow_from_the_mix_and_the_place() -> None:
    channels = np.ascontiguousarray(panned(noise(0.5, 3, RATE), 0.4).T)
    factors = channel_factors(space_of_sound(channels, TRANSFORM))
    mid, left, right = (
        band_powers(TRANSFORM.power_frames(torch.from_numpy(np.ascontiguousarray(each))))
        for each in (channels.mean(0), channels[0], channels[1])
    )
    sounding = _sounding(channels)
    for factor, power in zip(factors, (left, right), strict=True):
        assert np.allclose((factor * mid)[sounding], power[sounding], rtol=0.05)


def test_cells_keep_the_mean_of_their_frames_and_come_back_as_frames() -> None:
    random = np.random.default_rng(0)
    slots = random.uniform(-10, 10, (3 * SLOTS, 2 * BANDS, 2)).astype(np.float32)
    space = np.repeat(slots, 4, axis=0)
    cells = cells_of(space[:-3])
    assert cells.shape == (3, BANDS, SLOTS, 2, 2)
    assert np.allclose(cells_of(space), cells, atol=1e-5)
    constant = np.full_like(cells, 0.5)
    assert np.allclose(space_of_cells(constant), 0.5)
    assert space_of_cells(cells).shape == space.shape


def test_the_codes_of_what_codes_stand_for_are_the_codes() -> None:
    model = space_model()
    codes = np.random.default_rng(1).integers(0, SIZE, (5, BANDS))
    assert np.array_equal(model.codes_of(model.cells(codes)), codes)
    mono = np.full((2, BANDS, SLOTS, 2, 2), MONO, np.float32)
    assert not model.codes_of(mono).any()


def test_codes_are_drawn_by_the_probabilities_of_the_training() -> None:
    """Column by column, with what was drawn before, the network gives what it gives all at once."""
    model = space_model()
    codes = np.random.default_rng(2).integers(0, SIZE, (6, BANDS))
    vectors = torch.randn(6, BANDS, model.codebook_dim, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = model(torch.from_numpy(codes)[None], vectors[None])[0].numpy()
        # Beside a longer sound it is the same.
        padded = torch.zeros(2, 9, BANDS, dtype=torch.int64), torch.zeros(2, 9, BANDS, model.codebook_dim)
        padded[0][0, :6], padded[1][0, :6] = torch.from_numpy(codes), vectors
        beside = model(*padded, torch.tensor([6, 9]))[0, :6].numpy()
        seen = model.seen(vectors[None])
    assert np.allclose(beside, together, atol=1e-5)
    state, found = None, np.zeros_like(together)
    for column in range(len(codes)):

        def note(band: int, logits: np.ndarray, column: int = column) -> int:
            found[column, band] = logits
            return int(codes[column, band])

        state = model.column(codes.copy(), column, seen, state, note)
    assert np.allclose(found, together, atol=1e-5)


def test_a_place_follows_from_the_seed_and_given_codes_stay() -> None:
    codec = stereo_codec()
    grid = np.random.default_rng(0).integers(0, SIZE, (7, BANDS, LEVELS))
    first, again, other = (with_space(codec, grid, seed=seed) for seed in (1, 1, 2))
    assert first.shape == (7, BANDS, LEVELS + 1)
    assert np.array_equal(first, again)
    assert np.array_equal(first[..., :-1], grid)
    assert not np.array_equal(first, other)
    given = np.where(np.arange(7)[:, None] < 3, 4, FREE) * np.ones((1, BANDS), np.int64)
    known = with_space(codec, grid, seed=1, given=given)[..., -1]
    assert (known[:3] == 4).all()


def test_a_model_of_mono_sounds_has_no_place_and_cannot_be_asked_for_one() -> None:
    codec = mono_codec()
    grid = np.zeros((2, BANDS, LEVELS), np.int64)
    assert with_space(codec, grid, seed=0) is grid
    assert codec.whole(grid) is grid
    assert width_of(codec, None, 1.0) is None
    for channels, width in ((2, 1.0), (None, 0.5)):
        with pytest.raises(UsageError, match="makes mono sounds"):
            width_of(codec, channels, width)
    assert width_of(stereo_codec(), 1, 1.0) is None
    assert width_of(stereo_codec(), None, 0.4) == 0.4
