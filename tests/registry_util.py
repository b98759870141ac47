"""Projects with small working models, for the tests of the library."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import artifact_example
import model_example
from distill.artifact.manifest import Memorization
from distill.artifact.model_file import write_model
from page_util import answers, free_port, wait

if TYPE_CHECKING:
    from distill.registry.signing import KeyPair


def make_folder(root: Path) -> Path:
    """What counts as a project, without anything in it."""
    (root / ".dvc").mkdir(parents=True)
    (root / "params.yaml").write_text("schema: 1\n")
    return root


def model_file(
    path: Path,
    *,
    verdict: str | None = "pass",
    distance: float | None = 4.0,
    weights: int = 0,
    data: str = "ab",
    lineage: str = "b",
    with_prior: bool = True,
    **metadata: Any,
) -> Path:
    """A model that works, with random weights; `data` and `lineage` are repeated to digests."""
    manifest = model_example.manifest(with_prior=with_prior)
    known = manifest.metadata.model_copy(update={"name": path.stem, "best_val_lsd_db": distance, **metadata})
    check = None if verdict is None else Memorization.model_validate({"verdict": verdict, "reasons": ["a reason"]})
    origin = artifact_example.LINEAGE.model_copy(update={"data_digest": data * 32, "id": lineage * 64})
    changed = manifest.model_copy(update={"metadata": known, "memorization": check, "lineage": origin})
    state = {name: value.clone() for name, value in model_example.vqvae().state_dict().items()}
    next(iter(state.values())).view(-1)[0] += weights
    path.parent.mkdir(parents=True, exist_ok=True)
    write_model(path, changed, state, model_example.prior().state_dict() if with_prior else None)
    return path


def with_model(root: Path) -> Path:
    """A project with a registered model, `bells/1`."""
    from database_util import put_database
    from distill.registry.registration import register

    put_database(make_folder(root))
    register(model_file(root / "models" / "bells.distill"), root)
    return root


def stored_files(project: Path) -> set[Path]:
    """The files that the registry of a project keeps."""
    return {path for path in (project / "mlartifacts").rglob("*") if path.is_file()}


def signed_file(path: Path, keys: "KeyPair", *, weights: int = 0) -> Path:
    """A model as of `model_file` with a signature beside it."""
    from distill.registry.signing import sign, write_signature

    write_signature(model_file(path, weights=weights), sign(path, keys.private))
    return path


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """The address of a server of MLflow's that keeps everything in a folder."""
    port = free_port()
    where = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "kept")]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "mlflow", "server", *where, "--host", "127.0.0.1", "--port", str(port)]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([*command, "--workers", "1"], env=environment, stdout=quiet, stderr=quiet)
    try:
        wait(lambda: answers(f"http://127.0.0.1:{port}/health"))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
