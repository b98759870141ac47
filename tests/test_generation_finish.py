"""New sounds are finished: no silence around them, no click, as loud as others; and they end as a model's sounds do."""

from pathlib import Path

import numpy as np
import pytest

from distill.artifact.manifest import Manifest
from distill.audio.loudness import loudest_lufs
from distill.audio.sound import read_sound
from distill.generation.ending import ends_by_itself
from distill.generation.export import Exported, ExportSettings, Tags, export
from distill.generation.finish import TARGET_LUFS
from distill.generation.sound_request import Request
from model_example import manifest
from sounds_util import noise, tone

RATE = 48_000


def finished(
    path: Path, samples: np.ndarray, *, trim: bool = True, rate: int | None = None
) -> tuple[Exported, np.ndarray]:
    settings = ExportSettings("wav", rate, "32f")
    blocks = np.array_split(samples.astype(np.float32), 7)
    done = export(path, blocks, RATE, settings=settings, tags=Tags("a", "b", "c"), seed=0, finish=True, trim=trim)
    return done, read_sound(path).samples[0]


def hit(level: float, before: float = 0.3, behind: float = 0.5) -> np.ndarray:
    """A hit that begins at once and dies away, with silence around it."""
    body = noise(0.6, 1, rate=RATE) * np.exp(-np.arange(round(0.6 * RATE)) / (0.08 * RATE))
    return np.concatenate([np.zeros(round(before * RATE)), level * body, np.zeros(round(behind * RATE))])


def test_silence_around_a_sound_is_cut_off_and_it_begins_and_ends_without_a_click(tmp_path: Path) -> None:
    done, samples = finished(tmp_path / "a.wav", hit(0.5))
    assert 0.4 < len(samples) / RATE < 0.63
    assert done.frames == len(samples)
    peak = np.abs(samples).max()
    assert np.abs(samples[[0, -1]]).max() < 1e-3 * peak
    # The attack is there at once: within 15 ms.
    assert np.abs(samples[: round(0.015 * RATE)]).max() > 0.5 * peak


def test_a_sound_that_begins_at_full_level_rises(tmp_path: Path) -> None:
    _, samples = finished(tmp_path / "a.wav", tone(0.5, 440.0) + 0.2)
    assert abs(samples[0]) < 1e-6
    assert np.abs(samples[: round(0.004 * RATE)]).max() > 0.1 * np.abs(samples).max()


def test_an_exact_duration_stays_exact(tmp_path: Path) -> None:
    sound = hit(0.5)
    _, samples = finished(tmp_path / "a.wav", sound, trim=False)
    assert len(samples) == len(sound)


@pytest.mark.parametrize("rate", [None, 44_100])
def test_loud_and_soft_sounds_come_out_equally_loud(tmp_path: Path, rate: int | None) -> None:
    found = []
    for number, level in enumerate((0.9, 0.5, 0.25)):
        done, samples = finished(tmp_path / f"{number}.wav", hit(level), rate=rate)
        found.append(loudest_lufs([samples], rate or RATE))
        assert (done.peak_db or 0) <= -0.99
    assert found == pytest.approx([found[0]] * 3, abs=0.2)
    assert found[0] <= TARGET_LUFS + 0.1


def test_what_cannot_be_as_loud_has_its_peak_there_and_silence_stays_silence(tmp_path: Path) -> None:
    click = np.zeros(RATE)
    click[1000:1010] = 0.5
    done, samples = finished(tmp_path / "click.wav", click)
    assert done.peak_db == pytest.approx(-1, abs=0.01)
    assert loudest_lufs([samples], RATE) < TARGET_LUFS
    done, samples = finished(tmp_path / "silence.wav", np.zeros(RATE))
    assert (done.frames, done.peak_db) == (RATE, None)


def test_a_long_sound_is_finished_in_pieces(tmp_path: Path) -> None:
    sound = np.tile(hit(0.4), 60)
    whole, samples = finished(tmp_path / "a.wav", sound)
    assert whole.frames == len(samples) < len(sound)
    assert np.abs(samples[: round(0.015 * RATE)]).max() > 0.2 * np.abs(samples).max()


def test_only_new_sounds_are_finished() -> None:
    with pytest.raises(ValueError, match="finish is for new sounds"):
        Request(action="continue", seconds=1.0, finish=True)


def described(seconds: float | None, files: int, *, prior: bool = True) -> Manifest:
    known = manifest(with_prior=prior)
    return known.model_copy(
        update={"metadata": known.metadata.model_copy(update={"seconds": seconds, "file_count": files})}
    )


@pytest.mark.parametrize(
    ("seconds", "files", "ends"), [(10.0, 20, True), (3600.0, 2, False), (None, 20, False), (0.0, 0, False)]
)
def test_sounds_end_by_themselves_where_those_of_the_training_did(
    seconds: float | None, files: int, ends: bool
) -> None:
    assert ends_by_itself(described(seconds, files)) is ends
    assert not ends_by_itself(described(seconds, files, prior=False))


def test_a_sidecar_from_before_means_what_it_meant(tmp_path: Path) -> None:
    assert Request(seconds=1.0).finish is False
    assert Request.model_validate({"action": "generate", "seconds": 1.0, "natural": True}).finish is False
