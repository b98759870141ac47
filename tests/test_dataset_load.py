"""Reading a prepared dataset, and the training batches made from it."""

import json
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from distill.configs import DataConfig, SpectrogramConfig
from distill.dataset import loader
from distill.dataset.loader import TrainingBatches
from distill.dataset.memory_mapped import MappedRows
from distill.dataset.prepare import prepare
from distill.dataset.store import PreparedDataset
from distill.errors import DataError
from sounds_util import folder_of_tones, noise, save

CONFIG = SpectrogramConfig()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten tones and two longer noises, with two variants each."""
    root = tmp_path_factory.mktemp("dataset")
    folder_of_tones(root / "in", 10, 0.5)
    save(root / "in" / "long1.wav", noise(2.6, 1))
    save(root / "in" / "long2.wav", noise(3.0, 2))
    prepare(root / "in", root / "out", DataConfig(speed_semitones=(-2.0, 2.0)), CONFIG, 1)
    return root / "out"


def test_chunks_cover_every_frame_of_every_sound(folder: Path) -> None:
    dataset = PreparedDataset(folder)
    for split in ("train", "validation"):
        table = dataset.chunks(split)
        batch = dataset.clean_batch(split, range(len(table)))
        assert batch.shape == (len(table), 128, 94)
        assert batch.dtype == np.float32
        assert len(table) == dataset.summary[f"{split}_chunks"]
        for row in dataset.segments.index[(dataset.segments["split"] == split) & (dataset.segments["semitones"] == 0)]:
            whole = dataset.segment(row)
            covered = np.zeros(whole.shape[1], bool)
            for index in np.flatnonzero(table.segment == row):
                start, frames = int(table.start[index]), int(table.frames[index])
                assert np.array_equal(batch[index][:, :frames], whole[:, start : start + frames])
                assert not batch[index][:, frames:].any()
                covered[start : start + frames] = True
            assert covered.all()


def test_an_epoch_shows_each_chunk_expansion_times_each_differently(folder: Path) -> None:
    dataset = PreparedDataset(folder)
    batches = TrainingBatches(dataset, batch_size=8, expansion=5, strength=1.0, seed=0)
    chunks = len(dataset.chunks("train"))
    epoch = np.concatenate(list(batches.iter_batches(0)))
    assert len(list(batches.iter_batches(0))) == batches.steps_per_epoch
    assert epoch.shape == (5 * chunks, 128, 94)
    assert len({item.tobytes() for item in epoch}) == 5 * chunks
    order = batches._order(0)
    assert Counter((order % chunks).tolist()) == dict.fromkeys(range(chunks), 5)
    assert not np.array_equal(order, batches._order(1))


@pytest.mark.parametrize("steps", [1, 3, 1000])
def test_epochs_of_any_length_show_what_passes_show(folder: Path, steps: int) -> None:
    dataset = PreparedDataset(folder)
    options = {"batch_size": 4, "expansion": 2, "strength": 1.0, "seed": 3}
    whole = TrainingBatches(dataset, **options)
    parts = TrainingBatches(dataset, **options, steps_per_epoch=steps)
    assert parts.steps_per_epoch == steps
    epochs = -(-2 * whole.steps_per_epoch // steps)
    shown = [batch for epoch in range(epochs) for batch in parts.iter_batches(epoch)]
    wanted = [batch for number in range(2) for batch in whole.iter_batches(number)]
    assert all(np.array_equal(*pair) for pair in zip(shown[: len(wanted)], wanted, strict=True))
    assert all(np.array_equal(*pair) for pair in zip(parts.first_pass(), whole.iter_batches(0), strict=True))


def test_only_training_segments_are_shown(folder: Path) -> None:
    dataset = PreparedDataset(folder)
    batches = TrainingBatches(dataset, batch_size=8, expansion=40, strength=1.0, seed=0)
    items = [batches._choose(item, np.random.default_rng(item)) for item in range(40 * len(dataset.chunks("train")))]
    shown = {segment for segment, _ in items}
    assert shown == set(dataset.segments.index[dataset.segments["split"] == "train"])
    frames = dataset.segments["frames"].to_numpy()
    for segment, start in items:
        assert -batches._lead <= start <= max(int(frames[segment]) - 94, batches._cut)
    short = [segment for segment in shown if frames[segment] < 94]
    assert short
    for segment in short:
        starts = {start for each, start in items if each == segment}
        assert min(starts) < 0 < max(starts)
        assert len(starts) >= 4


def test_batches_follow_from_seed_epoch_and_step_alone(folder: Path) -> None:
    dataset = PreparedDataset(folder)
    made = TrainingBatches(dataset, batch_size=8, expansion=3, strength=1.0, seed=5)
    again = TrainingBatches(PreparedDataset(folder), batch_size=8, expansion=3, strength=1.0, seed=5)
    last = made.steps_per_epoch - 1
    wanted = [(2, last), (0, 1), (2, 0), (0, 0)]
    expected = {key: made.batch(*key) for key in wanted}
    for key in reversed(wanted):
        assert np.array_equal(again.batch(*key), expected[key])
    other = TrainingBatches(dataset, batch_size=8, expansion=3, strength=1.0, seed=6)
    assert not np.array_equal(other.batch(0, 0), expected[0, 0])
    with pytest.raises(IndexError):
        made.batch(0, last + 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_any_number_of_workers_gives_the_same_and_touches_no_global_state(folder: Path, workers: int) -> None:
    batches = TrainingBatches(PreparedDataset(folder), batch_size=8, expansion=2, strength=1.0, seed=0)
    states = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    made = list(batches.iter_batches(1, start_step=1, num_workers=workers))
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])
    assert states[2] == random.getstate()
    assert len(made) == batches.steps_per_epoch - 1
    for step, batch in enumerate(made, start=1):
        assert isinstance(batch, np.ndarray)
        assert np.array_equal(batch, batches.batch(1, step))


def test_workers_are_no_copies_of_the_training_process(folder: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from distill.dataset.loader import TrainingBatches
from distill.dataset.store import PreparedDataset

if __name__ == "__main__":
    # As a library would that has threads: what it does at a copy's end fails there.
    os.register_at_fork(after_in_child=lambda: os._exit(1))
    batches = TrainingBatches(PreparedDataset(Path(sys.argv[1])), batch_size=8, expansion=2, strength=1.0, seed=0)
    print(len(list(batches.iter_batches(0, num_workers=2))) == batches.steps_per_epoch)
"""
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_the_end_of_a_terminal_does_not_reach_what_starts_workers() -> None:
    loader._clean_processes()
    status = Path(f"/proc/{forkserver._forkserver._forkserver_pid}/status").read_text()  # type: ignore[attr-defined]
    (blocked,) = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigBlk")]
    assert blocked >> (signal.SIGHUP - 1) & 1
    assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_strength_zero_leaves_only_the_variants(folder: Path) -> None:
    dataset = PreparedDataset(folder)
    batches = TrainingBatches(dataset, batch_size=64, expansion=20, strength=0.0, seed=0)
    distinct = {item.tobytes() for batch in batches.iter_batches(0) for item in batch}
    assert len(distinct) <= 3 * len(dataset.chunks("train"))


