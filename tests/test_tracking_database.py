"""A database of runs that cannot be used: one line says why."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from distill.errors import TrackingError
from distill.tracking import address
from distill.tracking.address import client_of
from distill.tracking.lookup import find_runs

# MLflow warns of what it uses of other packages.
pytestmark = pytest.mark.filterwarnings("ignore:::mlflow", "ignore:.*type hint.*:UserWarning")


def broken(kind: str, root: Path, other: Path) -> None:
    target = root / "mlflow.db"
    if kind == "a folder in its place":
        target.mkdir()
    elif kind == "no database":
        target.write_text("this is no database, and long enough not to be taken for an empty one" * 20)
    else:
        # MLflow remembers, within a process, that it has seen a database.
        client_of(other).search_experiments()
        shutil.copy(other / "mlflow.db", target)
        with closing(sqlite3.connect(target)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("a folder in its place", "cannot be opened"),
        ("no database", "it is no database"),
        ("a newer version", "version of MLflow"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(
    kind: str, said: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    broken(kind, tmp_path, tmp_path_factory.mktemp("other"))
    with pytest.raises(TrackingError, match=said) as failed:
        find_runs(tmp_path, "0" * 64)
    assert "\n" not in str(failed.value)


def test_a_locked_database_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(address, "LOCK_SECONDS", 0.2)
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match="locked by another program"):
            find_runs(tmp_path, "0" * 64)
