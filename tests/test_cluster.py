"""Preparation and codes on a Dask cluster: the bytes of one process, whatever becomes of a worker."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import distill
from cluster_util import DaskCluster, dask_cluster, kill
from distill.configs import DataConfig, PriorConfig, SpectrogramConfig
from distill.dataset.prepare import prepare
from distill.dataset.store import PreparedDataset
from distill.errors import DataError, StorageError, UsageError
from distill.training.codes_file import CODES, prior_codes
from distill.training.runtime import Runtime
from model_example import vqvae
from pipeline_util import bytes_of, make_workspace, run
from sounds_util import bad_folder, noise, save, tone

pytest.importorskip("distributed")

# A process for which another file system lies over a folder.
HIDING = ("unshare", "--mount", "sh", "-c")
DATA = DataConfig(speed_semitones=(2.0,))
SOUNDS = 300


def _may_hide() -> bool:
    try:
        return subprocess.run([*HIDING, "mount -t tmpfs none /mnt"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def noise_in_two(seed: int) -> np.ndarray:
    return np.stack([noise(0.12, seed), noise(0.12, seed + 1)], axis=1)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short sounds, some stereo, and one of everything that goes wrong."""
    folder = tmp_path_factory.mktemp("in")
    bad_folder(folder)
    for seed in range(SOUNDS):
        samples = noise(0.12, seed)
        save(folder / f"{seed % 3}" / f"{seed:03}.wav", samples if seed % 20 else noise_in_two(seed))
    return folder


@pytest.fixture(scope="module")
def alone(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of them."""
    out = tmp_path_factory.mktemp("alone") / "out"
    prepare(sounds, out, DATA, SpectrogramConfig(), 0, workers=1)
    return out


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path_factory.mktemp("cluster"), workers=2) as cluster:
        yield cluster


def test_preparation_gives_the_bytes_of_one_process(
    sounds: Path, alone: Path, cluster: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By a path that means nothing to the workers.
    monkeypatch.chdir(sounds.parent)
    prepare(Path(sounds.name), tmp_path / "out", DATA, SpectrogramConfig(), 0, dask=cluster.address)
    assert bytes_of(tmp_path / "out") == bytes_of(alone)


def test_codes_are_those_of_one_process(alone: Path, cluster: DaskCluster, tmp_path: Path) -> None:
    config = PriorConfig(column_cuts=2, augmented_copies=1)
    for name, dask in (("here", None), ("there", cluster.address)):
        runtime = Runtime("cpu", "fp32", 1, 0)
        dataset = PreparedDataset(alone)
        prior_codes(dataset, vqvae().eval(), config, runtime, tmp_path / name, digest="a", dask=dask)
    assert (tmp_path / "there" / CODES).read_bytes() == (tmp_path / "here" / CODES).read_bytes()


@pytest.mark.slow
def test_stages_heed_the_parameter_and_the_variable(
    cluster: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = ("prepare", "configure", "train_vqvae", "train_prior")
    made = {}
    for name, address in (("here", None), ("named", cluster.address), ("set", cluster.address)):
        workspace = make_workspace(tmp_path / name, run={} if name != "named" else {"dask": address})
        if name == "set":
            monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", str(address))
        run(workspace, *stages)
        made[name] = bytes_of(tmp_path / name)
        made[name].pop("params.yaml")
    assert made["here"] == made["named"] == made["set"]


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(
    sounds: Path, alone: Path, cluster: DaskCluster, tmp_path: Path
) -> None:
    def tell(_what: str, done: int, _count: int) -> None:
        if done == 70 and cluster.workers[0].poll() is None:
            kill(cluster.workers[0])

    prepare(sounds, tmp_path / "out", DATA, SpectrogramConfig(), 0, dask=cluster.address, on_progress=tell)
    assert cluster.workers[0].poll() is not None
    assert bytes_of(tmp_path / "out") == bytes_of(alone)


@pytest.fixture(scope="module")
def scheduler(cluster: DaskCluster) -> DaskCluster:
    """The scheduler once its workers are gone: others last no longer than the test that starts them."""
    for process in cluster.workers:
        kill(process)
    return cluster


@contextmanager
def worker(cluster: DaskCluster, *before: str, **environment: str) -> Iterator[None]:
    """The one worker of a scheduler."""
    process = cluster.add_worker(*before, **environment)
    try:
        yield
    finally:
        kill(process)


def test_a_scheduler_without_workers_is_one_line(
    sounds: Path, scheduler: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.workers.cluster.CONNECT_SECONDS", 2.0)
    with pytest.raises(UsageError, match="has no worker: start one: dask worker tcp://"):
        prepare(sounds, tmp_path / "out", DATA, SpectrogramConfig(), 0, dask=scheduler.address)


@pytest.mark.parametrize("other", ["version", "older"])
def test_workers_of_another_version_are_refused_in_one_line(
    sounds: Path, scheduler: DaskCluster, tmp_path: Path, other: str
) -> None:
    package = Path(distill.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__", "shipped", "ui", *(["workers"] if other == "older" else []))
    shutil.copytree(package, tmp_path / "other" / "distill", ignore=ignored)
    init = tmp_path / "other" / "distill" / "__init__.py"
    init.write_text(init.read_text().replace(f'__version__ = "{distill.__version__}"', '__version__ = "0.0.1"'))
    expected = (
        rf"the Dask worker tcp://.* has another distill than {distill.__version__}: 0\.0\.1; install"
        if other == "version"
        else rf"the Dask worker tcp://.* has another distill than {distill.__version__}: \(No module named"
    )
    with worker(scheduler, PYTHONPATH=str(tmp_path / "other")), pytest.raises(UsageError, match=expected) as said:
        prepare(sounds, tmp_path / "out", DATA, SpectrogramConfig(), 0, dask=scheduler.address)
    assert "\n" not in str(said.value)


@pytest.mark.skipif(not _may_hide(), reason="this user may not mount anything")
def test_workers_that_cannot_read_the_sounds_are_one_line(scheduler: DaskCluster, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.wav", tone())
    save(tmp_path / "in" / "b.wav", noise())
    hidden = (*HIDING, f'mount -t tmpfs none "{tmp_path / "in"}" && exec "$@"', "sh")
    said = r"a Dask worker cannot read .*/a\.wav, which this process can"
    with worker(scheduler, *hidden), pytest.raises(DataError, match=said):
        prepare(tmp_path / "in", tmp_path / "out", DATA, SpectrogramConfig(), 0, dask=scheduler.address)


def test_a_scheduler_that_goes_away_is_one_line(sounds: Path, scheduler: DaskCluster, tmp_path: Path) -> None:
    def tell(_what: str, done: int, _count: int) -> None:
        if done == 1:
            kill(scheduler.scheduler)

    said = r"the Dask scheduler tcp://.* went away in the middle"
    with worker(scheduler), pytest.raises(StorageError, match=said):
        prepare(sounds, tmp_path / "out", DATA, SpectrogramConfig(), 0, dask=scheduler.address, on_progress=tell)
    assert not any((tmp_path / "out").glob("*"))
