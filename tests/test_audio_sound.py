"""Reading, writing and resampling of sound files."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill.audio.samples import resample, resampled_blocks, to_mono
from distill.audio.sound import BLOCK_FRAMES, EXTENSIONS, Sound, SoundError, read_sound, write_sound
from distill.errors import DataError, StorageError, UsageError
from sounds_util import cut, noise, save, tone


@pytest.mark.parametrize("extension", sorted(EXTENSIONS))
def test_a_written_sound_is_read_back(tmp_path: Path, extension: str) -> None:
    rate = 48_000 if extension == ".opus" else 44_100
    mono_only = (".8svx", ".iff", ".svx", ".xi")
    samples = tone(0.5, rate=rate) if extension in mono_only else np.stack([tone(0.5, rate=rate), tone(0.5, 300, rate)])
    path = tmp_path / f"a{extension.upper()}"
    write_sound(path, samples, rate)
    sound = read_sound(path)
    assert sound.sample_rate == rate
    assert sound.format == EXTENSIONS[extension]
    assert sound.samples.dtype == np.float32
    assert sound.samples.shape == np.atleast_2d(samples).shape
    tolerance = 0.2 if extension in (".ogg", ".oga", ".opus", ".mp3", ".xi") else 1e-4
    assert np.abs(sound.samples - samples).max() < tolerance
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_bit_depth(tmp_path: Path, subtype: str) -> None:
    samples = tone()
    write_sound(tmp_path / "a.wav", samples, 44_100, subtype)
    sound = read_sound(tmp_path / "a.wav")
    assert sound.subtype == subtype
    assert np.abs(sound.samples[0] - samples).max() < (0.01 if subtype == "PCM_U8" else 1e-4)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 44_101, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channel_count_becomes_mono_at_the_rate_asked_for(
    tmp_path: Path, rate: int, channels: int
) -> None:
    wave = tone(0.5, 440.0, rate)
    save(tmp_path / "a.wav", np.stack([wave] * channels, axis=1), rate)
    mono = to_mono(read_sound(tmp_path / "a.wav"), 48_000)
    assert mono.dtype == np.float32
    assert abs(len(mono) - 24_000) <= 1
    spectrum = np.abs(np.fft.rfft(mono))
    assert abs(np.argmax(spectrum) * 48_000 / len(mono) - 440.0) < 3.0


def test_mono_is_the_mean_of_the_channels() -> None:
    sound = Sound(np.stack([np.full(10, 0.5, np.float32), np.zeros(10, np.float32)]), 48_000, "FLOAT", "WAV")
    assert np.allclose(to_mono(sound, 48_000), 0.25)


@pytest.mark.parametrize("name", ["long.ogg", "long.flac"])
def test_a_long_sound_is_written_in_pieces(tmp_path: Path, name: str) -> None:
    write_sound(tmp_path / name, np.stack([noise(70.0)] * 2), 44_100)
    written = read_sound(tmp_path / name)
    assert written.samples.shape == (2, 70 * 44_100)


def test_resampling_by_a_ratio_changes_pitch_and_length() -> None:
    wave = tone(1.0, 440.0, 48_000)
    octave = resample(wave, 2 * 48_000, 48_000)
    assert len(octave) == 24_000
    assert abs(np.argmax(np.abs(np.fft.rfft(octave))) * 48_000 / len(octave) - 880.0) < 3.0


@pytest.mark.parametrize("extension", ["wav", "aiff", "flac", "ogg", "mp3", "caf", "au", "w64"])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_a_cut_file_is_used_as_far_as_it_goes(tmp_path: Path, extension: str, share: float) -> None:
    whole = read_sound(save(tmp_path / f"a.{extension}", noise(2.0))).samples[0]
    sound = read_sound(cut(tmp_path / f"a.{extension}", share))
    assert sound.note
    assert "\n" not in sound.note
    # Coded sound comes in pages and frames, of which the last is lost.
    count = sound.samples.shape[1]
    assert len(whole) * share - 26_000 < count < len(whole)
    assert np.abs(sound.samples[0, : count - 2000] - whole[: count - 2000]).max() < 1e-3


@pytest.mark.parametrize("extension", ["wav", "aiff", "flac", "ogg", "mp3", "caf", "au", "w64"])
def test_any_prefix_of_a_file_is_a_sound_with_a_note_or_our_error(tmp_path: Path, extension: str) -> None:
    data = save(tmp_path / f"a.{extension}", noise(0.4)).read_bytes()
    for size in [*range(0, 80, 3), *range(80, len(data), len(data) // 20)]:
        (tmp_path / f"a.{extension}").write_bytes(data[:size])
        with suppress(SoundError):
            assert read_sound(tmp_path / f"a.{extension}").note


def test_mp3_with_tags_and_junk_around_it_is_whole(tmp_path: Path) -> None:
    data = save(tmp_path / "a.mp3", noise(0.5)).read_bytes()
    tag = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
    (tmp_path / "tagged.mp3").write_bytes(tag + data + b"TAG" + bytes(125))
    sound = read_sound(tmp_path / "tagged.mp3")
    assert np.array_equal(sound.samples, read_sound(tmp_path / "a.mp3").samples)


def test_a_wav_whose_recorder_left_the_size_open_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", tone())
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4
    path.write_bytes(data)
    assert read_sound(path).samples.shape == (1, len(tone()))


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for name in ("pipe.wav", "absent.wav", "."):
        with pytest.raises(DataError):
            read_sound(tmp_path / name)


def test_samples_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", np.array([0.1, np.nan, 0.2] * 1000, np.float32), subtype="FLOAT")
    with pytest.raises(SoundError, match="not numbers"):
        read_sound(path)


def test_wrong_wishes_for_a_file_are_usage_errors(tmp_path: Path) -> None:
    for name in ("a.xyz", "a.sds"):
        with pytest.raises(UsageError, match="known: "):
            write_sound(tmp_path / name, tone(), 44_100)
    with pytest.raises(UsageError, match="PCM_24"):
        write_sound(tmp_path / "a.flac", tone(), 44_100, "FLOAT")
    with pytest.raises(UsageError, match="MP3 cannot hold 1 channel at 12345 Hz"):
        write_sound(tmp_path / "a.mp3", tone(), 12_345)
    # libsndfile writes these without a word, at a rate of its own.
    for name, rate in (("a.xi", 48_000), ("a.iff", 96_000)):
        with pytest.raises(UsageError, match=f"cannot hold 1 channel at {rate} Hz"):
            write_sound(tmp_path / name, tone(), rate)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extension", ["wav", "wave", "bwf", "rf64", "w64", "aif", "caf", "au", "flac"])
def test_a_fine_sound_has_24_bits_by_any_name_of_its_format(tmp_path: Path, extension: str) -> None:
    write_sound(tmp_path / f"a.{extension}", tone(), 48_000, fine=True)
    assert soundfile.info(tmp_path / f"a.{extension}").subtype == "PCM_24"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = save(tmp_path / "a.wav", tone())
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for extension in ("wav", "flac", "ogg", "mp3", "aiff"):
        target = path if extension == "wav" else tmp_path / f"b.{extension}"
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(StorageError):
                write_sound(target, noise(3.0), 44_100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "blocked").touch()
    with pytest.raises(StorageError):
        write_sound(tmp_path / "blocked" / "a.wav", tone(), 44_100)


def test_pcm_and_flac_bytes_are_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac"):
        write_sound(tmp_path / name, tone(), 48_000, "PCM_16")
        first = (tmp_path / name).read_bytes()
        write_sound(tmp_path / name, tone(), 48_000, "PCM_16")
        assert (tmp_path / name).read_bytes() == first


def test_soundfile_agrees_with_our_reader(tmp_path: Path) -> None:
    path = save(tmp_path / "a.flac", np.stack([noise(7.0), noise(7.0, 1)], axis=1))
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    assert np.array_equal(read_sound(path).samples, expected.T)


@pytest.mark.parametrize("rate", [22_050, 44_100 * 2 ** (1 / 12), 48_000, 96_000])
@pytest.mark.parametrize("samples", [0, 1, 100_000, 2 * BLOCK_FRAMES, 2 * BLOCK_FRAMES + 1])
def test_resampling_in_blocks_is_resampling_whole(rate: float, samples: int) -> None:
    wave = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    blocks = list(
        resampled_blocks(np.array_split(wave, range(BLOCK_FRAMES, samples, BLOCK_FRAMES)), samples, rate, 48_000)
    )
    whole = resample(wave, rate, 48_000)
    assert sum(map(len, blocks)) == len(whole)
    if samples:
        np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-6)
