"""The registry: versions around model files, who may be champion, and sounds from what MLflow loads."""

import base64
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import artifact_example
import model_example
from distill.artifact.manifest import Memorization
from distill.artifact.model_file import write_model
from distill.errors import DistillError, UsageError
from distill.generation.render import generate
from distill.generation.sampling import SamplingConfig
from distill.library import catalogue
from distill.library.promotion import promote
from distill.library.registry import CHAMPION, find_version, register, resolve, versions
from distill.tracking.address import client_of, tracking_address

# MLflow warns of its own type hints and of what it uses of other packages.
pytestmark = pytest.mark.filterwarnings("ignore:::mlflow", "ignore:.*type hint.*:UserWarning")


def model_file(
    path: Path,
    *,
    verdict: str | None = "pass",
    distance: float = 4.0,
    weights: int = 0,
    data: str = "ab",
    lineage: str = "b",
) -> Path:
    """A model that works, with random weights."""
    manifest = model_example.manifest()
    metadata = manifest.metadata.model_copy(update={"name": path.stem, "best_val_lsd_db": distance})
    check = None if verdict is None else Memorization.model_validate({"verdict": verdict, "reasons": ["a reason"]})
    lineage = artifact_example.LINEAGE.model_copy(update={"data_digest": data * 32, "id": lineage * 64})
    changed = manifest.model_copy(update={"metadata": metadata, "memorization": check, "lineage": lineage})
    state = {name: value.clone() for name, value in model_example.vqvae().state_dict().items()}
    next(iter(state.values())).view(-1)[0] += weights
    path.parent.mkdir(parents=True, exist_ok=True)
    write_model(path, changed, state, model_example.prior().state_dict())
    return path


