"""Preparation: what is written, that it is accounted for, and that it is the same every time."""

import importlib
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.audio.mel import MelTransform
from distill.audio.samples import resample, to_mono
from distill.audio.sound import read_sound
from distill.configs import DataConfig, SpectrogramConfig
from distill.dataset.prepare import prepare
from distill.dataset.split import TRAIN, VALIDATION, split_files, split_time
from distill.dataset.store import PreparedDataset
from distill.dataset.waveforms import waveforms
from distill.errors import DataError, DistillError, StorageError
from distill.workers.choice import place_for
from distill.workers.processes import Processes
from pipeline_util import bytes_of, make_workspace, run
from sounds_util import RATE, bad_folder, folder_of_tones, noise, save, tone

children = multiprocessing.get_context("forkserver")
CONFIG = SpectrogramConfig()
PLAIN = DataConfig(speed_semitones=())
OUTPUTS = ("mels.npy", "manifest.csv", "segments.csv", "summary.json", "thumbnails.json")


def _bytes(folder: Path) -> dict[str, bytes]:
    assert sorted(path.name for path in folder.iterdir()) == sorted(OUTPUTS)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_bytes_for_any_number_of_workers_threads_and_repeats(tmp_path: Path) -> None:
    bad_folder(tmp_path / "in")
    folder_of_tones(tmp_path / "in", 5, 1.3)
    data = DataConfig(speed_semitones=(-1.0, 2.0))
    made = []
    threads = torch.get_num_threads()
    for workers, count in ((1, 1), (2, 2), (4, 1)):
        torch.set_num_threads(count)
        prepare(tmp_path / "in", tmp_path / f"out{workers}", data, CONFIG, 3, workers=workers)
        assert torch.get_num_threads() == count
        made.append(_bytes(tmp_path / f"out{workers}"))
    torch.set_num_threads(threads)
    prepare(tmp_path / "in", tmp_path / "out1", data, CONFIG, 3)
    assert made[0] == made[1] == made[2] == _bytes(tmp_path / "out1")
    assert str(tmp_path).encode() not in b"".join(made[0].values())


