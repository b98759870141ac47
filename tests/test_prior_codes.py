"""The file of codes that a prior learns from: made once, by whatever number of calls, in little memory."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.artifact.model_file import read_model
from distill.codec.codec import Codec
from distill.codec.load import build_networks
from distill.configs import DataConfig, PriorConfig, SpectrogramConfig
from distill.dataset.prepare import prepare
from distill.dataset.store import PreparedDataset
from distill.errors import Interrupted, StorageError
from distill.live.events import Event, Progress, TrainingStarted
from distill.live.stop_request import StopRequest
from distill.models.vqvae import ConvVQVAE
from distill.training import codes_file as making
from distill.training.codes import PriorCodes
from distill.training.codes_file import CODES, INDEX, Tell, prior_codes
from distill.training.runtime import Runtime
from distill.workers.processes import Processes
from model_example import encode_grid, vqvae
from pipeline_util import make_workspace, run
from sounds_util import noise, save

CONFIG = PriorConfig(column_cuts=2, augmented_copies=1)
children = multiprocessing.get_context("forkserver")
children.set_forkserver_preload(["distill.training.codes_file"])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short sounds and one that is encoded in several pieces, with a variant each."""
    root = tmp_path_factory.mktemp("codes")
    for seed in range(9):
        save(root / "in" / f"short{seed}.wav", noise(0.1 + 0.1 * (seed % 3), seed))
    save(root / "in" / "long.wav", noise(23.0, 99))
    prepare(root / "in", root / "out", DataConfig(speed_semitones=(1.0,)), SpectrogramConfig(), 0)
    return root / "out"


def network() -> ConvVQVAE:
    return vqvae().eval()


def make(prepared: Path, folder: Path, tell: Tell = lambda _done, _total: None, digest: str = "a") -> PriorCodes:
    runtime = Runtime("cpu", "fp32", 1, 0)
    return prior_codes(PreparedDataset(prepared), network(), CONFIG, runtime, folder, digest=digest, tell=tell)


def test_the_file_holds_small_numbers_that_are_those_of_whole_segments(prepared: Path, tmp_path: Path) -> None:
    codes, dataset, model = make(prepared, tmp_path), PreparedDataset(prepared), network()
    stored, codec = np.load(tmp_path / CODES), Codec(model, dataset.spectrogram)
    assert stored.dtype == np.uint8
    assert len(stored) == codes.train.total + codes.held_out.total
    for split, count, stretch in (
        ("train", len(codes.train), codes.training),
        ("validation", len(codes.held_out), codes.validation),
    ):
        rows = dataset.segments_of(split, variants=split == "train")
        assert count == len(rows)
        for position, row in enumerate(rows):
            grid = codec.encode_log_mel(dataset.segment(row))
            whole = encode_grid(model, torch.from_numpy(dataset.segment(rows[position]))[None])[0].numpy()
            # Sums of another order may take another one of two codes that are equally near.
            assert np.mean(grid == whole) > 0.99
            assert np.mean(stretch(position).grid == whole) > 0.99


def test_sounds_begin_where_something_is_heard(tmp_path: Path) -> None:
    for seed in range(6):
        pause = np.zeros(10 * 512 * (seed % 3), np.float32)
        save(tmp_path / "in" / f"{seed}.wav", np.concatenate([pause, noise(0.5, seed)]))
    prepare(tmp_path / "in", tmp_path / "out", DataConfig(), SpectrogramConfig(), 0)
    codes, dataset, model = make(tmp_path / "out", tmp_path / "codes"), PreparedDataset(tmp_path / "out"), network()
    sounds = codes.train
    late = [10 * (int(dataset.segments["file"].iloc[row]) % 3) for row in sounds.rows]
    assert max(late) == 20
    for position, (row, pause) in enumerate(zip(sounds.rows.tolist(), late, strict=True)):
        skipped = int(sounds.silence[position])
        assert abs(skipped - pause) <= 3
        whole = encode_grid(model, torch.from_numpy(dataset.segment(row)[:, skipped:])[None])[0].numpy()
        assert np.mean(codes.training(position).grid == whole) > 0.99
        assert codes.training(position).at_start
        assert not codes.training(position, 1).at_start


def _interrupt_at(count: int) -> Tell:
    calls: list[int] = []

    def tell(done: int, _total: int) -> None:
        calls.append(done)
        if len(calls) == count:
            raise Interrupted("interrupted")

    return tell