def test_a_dataset_travels_to_another_process(folder: Path) -> None:
    dataset = PreparedDataset(folder)
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    assert np.array_equal(copy.segment(1), dataset.segment(1))


def test_a_batch_takes_milliseconds(folder: Path) -> None:
    batches = TrainingBatches(PreparedDataset(folder), batch_size=32, expansion=10, strength=1.0, seed=0)
    times = []
    for step in range(2):
        for _ in range(8):
            start = time.process_time()
            batches.batch(0, step)
            times.append(time.process_time() - start)
    # Several times what it takes, so that only a plain mistake fails.
    assert min(times) < 0.03


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much of a file is in memory")
def test_pages_are_given_back(tmp_path: Path) -> None:
    """However much is read, little of the file counts as the process's memory."""
    path, rows = tmp_path / "rows.npy", np.arange(96 << 20, dtype=np.uint8).reshape(-1, 1 << 10)
    np.save(path, rows)
    mapped = MappedRows(path)
    held = []
    for first in range(0, len(rows), 8 << 10):
        assert np.array_equal(mapped.part(first, first + (8 << 10)), rows[first : first + (8 << 10)])
        held.append(sum(each.rss for each in psutil.Process().memory_maps() if each.path == str(path)))
    assert 0 < max(held) < 48 << 20


@pytest.mark.parametrize("name", ["mels.npy", "manifest.csv", "segments.csv", "summary.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "cut late", "garbage"])
def test_damaged_folders_are_refused_in_one_line(folder: Path, tmp_path: Path, name: str, damage: str) -> None:
    shutil.copytree(folder, tmp_path / "out")
    path = tmp_path / "out" / name
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        cut, late = data[: len(data) // 3], data[: 3 * len(data) // 4]
        path.write_bytes({"empty": b"", "cut": cut, "cut late": late, "garbage": b"\xff\x00garbage\n" * 9}[damage])
    with pytest.raises(DataError) as caught:
        PreparedDataset(tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert "out" in str(caught.value)


def test_a_newer_schema_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text()) | {"schema": 99}
    (tmp_path / "out" / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DataError, match="schema 99"):
        PreparedDataset(tmp_path / "out")
