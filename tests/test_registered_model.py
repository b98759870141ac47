"""What a version holds: the file, the code that it needs elsewhere, tags and figures."""

import ast
import os
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pandas as pd
import pytest

from distill.registry.registration import register
from distill.registry.registry import delete_version
from distill.tracking.address import client_of
from registry_util import model_file, stored_files, with_model

# MLflow uses what SQLAlchemy will remove.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_model(tmp_path_factory.mktemp("registered") / "project")


def test_a_version_says_what_it_is_and_holds_nothing_pickled(project: Path) -> None:
    version = client_of(project).get_model_version("bells", "1")
    assert version.tags["distill.verdict"] == "pass"
    assert version.tags["distill.health"] == "green: Healthy"
    assert version.tags["distill.dataset"] == "Glöckchen 🔔"
    assert "held-out distance in dB 4" in version.description
    assert "Memorization: pass. a reason" in version.description
    suffixes = {path.suffix for path in stored_files(project)}
    assert suffixes == {".distill", ".json", ".py", ".txt", ".yaml", ""}


# Python finds neither this repository nor an installed distill.
ALONE = """
import sys
sys.path = [path for path in sys.path if not path.startswith({repository!r}) or "site-packages" in path]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model({folder!r})
made = model.predict(pandas.DataFrame([{{"seed": 3, "seconds": 0.4}}]))
import distill
print(distill.__file__)
print(made["audio"][0])
"""


def test_a_registered_model_brings_the_code_that_it_needs(project: Path, tmp_path: Path) -> None:
    version = register(model_file(tmp_path / "kit.distill"), project)
    folder = Path(version.source.removeprefix("file://"))
    code = ALONE.format(repository=str(Path(__file__).parents[1]), folder=str(folder))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    where, audio = done.stdout.split()
    assert Path(where).is_relative_to(folder / "code")
    import mlflow.pyfunc

    here = mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame([{"seed": 3, "seconds": 0.4}]))
    assert here["audio"][0] == audio
    size = sum(path.stat().st_size for path in (folder / "code").rglob("*") if path.is_file())
    assert size < 1_000_000


def test_what_a_registered_model_imports_is_what_it_asks_for(project: Path, tmp_path: Path) -> None:
    folder = Path(register(model_file(tmp_path / "kit.distill"), project).source.removeprefix("file://"))
    asked = {line.partition("==")[0] for line in (folder / "requirements.txt").read_text().splitlines()}
    assert not any(name.startswith("distill") for name in asked)
    known = packages_distributions()
    for path in (folder / "code").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in (each.partition(".")[0] for each in names):
                if name not in sys.stdlib_module_names and name != "distill":
                    assert {each.lower() for each in known[name]} & asked, f"{path.name} imports {name}"


def test_a_registered_model_is_a_logged_model_with_its_figures(project: Path, tmp_path: Path) -> None:
    version = register(model_file(tmp_path / "logged.distill", distance=2.5), project)
    client = client_of(project)
    model_id = version.source.split("/")[-2]
    logged = client.get_logged_model(model_id)
    assert logged.artifact_location == version.source
    assert str(logged.status).endswith("READY")
    figures = {metric.key: metric.value for metric in logged.metrics}
    assert figures["model/lsd_db"] == 2.5
    assert {"model/level_0/utilization", "model/level_1/dead_codes"} <= figures.keys()
    delete_version(version, project)
    with pytest.raises(Exception, match="not found"):
        client.get_logged_model(model_id)