def test_an_interrupted_making_goes_on_where_it_was_and_gives_the_same_bytes(prepared: Path, tmp_path: Path) -> None:
    make(prepared, tmp_path / "whole")
    begun: list[int] = []
    finished = False
    while not finished:
        try:
            make(prepared, tmp_path / "parts", _interrupt_at(3))
            finished = True
        except Interrupted:
            begun.append(json.loads((tmp_path / "parts" / INDEX).read_text())["done"])
    assert begun == sorted(begun)
    assert begun[0] > 0
    assert len(begun) > 1
    assert (tmp_path / "parts" / CODES).read_bytes() == (tmp_path / "whole" / CODES).read_bytes()


def _killed(prepared: Path, folder: Path) -> None:
    making.SAVED_SECONDS = 0.0
    calls: list[int] = []

    def tell(done: int, _total: int) -> None:
        calls.append(done)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    make(prepared, folder, tell)


def test_a_killed_making_keeps_what_it_had(prepared: Path, tmp_path: Path) -> None:
    make(prepared, tmp_path / "whole")
    child = children.Process(target=_killed, args=(prepared, tmp_path / "killed"))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    told: list[int] = []
    make(prepared, tmp_path / "killed", lambda done, _total: told.append(done))
    assert told[0] > 0
    assert (tmp_path / "killed" / CODES).read_bytes() == (tmp_path / "whole" / CODES).read_bytes()


def test_what_is_there_is_not_made_again_unless_it_is_of_something_else(prepared: Path, tmp_path: Path) -> None:
    make(prepared, tmp_path)
    written = (tmp_path / CODES).read_bytes()

    def told(digest: str = "a") -> set[int]:
        found: list[int] = []
        make(prepared, tmp_path, lambda done, _total: found.append(done), digest)
        assert (tmp_path / CODES).read_bytes() == written
        return set(found)

    assert len(told()) == 1
    assert len(told(digest="b")) > 2
    assert len(told(digest="b")) == 1
    (tmp_path / CODES).write_bytes(written[:-1])
    assert len(told(digest="b")) > 2
    (tmp_path / INDEX).write_text("{")
    assert len(told(digest="b")) > 2


def test_they_are_the_same_whoever_makes_them(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The long sound is more than a shard: this process encodes it."""
    make(prepared, tmp_path / "alone")
    monkeypatch.setattr("distill.workers.choice.PROCESS_SECONDS", 0.0)
    monkeypatch.setattr(making, "usable_cores", lambda: 2)
    monkeypatch.setattr(Processes, "shard_bytes", 400_000)
    make(prepared, tmp_path / "spread")
    assert (tmp_path / "spread" / CODES).read_bytes() == (tmp_path / "alone" / CODES).read_bytes()


def test_two_processes_do_not_make_them_at_once(prepared: Path, tmp_path: Path) -> None:
    def tell(_done: int, _total: int) -> None:
        make(prepared, tmp_path)

    with pytest.raises(StorageError, match="another process is encoding"):
        make(prepared, tmp_path, tell)


def test_the_stage_tells_of_its_codes_and_heeds_a_request_to_stop(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, vqvae={"epochs": 1}, prior={"epochs": 1})
    run(workspace, "prepare", "configure", "train_vqvae")
    stop, events = StopRequest(), list[Event]()
    stop.ask()
    with pytest.raises(Interrupted):
        run(workspace, "train_prior", events=events, stop=stop)
    assert not any(isinstance(event, TrainingStarted) for event in events)
    run(workspace, "train_prior", events=events)
    done = [(event.done, event.total) for event in events if isinstance(event, Progress)]
    assert done == sorted(done)
    assert done[-1][0] == done[-1][1] > 0
    vqvae_file = build_networks(read_model(workspace.vqvae), workspace.vqvae).vqvae
    (index,) = workspace.root.rglob(INDEX)
    codes = np.load(index.with_name(CODES))
    assert codes.shape[1:] == (8, vqvae_file.num_quantizers)
    assert codes.max() < vqvae_file.codebook_size


def _peak_of(prepared: Path, folder: Path, queue: "multiprocessing.SimpleQueue[float]") -> None:
    make(prepared, folder)
    status = Path("/proc/self/status").read_text().splitlines()
    queue.put(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_memory_does_not_grow_with_the_length_of_the_sounds(tmp_path: Path) -> None:
    peaks = []
    for minutes in (0.5, 2.5):
        folder = tmp_path / str(minutes)
        save(folder / "in" / "sound.wav", noise(60 * minutes))
        prepare(folder / "in", folder / "out", DataConfig(speed_semitones=()), SpectrogramConfig(), 0)
        queue = children.SimpleQueue()
        child = children.Process(target=_peak_of, args=(folder / "out", folder / "codes", queue))
        child.start()
        peaks.append(queue.get())
        child.join()
    # A minute in one piece, with its copy, takes 250 MiB, so that two more would take 500. In pieces it is some pages
    # of the sound and what the allocator keeps, which differs from machine to machine.
    assert peaks[1] - peaks[0] < 150, peaks