def test_processes_give_the_bytes_of_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad_folder(tmp_path / "in")
    folder_of_tones(tmp_path / "in", 80, 0.2)
    for name, seconds in (("large", 0.4), ("little", 0.1)):
        save(tmp_path / "in" / f"{name}.wav", np.stack([noise(seconds, 1), noise(seconds, 2)], axis=1))
    sizes = sorted(path.stat().st_size for path in (tmp_path / "in").glob("*.wav"))
    assert 2 * sizes[len(sizes) // 2] < 50_000 < (tmp_path / "in" / "large.wav").stat().st_size
    data = DataConfig(speed_semitones=(-1.0, 2.0))
    prepare(tmp_path / "in", tmp_path / "alone", data, CONFIG, 3, workers=1)
    monkeypatch.setattr("distill.workers.choice.PROCESS_SECONDS", 0.0)
    # Most shards are of several files, and the largest file is more than one.
    monkeypatch.setattr(Processes, "shard_bytes", 50_000)
    prepare(tmp_path / "in", tmp_path / "spread", data, CONFIG, 3, workers=2)
    assert bytes_of(tmp_path / "spread") == bytes_of(tmp_path / "alone")


def test_sounds_are_read_by_as_many_workers_as_there_are_cores_or_as_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def noted(seconds: float, workers: int, dask: str | None) -> Any:
        asked.append(workers)
        return place_for(seconds, workers, dask)

    module = importlib.import_module("distill.dataset.prepare")
    monkeypatch.setattr(module, "usable_cores", lambda: 3)
    monkeypatch.setattr(module, "place_for", noted)
    for threads, expected in (("auto", 3), (2, 2)):
        workspace = make_workspace(tmp_path, sounds=4, run={"threads": threads})
        run(workspace, "prepare")
        assert asked
        assert set(asked) == {expected}
        asked.clear()


def test_every_file_and_every_second_is_accounted_for(tmp_path: Path) -> None:
    expected = bad_folder(tmp_path / "in")
    save(tmp_path / "in" / "long.wav", noise(3.7, seed=9))
    summary = prepare(tmp_path / "in", tmp_path / "out", PLAIN, CONFIG, 0)
    manifest = pd.read_csv(tmp_path / "out" / "manifest.csv", keep_default_na=False)
    assert dict(zip(manifest["path"], manifest["verdict"], strict=True)) == expected | {"long.wav": "ok"}
    assert {verdict: count for verdict, count in summary.counts.items() if count} == dict(
        manifest["verdict"].value_counts()
    )
    assert summary.usable == 3
    used = manifest[manifest["usable"]]
    assert set(used["split"]) == {TRAIN, VALIDATION}
    assert (manifest[~manifest["usable"]]["split"] == "").all()
    assert summary.seconds_train + summary.seconds_validation == pytest.approx(summary.seconds_used, abs=0.01)
    assert used.set_index("path").loc["long.wav", "chunks"] == 4
    for _, row in used.iterrows():
        assert row["padded_seconds"] == pytest.approx(max(0.0, 1.0 - row["seconds"]), abs=1e-4)
    assert any("only 3 usable" in warning for warning in summary.warnings)
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary.as_dict()


def test_spectrograms_are_those_of_the_normalized_mono_sound(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.wav", np.stack([tone(1.2), noise(1.2)], axis=1), 44_101)
    save(tmp_path / "in" / "b.wav", tone(0.4))
    prepare(tmp_path / "in", tmp_path / "out", PLAIN, CONFIG, 0)
    dataset = PreparedDataset(tmp_path / "out")
    samples = to_mono(read_sound(tmp_path / "in" / "a.wav"), 48_000)
    expected = MelTransform(CONFIG).log_mel(torch.from_numpy(samples / np.abs(samples).max())).numpy()
    assert dataset.segment(0).shape == expected.shape
    assert np.allclose(dataset.segment(0), expected, rtol=2e-3, atol=2e-3)
    gain = float(dataset.manifest["gain_db"][0])
    assert gain == pytest.approx(-20 * np.log10(np.abs(samples).max()), abs=0.01)


def test_variants_are_of_training_files_only_and_shift_pitch_and_length(tmp_path: Path) -> None:
    folder_of_tones(tmp_path / "in", 8, 1.0)
    data = DataConfig(speed_semitones=(-12.0, 12.0))
    summary = prepare(tmp_path / "in", tmp_path / "out", data, CONFIG, 0)
    dataset = PreparedDataset(tmp_path / "out")
    variants = dataset.segments[dataset.segments["semitones"] != 0]
    training = dataset.segments[(dataset.segments["semitones"] == 0) & (dataset.segments["split"] == TRAIN)]
    assert sorted(variants["file"]) == sorted([*training["file"], *training["file"]])
    assert set(variants["split"]) == {TRAIN}
    assert len(training) == summary.train_files
    for row, frames, semitones in zip(variants.index, variants["frames"], variants["semitones"], strict=True):
        assert abs(frames - 94 * (2 if semitones < 0 else 0.5)) <= 1
        original = training[training["file"] == variants["file"][row]].index[0]
        low, high = (row, original) if semitones < 0 else (original, row)
        assert dataset.segment(low).mean(1).argmax() < dataset.segment(high).mean(1).argmax()


def test_held_out_frames_of_one_long_file_are_far_from_training(tmp_path: Path) -> None:
    save(tmp_path / "long.wav", noise(20.0))
    summary = prepare(tmp_path / "long.wav", tmp_path / "out", DataConfig(speed_semitones=(1.0,)), CONFIG, 0)
    dataset = PreparedDataset(tmp_path / "out")
    train, held_out, variant = (dataset.segments.loc[row] for row in range(3))
    assert (train["split"], held_out["split"], variant["split"]) == (TRAIN, VALIDATION, TRAIN)
    assert held_out["first_frame"] - (train["first_frame"] + train["frames"]) == dataset.chunk_frames
    assert [train["at_start"], train["at_end"], held_out["at_start"], held_out["at_end"]] == [True, False, False, True]
    assert variant["frames"] < train["frames"] / 2 ** (1 / 12) + 2
    assert summary.split_by == "time"
    total = summary.seconds_train + summary.seconds_validation + summary.seconds_guard
    assert total == pytest.approx(20.0, abs=0.01)
    assert dataset.manifest["split"][0] == "train+validation"


def test_one_short_file_serves_as_both_with_a_warning(tmp_path: Path) -> None:
    save(tmp_path / "short.wav", tone(1.5))
    summary = prepare(tmp_path / "short.wav", tmp_path / "out", PLAIN, CONFIG, 0)
    assert (summary.train_chunks, summary.validation_chunks) == (2, 2)
    assert any("cannot show overfitting" in warning for warning in summary.warnings)


@pytest.mark.parametrize("seed", range(4))
def test_little_to_train_on_beside_a_long_held_out_sound_is_warned_of(tmp_path: Path, seed: int) -> None:
    save(tmp_path / "long.wav", noise(20.0))
    save(tmp_path / "short.wav", tone(0.3))
    summary = prepare(tmp_path, tmp_path / "out", PLAIN, CONFIG, seed)
    warned = any("20.0 s are held out, and only 0.3 s are trained on" in warning for warning in summary.warnings)
    assert warned == (summary.seconds_train < 1)


def test_one_usable_file_among_99_bad_ones(tmp_path: Path) -> None:
    for index in range(99):
        (tmp_path / f"bad{index:02}.wav").write_bytes(b"RIFF" * index)
    save(tmp_path / "good.wav", tone(6.0))
    summary = prepare(tmp_path, tmp_path / "out", PLAIN, CONFIG, 0)
    assert (summary.files, summary.usable) == (100, 1)
    assert any("99 of 100 files are not used" in warning for warning in summary.warnings)


def test_no_usable_sound_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        prepare(tmp_path / "absent", tmp_path / "out", PLAIN, CONFIG, 0)
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="empty"):
        prepare(tmp_path / "in", tmp_path / "out", PLAIN, CONFIG, 0)
    (tmp_path / "in" / "a.wav").touch()
    (tmp_path / "in" / "b.txt").touch()
    with pytest.raises(DataError, match=r"none of 2 files is usable \(1 empty, 1 not audio\)"):
        prepare(tmp_path / "in", tmp_path / "out", PLAIN, CONFIG, 0)
    assert not list((tmp_path / "out").glob("*"))


def test_an_output_folder_that_cannot_be_is_a_storage_error(tmp_path: Path) -> None:
    folder_of_tones(tmp_path / "in", 3)
    (tmp_path / "blocked").touch()
    with pytest.raises(StorageError, match="cannot write"):
        prepare(tmp_path / "in", tmp_path / "blocked" / "out", PLAIN, CONFIG, 0)


def test_a_full_disk_ends_in_one_line_and_leaves_the_old_result(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    folder_of_tones(tmp_path / "in", 6, 1.0)
    prepare(tmp_path / "in", tmp_path / "out", PLAIN, CONFIG, 0)
    before = _bytes(tmp_path / "out")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (100, 5_000, 60_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(StorageError, match="cannot write") as caught:
                prepare(tmp_path / "in", tmp_path / "out", DataConfig(), CONFIG, 0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "\n" not in str(caught.value)
        assert _bytes(tmp_path / "out") == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_device_is_no_folder_for_the_result(tmp_path: Path) -> None:
    folder_of_tones(tmp_path / "in", 2)
    with pytest.raises(StorageError, match="/dev/full"):
        prepare(tmp_path / "in", Path("/dev/full"), PLAIN, CONFIG, 0)


def test_progress_and_an_error_in_it(tmp_path: Path) -> None:
    folder_of_tones(tmp_path / "in", 4)
    told: list[tuple[str, int, int]] = []
    data = DataConfig(speed_semitones=(1.0,))
    prepare(tmp_path / "in", tmp_path / "out", data, CONFIG, 0, on_progress=lambda *item: told.append(item))
    assert told == [("sounds", index, 4) for index in range(1, 5)] + [("variants", index, 2) for index in (1, 2)]

    def stop(_what: str, _done: int, _count: int) -> None:
        raise DistillError("stopped")

    with pytest.raises(DistillError, match="stopped"):
        prepare(tmp_path / "in", tmp_path / "out2", data, CONFIG, 0, on_progress=stop)
    assert not list((tmp_path / "out2").glob("*"))


def test_the_digest_follows_content_split_and_settings(tmp_path: Path) -> None:
    folder_of_tones(tmp_path / "in", 6)
    digests = [prepare(tmp_path / "in", tmp_path / "out", PLAIN, CONFIG, seed).digest for seed in (0, 0, 1)]
    digests.append(prepare(tmp_path / "in", tmp_path / "out", DataConfig(chunk_seconds=0.5), CONFIG, 0).digest)
    (tmp_path / "in" / "notes.txt").touch()
    digests.append(prepare(tmp_path / "in", tmp_path / "out", PLAIN, CONFIG, 0).digest)
    save(tmp_path / "in" / "tone000.wav", tone(0.3, 999))
    digests.append(prepare(tmp_path / "in", tmp_path / "out", PLAIN, CONFIG, 0).digest)
    assert digests[0] == digests[1] == digests[4]
    assert len(set(digests)) == 4


def test_thumbnails_are_64_pairs_of_each_usable_file(tmp_path: Path) -> None:
    folder_of_tones(tmp_path / "in", 2)
    save(tmp_path / "in" / "tiny.wav", noise(0.011, rate=8000), 8000)
    prepare(tmp_path / "in", tmp_path / "out", PLAIN, CONFIG, 0)
    shapes = json.loads((tmp_path / "out" / "thumbnails.json").read_text())["files"]
    assert len(shapes) == 3
    for shape in shapes.values():
        assert len(shape["min"]) == len(shape["max"]) == 64
        assert all(-127 <= low <= high <= 127 for low, high in zip(shape["min"], shape["max"], strict=True))
        assert max(shape["max"] + [-low for low in shape["min"]]) == 127


@given(count=st.integers(2, 600), seed=st.integers(0, 2**31 - 1), fraction=st.floats(0, 0.9) | st.just("auto"))
def test_a_split_has_both_sides_and_is_seeded(count: int, seed: int, fraction: float | str) -> None:
    splits = split_files(count, fraction, seed)  # type: ignore[arg-type]
    assert len(splits) == count
    assert set(splits) == {TRAIN, VALIDATION}
    assert splits == split_files(count, fraction, seed)  # type: ignore[arg-type]
    if fraction != "auto":
        assert abs(splits.count(VALIDATION) - float(fraction) * count) <= 1


@given(frames=st.integers(1, 5000), chunk=st.integers(10, 300), fraction=st.floats(0, 0.9) | st.just("auto"))
def test_a_split_by_time_leaves_a_gap_and_a_chunk_each(frames: int, chunk: int, fraction: float | str) -> None:
    parts = split_time(frames, chunk, fraction)  # type: ignore[arg-type]
    if parts is None:
        assert frames < 4 * chunk
    else:
        assert parts.train_end >= chunk
        assert parts.validation_start - parts.train_end == chunk
        assert frames - parts.validation_start >= chunk


def test_real_sounds(tmp_path: Path) -> None:
    folder = os.environ.get("DISTILL_TEST_AUDIO")
    if not folder:
        pytest.skip("DISTILL_TEST_AUDIO names no folder of real sounds")
    summary = prepare(Path(folder) / "kit", tmp_path / "out", PLAIN, CONFIG, 0)
    assert (summary.usable, summary.train_files, summary.validation_files) == (20, 14, 6)


def test_files_whose_names_differ_in_composition_alone_are_kept_apart(tmp_path: Path) -> None:
    sounds = [tone(seconds, rate=48_000) for seconds in (0.4, 0.5, 0.6)]
    for name, samples in zip(("\u00fcber.wav", "u\u0308ber.wav", "z.wav"), sounds, strict=True):
        save(tmp_path / "in" / name, samples, rate=48_000)
    prepare(tmp_path / "in", tmp_path / "out", PLAIN, CONFIG, 0)
    dataset = PreparedDataset(tmp_path / "out")
    thumbnails = json.loads((tmp_path / "out" / "thumbnails.json").read_text())["files"]
    assert sorted(thumbnails) == sorted(dataset.manifest["path"])
    assert len(thumbnails) == 3
    made = [waveforms(dataset, tmp_path / "in", split, tmp_path) for split in (TRAIN, VALIDATION)]
    assert sorted(length for each in made for length in each.lengths) == [19_200, 24_000, 28_800]


def _peaks_of(folder: Path, queue: "multiprocessing.SimpleQueue[tuple[float, float]]") -> None:
    """MiB at most after preparing, and after making waveforms as well."""

    def peak() -> float:
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

    prepare(folder / "in", folder / "out", PLAIN, CONFIG, 0, workers=2)
    prepared = peak()
    waveforms(PreparedDataset(folder / "out"), folder / "in", TRAIN, folder / "waves")
    queue.put((prepared, peak()))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_memory_does_not_grow_with_the_length_of_the_sounds(tmp_path: Path) -> None:
    peaks = []
    for minutes in (0.5, 8):
        folder = tmp_path / str(minutes)
        save(folder / "in" / "sound.wav", np.tile(noise(30.0), round(2 * minutes)))
        save(folder / "in" / "other.wav", np.tile(noise(30.0, 1), round(2 * minutes)))
        queue = children.SimpleQueue()
        child = children.Process(target=_peaks_of, args=(folder, queue))
        child.start()
        peaks.append(queue.get())
        child.join()
    # Each of both holds 80 MiB of samples more at its own rate, half of that again when resampled.
    for short, long in zip(*peaks, strict=True):
        assert long - short < 60, peaks


def test_a_sound_that_is_read_in_blocks_is_prepared_as_a_whole_one(tmp_path: Path) -> None:
    long = np.concatenate([noise(40.0, 1), noise(0.3, 2)])
    save(tmp_path / "in" / "long.wav", long, subtype="FLOAT")
    save(tmp_path / "in" / "other.wav", noise(0.3, 3))
    prepare(tmp_path / "in", tmp_path / "out", DataConfig(speed_semitones=()), SpectrogramConfig(), 0)
    dataset = PreparedDataset(tmp_path / "out")
    config = dataset.spectrogram
    samples = resample(long, RATE, config.sample_rate)
    samples = samples / np.abs(samples).max()
    expected = MelTransform(config).log_mel(torch.from_numpy(samples)).half().float().numpy()
    (row,) = (row for row in range(2) if dataset.segment_name(row) == "long.wav")
    np.testing.assert_allclose(dataset.segment(row), expected, rtol=2e-3, atol=2e-3)
    envelope = json.loads((tmp_path / "out" / "thumbnails.json").read_text())["files"]["long.wav"]
    starts = np.arange(64) * len(samples) // 64
    assert envelope["max"] == np.rint(np.maximum.reduceat(samples, starts) * 127).astype(int).tolist()
    assert envelope["min"] == np.rint(np.minimum.reduceat(samples, starts) * 127).astype(int).tolist()
