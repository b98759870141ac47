"""A new database of MLflow's: making one takes seconds, so it is made once and copied."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mlflow

from distill.locks import wait_for

_MAKE = """
import sys
from pathlib import Path
from distill.tracking.address import client_of
client_of(Path(sys.argv[1])).search_experiments()
"""


def put_database(project: Path) -> Path:
    """Give a project the database that MLflow would make there; the project."""
    folder = Path(tempfile.gettempdir()) / f"distill-tests-{os.getuid()}"
    known = folder / f"mlflow-{mlflow.__version__}.db"
    descriptor = wait_for(folder / "lock")
    try:
        if not known.is_file():
            with tempfile.TemporaryDirectory(dir=folder) as fresh:
                environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
                command = [sys.executable, "-W", "ignore", "-c", _MAKE, fresh]
                subprocess.run(command, check=True, env=environment, capture_output=True)
                (Path(fresh) / "mlflow.db").replace(known)
    finally:
        os.close(descriptor)
    project.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(known, project / "mlflow.db")
    return project
