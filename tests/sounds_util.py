"""Little sounds and broken files for the tests."""

import os
from pathlib import Path

import numpy as np
import soundfile

RATE = 44_100


def tone(seconds: float = 0.3, frequency: float = 440.0, rate: int = RATE, level: float = 0.5) -> np.ndarray:
    """A decaying tone with two partials, float32 `[n]`."""
    time = np.arange(round(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * frequency * time) + 0.3 * np.sin(2 * np.pi * 2.76 * frequency * time)
    return (level / 1.3 * wave * np.exp(-3 * time)).astype(np.float32)


def noise(seconds: float = 0.3, seed: int = 0, rate: int = RATE, level: float = 0.3) -> np.ndarray:
    """White noise, float32 `[n]`."""
    return (level * np.random.default_rng(seed).uniform(-1, 1, round(seconds * rate))).astype(np.float32)


def save(path: Path, samples: np.ndarray, rate: int = RATE, **options: str) -> Path:
    """Write a sound `[n]` or `[n, channels]`, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(os.fsencode(path), samples, rate, **options)
    return path


def folder_of_tones(folder: Path, count: int, seconds: float = 0.3) -> Path:
    """`count` different tones."""
    for index in range(count):
        save(folder / f"tone{index:03}.wav", tone(seconds, 200 + 37 * index))
    return folder


def cut(path: Path, share: float = 0.5) -> Path:
    """Keep only the first share of a file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share) + 7])
    return path


def bad_folder(folder: Path) -> dict[str, str]:
    """A folder with one of everything that goes wrong; returns the verdict that each file should get."""
    fine = tone()
    coded, _ = soundfile.read(save(folder / "a good one.wav", fine), dtype="int16")
    save(folder / "same again.flac", coded)
    save(folder / "silent.wav", np.zeros(RATE // 2, np.float32))
    save(folder / "short.wav", fine[1000:1010])
    save(folder / "nan.wav", np.where(np.arange(9000) == 500, np.nan, 0.1).astype(np.float32), subtype="FLOAT")
    save(folder / "infinite.wav", np.where(np.arange(9000) == 500, np.inf, 0.1).astype(np.float32), subtype="FLOAT")
    save(folder / "clipped.wav", np.clip(8 * tone(frequency=100), -1, 1))
    (folder / "text.wav").write_text("this is no sound\n" * 50)
    (folder / "text.mp3").write_text("this is no sound\n" * 500)
    (folder / "random.mp3").write_bytes(np.random.default_rng(0).bytes(30_000))
    (folder / "zero.wav").touch()
    (folder / "zero.mp3").touch()
    save(folder / "header.wav", fine[:0])
    save(folder / "header.flac", fine[:0])
    expected = dict.fromkeys(("text.wav", "text.mp3", "random.mp3"), "unreadable")
    (folder / "cut.wav").write_bytes(save(folder / "cut.wav", noise()).read_bytes()[:40])
    (folder / "cut.ogg").write_bytes(save(folder / "cut.ogg", noise()).read_bytes()[:3000])
    expected |= dict.fromkeys(("cut.wav", "cut.ogg"), "truncated")
    (folder / "readme.txt").write_text("about these sounds\n")
    (folder / ".DS_Store").write_bytes(b"\0\1")
    return expected | {
        "a good one.wav": "ok",
        "same again.flac": "duplicate",
        "silent.wav": "silent",
        "short.wav": "too_short",
        "nan.wav": "not_finite",
        "infinite.wav": "not_finite",
        "clipped.wav": "clipped",
        "zero.wav": "empty",
        "zero.mp3": "empty",
        "header.wav": "empty",
        "header.flac": "empty",
        "readme.txt": "not_audio",
    }
