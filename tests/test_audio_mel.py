"""The spectrogram, its inversion, and augmentation."""

import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from seams import novelty, seams
from waves import modulation

from distill.audio import invert
from distill.audio.augment import augment
from distill.audio.invert import PIECE_FRAMES, griffin_lim, griffin_lim_blocks
from distill.audio.magnitudes import linear_power, scale_to_mel
from distill.audio.mel import MelTransform, chunk_frames, mel_filters
from distill.audio.torchaudio_import import import_torchaudio
from distill.configs import STRIDE, SpectrogramConfig
from sounds_util import noise, tone

CONFIG = SpectrogramConfig()
SMALL = SpectrogramConfig(sample_rate=16_000, n_fft=512, hop_length=160, n_mels=32)


@pytest.mark.parametrize("config", [CONFIG, SMALL])
def test_power_is_torchaudios(config: SpectrogramConfig) -> None:
    torchaudio = import_torchaudio()
    plain = torchaudio.transforms.MelSpectrogram(
        config.sample_rate,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
        power=2.0,
        center=True,
    )
    samples = torch.randn(2, 3, 2 * config.sample_rate + 17, generator=torch.Generator().manual_seed(0))
    power = MelTransform(config).power(samples)
    expected = plain(samples)
    assert power.shape == expected.shape
    assert torch.allclose(power, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


@pytest.mark.filterwarnings("ignore:At least one mel filterbank has all zero values")
@given(st.sampled_from([8000, 16_000, 44_100, 48_000, 96_000]), st.sampled_from([256, 512, 1024, 2048, 4096]))
@settings(deadline=None, max_examples=10)
def test_a_spectrogram_is_taken_where_every_filter_holds_something(sample_rate: int, n_fft: int) -> None:
    for n_mels in range(STRIDE, 257, STRIDE):
        values = {"sample_rate": sample_rate, "n_fft": n_fft, "hop_length": n_fft // 2, "n_mels": n_mels}
        full = bool(mel_filters(SpectrogramConfig.model_construct(**values)).any(0).all())
        with nullcontext() if full else pytest.raises(ValidationError, match="raise n_fft"):
            SpectrogramConfig(**values)


@given(samples=st.integers(1, 5000))
@settings(deadline=None, max_examples=30)
def test_frames_of_any_length(samples: int) -> None:
    log_mel = MelTransform(CONFIG).log_mel(torch.full((samples,), 0.1))
    assert log_mel.shape == (128, CONFIG.frames_of(samples))
    assert torch.isfinite(log_mel).all()


def test_a_chunk_is_94_frames() -> None:
    assert chunk_frames(CONFIG, 1.0) == 94
    assert MelTransform(CONFIG).log_mel(torch.zeros(48_000)).shape == (128, 94)


def test_silence_is_zero_and_log_mel_goes_back_to_power() -> None:
    transform = MelTransform(CONFIG)
    assert not transform.log_mel(torch.zeros(4800)).any()
    power = transform.power(torch.from_numpy(tone(1.0, rate=48_000)))
    back = transform.to_power(transform.from_power(power))
    assert torch.allclose(back, power, rtol=1e-3, atol=1e-5)
    assert not transform.to_power(torch.tensor([-1.0])).any()


def test_torchaudio_is_imported_without_its_extension_in_a_fresh_process() -> None:
    code = (
        "from distill.audio.torchaudio_import import import_torchaudio\n"
        "first = import_torchaudio()\nassert first is import_torchaudio()\n"
        "import torchaudio\nassert torchaudio is first\nassert torchaudio.transforms.MelSpectrogram\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def _log_mels(count: int, seconds: float = 0.6) -> torch.Tensor:
    waves = [tone(seconds, 150.0 * (index + 1), 48_000, 0.9) for index in range(count)]
    return MelTransform(CONFIG).log_mel(torch.from_numpy(np.stack(waves)))


def test_griffin_lim_keeps_the_spectrogram() -> None:
    log_mel = _log_mels(2)
    waves = griffin_lim(log_mel, CONFIG)
    assert waves.shape == (2, (log_mel.shape[-1] - 1) * CONFIG.hop_length)
    back = MelTransform(CONFIG).log_mel(waves)
    assert float((back - log_mel).abs().mean()) < 0.25


def test_more_rounds_come_nearer() -> None:
    # A sine alone is right from the start.
    log_mel = MelTransform(CONFIG).log_mel(torch.from_numpy(noise(0.6, 1))[None])
    errors = [
        float((MelTransform(CONFIG).log_mel(griffin_lim(log_mel, CONFIG, rounds=rounds)) - log_mel).square().mean())
        for rounds in (0, 8, 32)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_fitting_the_magnitudes_to_the_mel_brings_the_sound_nearer_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log_mel = _log_mels(3)
    transform = MelTransform(CONFIG)

    def error() -> float:
        return float((transform.log_mel(griffin_lim(log_mel, CONFIG)) - log_mel).square().mean())

    with_fits = error()
    monkeypatch.setattr(invert, "_FITS", ())
    assert with_fits < 0.95 * error()


def _buzz(samples: np.ndarray) -> float:
    return modulation(samples, CONFIG.sample_rate, CONFIG.sample_rate / CONFIG.hop_length)


@pytest.mark.parametrize("decay", [0.0, 5.0])
def test_noise_does_not_buzz_at_the_hop_rate(decay: float) -> None:
    fading = np.exp(-decay * np.arange(48_000) / 48_000).astype(np.float32)
    for seed in range(3):
        wave = noise(1.0, seed, 48_000) * fading
        log_mel = MelTransform(CONFIG).log_mel(torch.from_numpy(wave))
        assert _buzz(griffin_lim(log_mel[None], CONFIG)[0].numpy()) < _buzz(wave) + 0.05


def test_partials_stay_tones_beside_noise() -> None:
    time = np.arange(48_000) / 48_000
    partials = sum(np.sin(2 * np.pi * frequency * time) for frequency in (220.0, 554.0, 887.0)) / 6
    wave = (partials + noise(1.0, 0, 48_000, 0.03)).astype(np.float32)
    log_mel = MelTransform(CONFIG).log_mel(torch.from_numpy(wave))[None]

    def tonal(samples: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(samples[:47_616] * np.hanning(47_616))) ** 2
        near = [power[round(f * 47_616 / 48_000) + np.arange(-8, 9)].sum() for f in (220.0, 554.0, 887.0)]
        return float(sum(near) / power.sum())

    assert tonal(griffin_lim(log_mel, CONFIG)[0].numpy()) > 0.9 * tonal(wave)


def test_what_ends_at_once_leaves_silence_whatever_a_decoder_leaves_below_the_floor() -> None:
    log_mel = _log_mels(1)
    log_mel[..., 40:] = 0.2 * torch.rand(log_mel[..., 40:].shape, generator=torch.Generator().manual_seed(0))
    made = griffin_lim(torch.cat([log_mel, torch.zeros(1, 128, 128)], 2), CONFIG)[0]
    assert made[: 36 * CONFIG.hop_length].abs().max() > 0.1
    assert made[44 * CONFIG.hop_length :].abs().max() < 1e-3
    assert made[-4096:].abs().max() < 1e-6
    never = 0.2 * torch.rand((1, 128, 60), generator=torch.Generator().manual_seed(0))
    assert griffin_lim(never, CONFIG).abs().max() < 1e-6


def _rebuilt(wave: np.ndarray) -> np.ndarray:
    """A sound `[n]` by way of its log mel; `n` is a multiple of the hop."""
    made: np.ndarray = griffin_lim(MelTransform(CONFIG).log_mel(torch.from_numpy(wave))[None], CONFIG)[0].numpy()
    return made


def test_a_tail_dies_away_as_it_did_far_below_the_floor() -> None:
    time = np.arange(2 * 48_000 // 512 * 512) / 48_000

    def left(samples: np.ndarray) -> np.ndarray:
        """Energy from each sample on, in dB."""
        return 10 * np.log10(np.cumsum(np.square(samples[::-1], dtype=np.float64))[::-1] + 1e-20)

    for decibels in (40.0, 60.0, 90.0):
        wave = (noise(2.0, 1, 48_000)[: len(time)] * 10 ** (-decibels * time / 20)).astype(np.float32)
        before, after = left(wave), left(_rebuilt(wave))
        assert np.abs(after - before)[before > before[0] - 60].max() < 3


@pytest.mark.parametrize("offset", [0, 100, 200, 300, 400, 500])
def test_what_is_before_an_attack_stays_silent(offset: int) -> None:
    begin, length = 16_384 + offset, 100 * 512
    fading = np.exp(-np.arange(length - begin) / 6000)
    for burst in (noise(1.0, 2, 48_000)[: length - begin], tone(1.0, 80.0, 48_000, 0.9)[: length - begin]):
        wave = np.concatenate([np.zeros(begin), burst * fading]).astype(np.float32)
        made = _rebuilt(wave)
        loudest = np.square(wave[begin : begin + 960]).mean()
        assert np.square(made[begin - 480 : begin - 96]).mean() < 1e-3 * loudest
        # And what follows is there in time.
        assert np.square(made[begin : begin + 960]).mean() > 0.5 * loudest


def test_what_rises_slowly_is_not_held() -> None:
    length = 100 * 512
    wave = noise(2.0, 3, 48_000)[:length] * np.linspace(0, 1, length, dtype=np.float32) ** 2
    made = _rebuilt(wave)
    for begin in range(8192, length - 4096, 4096):
        part = slice(begin, begin + 4096)
        assert abs(10 * np.log10(np.square(made[part]).mean() / np.square(wave[part]).mean())) < 1.5


def test_a_sound_begins_with_no_click_and_has_its_level() -> None:
    for seed in range(3):
        wave = noise(0.5, seed, 48_000)[: 40 * 512] * np.exp(-np.arange(40 * 512) / 5000).astype(np.float32)
        made = _rebuilt(wave)
        assert abs(made[0]) < 5e-3 * np.abs(made).max()
        assert np.square(made[48:480]).mean() > 0.5 * np.square(wave[48:480]).mean()
        assert abs(10 * np.log10(np.square(made).sum() / np.square(wave).sum())) < 1


def test_a_fit_scales_bands_and_leaves_alone_what_fits() -> None:
    filters = mel_filters(CONFIG)
    heard = filters.sum(1) > 0
    power = torch.rand(7, CONFIG.n_fft // 2 + 1, generator=torch.Generator().manual_seed(0)) + 0.1
    mel_power = power @ filters
    for gain in (1.0, 4.0):
        found = scale_to_mel(power.clone(), gain * mel_power, CONFIG)
        torch.testing.assert_close(found[:, heard], gain * power[:, heard])
    assert not scale_to_mel(power.clone(), torch.zeros_like(mel_power), CONFIG).any()


def test_a_sound_is_inverted_the_same_alone_and_in_a_batch() -> None:
    log_mels = _log_mels(3)
    together = griffin_lim(log_mels, CONFIG, rounds=8)
    for index in range(3):
        alone = griffin_lim(log_mels[index : index + 1], CONFIG, rounds=8)[0]
        assert torch.allclose(alone, together[index], atol=1e-4)


def test_known_samples_stay_and_what_is_found_joins_them_in_phase() -> None:
    wave = torch.from_numpy(tone(1.0, 330.0, 48_000, 0.9))
    log_mel = MelTransform(CONFIG).log_mel(wave)[None]
    length = (log_mel.shape[-1] - 1) * CONFIG.hop_length
    known = wave[None, :length].clone()
    known[:, 16_000:17_000] = torch.nan
    made = griffin_lim(log_mel, CONFIG, known=known)[0]
    assert torch.equal(made[:16_000], wave[:16_000])
    assert torch.equal(made[17_000:], wave[17_000:length])
    gap = slice(16_000, 17_000)
    assert float((made[gap] - wave[gap]).norm() / wave[gap].norm()) < 0.3
    free = griffin_lim(log_mel, CONFIG)[0]
    assert float((free[gap] - wave[gap]).norm() / wave[gap].norm()) > 0.6


def test_long_sounds_are_inverted_in_pieces_that_join_in_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    time = torch.arange(6 * 48_000) / 48_000
    wave = sum(torch.sin(2 * torch.pi * frequency * time) for frequency in (220.0, 554.0, 1320.0)) / 4
    transform = MelTransform(CONFIG)
    log_mel = transform.log_mel(wave)[None]
    monkeypatch.setattr(invert, "PIECE_FRAMES", 64)
    pieces = griffin_lim(log_mel, CONFIG)[0]
    # Pieces that know nothing of each other.
    cuts = range(32, log_mel.shape[-1] - 1, 32)
    parts = [griffin_lim(log_mel[..., at - 32 : at + 1], CONFIG)[0] for at in (*cuts, log_mel.shape[-1] - 1)]
    joints = [first + invert._LEAD_FRAMES for first, _ in invert._bounds(log_mel.shape[-1])][1:]
    assert len(joints) > 12
    joined = seams(novelty(pieces.numpy(), CONFIG)["waveform"], joints).percentile
    apart = seams(novelty(torch.cat(parts).numpy(), CONFIG)["waveform"], list(cuts)).percentile
    limit = 0.5 + 3 * (1 / 12 / len(joints)) ** 0.5
    assert joined < limit < apart


@pytest.mark.parametrize("frames", [1, 40, PIECE_FRAMES, PIECE_FRAMES + 1, 2 * PIECE_FRAMES + 77])
def test_blocks_are_the_whole_waveform(frames: int) -> None:
    log_mel = _log_mels(1, (frames - 1) * CONFIG.hop_length / 48_000 + 1e-3)[..., :frames]
    assert log_mel.shape[-1] == frames
    blocks = list(griffin_lim_blocks(lambda first, last: log_mel[0, :, first:last], frames, CONFIG, rounds=2))
    assert torch.equal(torch.cat(blocks), griffin_lim(log_mel, CONFIG, rounds=2)[0])


def test_griffin_lim_with_windows_that_the_hop_does_not_divide() -> None:
    samples = torch.from_numpy(tone(1.0, 440.0, 16_000, 0.9))
    transform = MelTransform(SMALL)
    log_mel = transform.log_mel(samples)[None]
    back = transform.log_mel(griffin_lim(log_mel, SMALL)[0])
    assert float((back - log_mel[0]).abs().mean()) < 0.7


def test_inversion_draws_from_no_global_generator_and_bears_silence() -> None:
    state = torch.get_rng_state()
    waves = griffin_lim(torch.zeros(1, 128, 20), CONFIG)
    assert torch.equal(state, torch.get_rng_state())
    assert float(waves.abs().max()) < 1e-3
    assert torch.isfinite(griffin_lim(torch.full((1, 128, 1), 3.0), CONFIG)).all()


def test_linear_power_is_positive_and_gives_the_mel_power_back() -> None:
    power = MelTransform(CONFIG).to_power(_log_mels(1)[0]).T.contiguous()
    linear = linear_power(power, CONFIG)
    assert float(linear.min()) >= 0.0
    back = linear @ mel_filters(CONFIG)
    filled = mel_filters(CONFIG).sum(0) > 0
    error = (back - power)[:, filled].square().sum().sqrt() / power.square().sum().sqrt()
    assert float(error) < 0.1


def _generators(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.Generator(np.random.PCG64([seed, index])) for index in range(count)]


def test_augmentation_changes_each_item_in_its_own_way_whatever_its_neighbours() -> None:
    clean = np.repeat(_log_mels(1).numpy(), 16, axis=0)
    made = augment(clean, _generators(16), 1.0, CONFIG)
    assert made.shape == clean.shape
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    assert made.min() >= 0
    assert len({item.tobytes() for item in made}) == 16
    again = augment(clean[:3], _generators(3), 1.0, CONFIG)
    assert np.array_equal(again, made[:3])
    assert np.array_equal(clean[0], clean[15])


def test_augmentation_grows_with_strength_and_is_off_at_zero() -> None:
    clean = np.repeat(_log_mels(1).numpy(), 64, axis=0)
    distances = [np.abs(augment(clean, _generators(64), s, CONFIG) - clean).mean() for s in (0.0, 0.5, 1.0, 2.0)]
    assert distances[0] == 0
    assert distances[0] < distances[1] < distances[2] < distances[3]


def test_augmentation_tilts_and_fades_within_its_bounds() -> None:
    """The change in dB is a plane over bins and frames; its slopes differ and keep to what is promised."""
    clean = np.full((64, 128, 94), 8.0, np.float32)
    made = augment(clean, _generators(64), 1.0, CONFIG, noise=False)
    change = 10 * np.log10(np.expm1(made) / np.expm1(clean))
    across = np.linspace(0, 1, 128)[:, None] + np.zeros(94)
    seconds = np.arange(94) * CONFIG.hop_length / CONFIG.sample_rate + np.zeros((128, 1))
    plane = np.stack([np.ones(across.size), across.ravel(), seconds.ravel()], axis=1)
    found, *_ = np.linalg.lstsq(plane, change.reshape(64, -1).T, rcond=None)
    np.testing.assert_allclose(plane @ found, change.reshape(64, -1).T, atol=1e-3)
    _, tilt, decay = found
    assert -6 <= tilt.min() < -3
    assert 3 < tilt.max() <= 6
    assert -20 <= decay.min() < -10
    assert 0.1 < np.mean(decay < -0.1) < 0.5
    assert np.abs(decay[decay >= -0.1]).max() < 1e-3


def test_augmentation_changes_the_gain_by_up_to_6_db() -> None:
    clean = np.full((400, 128, 2), 8.0, np.float32)
    made = augment(clean, _generators(400), 1.0, CONFIG, noise=False)
    middle = 10 * np.log10(np.expm1(made[:, 64, 0]) / np.expm1(8.0))
    # Evenly within 6 dB, and what a tilt around another bin adds: a variance of 12 and 1.
    assert np.std(middle) == pytest.approx(13**0.5, rel=0.1)
    assert np.abs(middle).max() <= 12


def test_augmentation_of_a_part_is_a_part_of_the_augmentation() -> None:
    clean = np.full((16, 128, 94), 8.0, np.float32)
    whole = augment(clean, _generators(16), 1.0, CONFIG, noise=False)
    part = augment(clean[:, :, 30:], _generators(16), 1.0, CONFIG, begin=30, noise=False)
    np.testing.assert_allclose(part, whole[:, :, 30:], rtol=1e-6)


def test_augmentation_adds_noise_20_to_50_db_below_the_loudest_to_three_of_ten() -> None:
    clean = np.zeros((400, 128, 20), np.float32)
    clean[:, 60, 0] = 8.0
    levels = []
    for strength in (1.0, 2.0):
        power = np.expm1(augment(clean, _generators(400), strength, CONFIG).astype(np.float64))
        loudest = power[:, 60, 0].copy()
        power[:, 60, 0] = 0.0
        noise = power.mean((1, 2))
        levels.append(10 * np.log10(noise[noise > 0] / loudest[noise > 0]))
    single, double = levels
    assert 0.25 < len(single) / 400 < 0.35
    assert -51 < single.min() < -47
    assert -23 < single.max() < -19
    np.testing.assert_allclose(double - single, 20 * np.log10(2), atol=0.2)


def test_augmentation_keeps_silence_silent() -> None:
    assert not augment(np.zeros((8, 128, 94), np.float32), _generators(8), 2.0, CONFIG).any()


def test_without_noise_silence_around_a_sound_stays_silent() -> None:
    clean = np.zeros((64, 128, 94), np.float32)
    clean[:, 20:40, 10:50] = 3.0
    quiet = augment(clean, _generators(64), 1.0, CONFIG, noise=False)
    noisy = augment(clean, _generators(64), 1.0, CONFIG)
    assert not quiet[clean == 0].any()
    same = [np.array_equal(one, other) for one, other in zip(quiet, noisy, strict=True)]
    assert 0.5 < np.mean(same) < 0.9


@given(samples=st.integers(1, 60_000), part=st.integers(1, 20_000))
@settings(deadline=None, max_examples=25)
def test_a_sound_in_parts_has_the_power_of_the_whole_sound(samples: int, part: int) -> None:
    transform = MelTransform(SpectrogramConfig(n_fft=512, hop_length=128, n_mels=32))
    sound = torch.from_numpy(np.random.default_rng(samples).standard_normal(samples).astype(np.float32))
    blocks = list(transform.power_blocks(sound.split(part), samples))
    assert torch.equal(torch.cat(blocks), transform.power_frames(sound))
    torch.testing.assert_close(torch.cat(blocks).T[None], transform.power(sound[None]))