@pytest.fixture(autouse=True)
def _own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a registered model."""
    root = tmp_path_factory.mktemp("registry")
    (root / ".dvc").mkdir()
    (root / "params.yaml").write_text("schema: 1\n")
    register(model_file(root / "models" / "bells.distill"), root)
    return root


def test_the_same_bytes_are_one_version_and_others_a_new_one(project: Path, tmp_path: Path) -> None:
    first = find_version("bells", project)
    again = register(project / "models" / "bells.distill", project)
    assert (again.version, again.created) == (first.version, False)
    assert "candidate" in first.aliases
    other = register(model_file(tmp_path / "bells.distill", weights=1), project)
    assert other.created
    assert other.version == first.version + 1
    assert find_version("bells@candidate", project).version == other.version
    assert resolve("bells/1", project).read_bytes() == (project / "models" / "bells.distill").read_bytes()


def test_the_same_weights_with_another_history_are_a_version_of_their_own(project: Path, tmp_path: Path) -> None:
    path = model_file(tmp_path / "checked.distill", verdict="pass")
    first = register(path, project)
    again = register(model_file(path, verdict="fail", lineage="c"), project)
    assert (again.digest, again.version) == (first.digest, first.version + 1)
    with pytest.raises(UsageError, match="memorized"):
        promote(again.reference, project)


def _register_there(arguments: tuple[str, str]) -> int:
    return register(Path(arguments[0]), Path(arguments[1])).version


def test_two_processes_that_register_at_once_make_one_version(project: Path, tmp_path: Path) -> None:
    path = model_file(tmp_path / "twice.distill")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(_register_there, [(str(path), str(project))] * 2)) == [1, 1]
    assert len(versions(project, "twice")) == 1


def test_what_mlflow_loads_makes_the_sound_that_the_seed_means(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow.pyfunc
    import pandas as pd

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_address(project))
    mlflow.set_tracking_uri(tracking_address(project))
    client_of(project).set_registered_model_alias("bells", CHAMPION, "1")
    loaded = mlflow.pyfunc.load_model("models:/bells@champion")
    made = loaded.predict(pd.DataFrame([{"seed": 3, "seconds": 0.7, "temperature": 0.8}, {"seed": 4, "seconds": 0.5}]))
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(made["audio"][0])), dtype="float32")
    assert (rate, len(samples)) == (48_000, 33_600)
    path = resolve("bells/1", project)
    (expected,) = generate(path, seconds=0.7, seed=3, config=SamplingConfig(temperature=0.8))
    assert np.max(np.abs(samples - expected.samples)) < 1e-6
    assert list(made["seed"]) == [3, 4]
    client_of(project).delete_registered_model_alias("bells", CHAMPION)


@pytest.mark.slow
def test_mlflow_models_serve_answers_over_http(project: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": tracking_address(project),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/bells/1", "--env-manager", "local"]
    server = subprocess.Popen([*command, "--port", str(port), "--host", "127.0.0.1"], env=environment)
    rows = {"dataframe_records": [{"seed": 3, "seconds": 0.5}]}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        data=json.dumps(rows).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        for _ in range(120):
            try:
                answer = json.loads(urllib.request.urlopen(request, timeout=60).read())
                break
            except OSError:
                time.sleep(0.5)
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(answer["predictions"][0]["audio"])))
    finally:
        server.terminate()
        server.wait()
    assert (rate, len(samples)) == (48_000, 24_000)


def promoted(name: str, project: Path, folder: Path, *, force: bool = False, **kind: Any) -> str:
    version = register(model_file(folder / f"{name}.distill", **kind), project)
    try:
        promote(version.reference, project, force=force)
    except UsageError as error:
        return str(error)
    assert find_version(f"{name}@champion", project).version == version.version
    return "promoted"


def test_only_what_memorized_nothing_and_is_not_worse_becomes_champion(project: Path, tmp_path: Path) -> None:
    assert "a reason" in promoted("gate", project, tmp_path, verdict="fail", weights=1)
    assert "a reason" in promoted("gate", project, tmp_path, verdict="fail", weights=2, force=True)
    assert "warn" in promoted("gate", project, tmp_path, verdict="warn", weights=3)
    assert "never checked" in promoted("gate", project, tmp_path, verdict=None, weights=4)
    assert promoted("gate", project, tmp_path, distance=4.0, weights=5) == "promoted"
    assert "4.5" in promoted("gate", project, tmp_path, distance=4.5, weights=6)
    assert "other sounds" in promoted("gate", project, tmp_path, distance=3.0, weights=7, data="cd")
    assert promoted("gate", project, tmp_path, distance=4.5, weights=8, force=True) == "promoted"
    assert promoted("gate", project, tmp_path, distance=3.9, weights=9) == "promoted"


def test_a_tag_that_somebody_edits_does_not_open_the_gate(project: Path, tmp_path: Path) -> None:
    version = register(model_file(tmp_path / "edited.distill", verdict="fail"), project)
    client_of(project).set_model_version_tag(version.name, str(version.version), "distill.verdict", "pass")
    with pytest.raises(UsageError, match="memorized"):
        promote(version.reference, project)


def test_a_failure_leaves_nothing_registered(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    def fails(*_arguments: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", fails)
    with pytest.raises(DistillError, match="disk is full"):
        register(model_file(tmp_path / "half.distill"), project)
    assert versions(project, "half") == []
    with pytest.raises(UsageError, match="no registered model has this name"):
        find_version("half", project)


def test_the_list_shows_the_same_weights_once_with_all_places(project: Path) -> None:
    entries, unreadable = catalogue.catalogue(project)
    assert unreadable == []
    (bells,) = catalogue.chosen([entry for entry in entries if entry.files], words=["BELLS", "metal"])
    assert bells.summary()["files"] == [str(project / "models" / "bells.distill")]
    assert "bells/1" in bells.summary()["registered"]
    assert catalogue.chosen(entries, words=["no such word"]) == []
    distances = [entry.manifest.metadata.best_val_lsd_db for entry in catalogue.chosen(entries, sort="distance")]
    assert distances == sorted(distances)
    with pytest.raises(UsageError, match="choose one of"):
        catalogue.chosen(entries, sort="color")


def test_a_damaged_file_is_named_and_the_others_are_listed(project: Path) -> None:
    broken = project / "models" / "broken.distill"
    broken.write_bytes(b"nothing")
    try:
        entries, unreadable = catalogue.catalogue(project, registry=False)
    finally:
        broken.unlink()
    assert [each.place for each in unreadable] == [str(broken)]
    assert len(entries) == 1


def test_comparing_shows_what_differs_and_nothing_else(project: Path, tmp_path: Path) -> None:
    other = str(model_file(tmp_path / "other.distill", distance=3.0, weights=1))
    rows = catalogue.compare(["bells/1", other], project)
    assert rows["held_out_distance_db"] == {"bells/1": 4.0, other: 3.0}
    assert "levels" not in rows
    with pytest.raises(UsageError, match="two models"):
        catalogue.compare([other], project)


def test_export_and_import_keep_the_bytes_and_overwrite_nothing(project: Path, tmp_path: Path) -> None:
    out = catalogue.export("bells/1", tmp_path / "out.distill", project)
    assert out.read_bytes() == resolve("bells/1", project).read_bytes()
    with pytest.raises(UsageError, match="--force"):
        catalogue.export("bells/1", out, project)
    other = model_file(tmp_path / "bells.distill", weights=3)
    with pytest.raises(UsageError, match="another model"):
        catalogue.import_file(other, project)
    taken = catalogue.import_file(other, project, name="more-bells")
    assert taken.read_bytes() == other.read_bytes()
    taken.unlink()
    for name in ("../up", ".hidden", "a/b"):
        with pytest.raises(UsageError, match="cannot be a model's name"):
            catalogue.import_file(other, project, name=name)
    damaged = tmp_path / "damaged.distill"
    shutil.copy(other, damaged)
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(DistillError):
        catalogue.import_file(damaged, project, name="damaged")
    assert not (project / "models" / "damaged.distill").exists()


def test_deleting_takes_one_version_and_never_the_champion(project: Path, tmp_path: Path) -> None:
    version = register(model_file(tmp_path / "gone.distill"), project)
    promote(version.reference, project)
    with pytest.raises(UsageError, match="champion"):
        catalogue.delete("gone/1", project)
    with pytest.raises(UsageError, match="one version"):
        catalogue.delete("gone", project)
    assert catalogue.delete("gone/1", project, force=True) == "gone/1"
    assert versions(project, "gone") == []
    path = model_file(tmp_path / "file.distill")
    catalogue.delete(str(path), project)
    assert not path.exists()
    (tmp_path / "text.distill").write_text("my diary")
    with pytest.raises(DistillError):
        catalogue.delete(str(tmp_path / "text.distill"), project)
    assert (tmp_path / "text.distill").exists()


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("bell", "did you mean bells"),
        ("bells/99", "no such version"),
        ("bells@nobody", "no such version"),
        ("../bells/1", "neither a model file nor"),
        ("", "neither a model file nor"),
    ],
)
def test_a_reference_to_nothing_is_one_line(reference: str, said: str, project: Path) -> None:
    with pytest.raises(UsageError, match=said) as failed:
        resolve(reference, project)
    assert "\n" not in str(failed.value)
