"""Where runs are recorded: one address, and MLflow's client on it with errors of one line."""

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from distill.errors import DistillError, StorageError, TrackingError
from distill.files import replacing
from distill.locks import lock
from distill.versions.dvc import KEY_REASONS

if TYPE_CHECKING:
    from mlflow import MlflowClient

ADDRESS = "MLFLOW_TRACKING_URI"
REGISTRY_ADDRESS = "MLFLOW_REGISTRY_URI"
EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
ARTIFACT_ROOT = "MLFLOW_DEFAULT_ARTIFACT_ROOT"
SWITCH = "DISTILL_TRACKING"
SQLITE, POSTGRES = "sqlite:///", "postgresql"
CONNECT_SECONDS = 10
LOCK_SECONDS = 5.0
ARTIFACTS = "mlartifacts"
# How the process that starts MLflow's server hands over what its guard needs.
PAGE_TOKEN, PAGE_PORT = "DISTILL_MLFLOW_TOKEN", "DISTILL_MLFLOW_PORT"
# Where MLflow's database holds addresses of recorded files.
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)

logger = logging.getLogger(__name__)

# MLflow reads these when it is imported. An unreachable server must not hold up a training for minutes.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # It logs whole traces of what it then raises.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    # It would print addresses among results.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


def tracking_on() -> bool:
    """Whether runs are recorded; `DISTILL_TRACKING=off` switches it off."""
    return os.environ.get(SWITCH, "on").lower() not in {"off", "0", "false", "no"}


def tracking_address(project: Path) -> str:
    """The address that everything is recorded at: MLFLOW_TRACKING_URI, or a database in the project.

    A database at a relative path lies in the project, wherever a stage runs.
    """
    return _in_project(project, os.environ.get(ADDRESS) or f"{SQLITE}mlflow.db")


def registry_address(project: Path) -> str:
    """The address of the registry: MLFLOW_REGISTRY_URI, or where everything is recorded."""
    given = os.environ.get(REGISTRY_ADDRESS)
    return _in_project(project, given) if given else tracking_address(project)


def _in_project(project: Path, address: str) -> str:
    return f"{SQLITE}{project.resolve() / address.removeprefix(SQLITE)}" if address.startswith(SQLITE) else address


def noted_address(project: Path) -> str:
    """The address as a project's notes name it: a database in the project by its path there, so that both can move."""
    address = tracking_address(project)
    database = Path(address.removeprefix(SQLITE))
    if address.startswith(SQLITE) and database.is_relative_to(project.resolve()):
        address = f"{SQLITE}{database.relative_to(project.resolve())}"
    return without_password(address)


def without_password(address: str) -> str:
    """An address without the password in it.

    >>> without_password("https://me:secret@runs.example.org")
    'https://me:...@runs.example.org'
    >>> without_password("https://token@runs.example.org"), without_password("postgresql:///d?user=me&password=a/b@c")
    ('https://...@runs.example.org', 'postgresql:///d?user=me&password=...')
    >>> without_password("postgresql://me:a?b@host/d")
    'postgresql://me:...@host/d'
    """
    address = re.sub(r"(?i)(?<=[?&]password=)[^&]*", "...", address)
    address = re.sub(r"(?<=://)([^/@:?]*):.*@", r"\1:...@", address)
    return re.sub(r"(?<=://)[^/@:?]*@", "...@", address)


def is_server(address: str) -> bool:
    """Whether a server of MLflow's is at an address, rather than a database."""
    return address.startswith(("http://", "https://", "databricks"))


def artifact_location(project: Path) -> str | None:
    """Where files of a new experiment go: None where a server decides, MLFLOW_DEFAULT_ARTIFACT_ROOT, or the project.

    Raises:
        TrackingError: a shared database would name this machine's folder.
    """
    address = tracking_address(project)
    if is_server(address):
        return None
    if root := os.environ.get(ARTIFACT_ROOT):
        return root.rstrip("/")
    if not address.startswith(SQLITE):
        raise TrackingError(
            f"{without_password(address)} is for several machines, which cannot reach files in this project: "
            f"set {ARTIFACT_ROOT} to an address such as s3://BUCKET/PATH"
        )
    return (project.resolve() / ARTIFACTS).as_uri()


def experiment_name() -> str:
    """The experiment that runs belong to."""
    return os.environ.get(EXPERIMENT) or "distill"


def set_up_mlflow() -> None:
    """Settings of MLflow that must stand before it is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    # It logs every step of making a database.
    logging.getLogger("alembic").setLevel(logging.ERROR)


def client_of(project: Path) -> "MlflowClient":
    """MLflow's client on the project's address.

    Raises:
        TrackingError: the address cannot be used: no server there, a database that is locked, damaged, not writable
            or of a newer version.
    """
    set_up_mlflow()
    address, registry = tracking_address(project), registry_address(project)
    with tracking_errors(project):
        _check_database(address, project)
        _check_database(registry, project)
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=address, registry_uri=registry)


def make_database(project: Path) -> None:
    """Make sure that a database in the project is there before several processes use it.

    Raises:
        TrackingError: as in `client_of`.
    """
    databases = [_database(address) for address in (tracking_address(project), registry_address(project))]
    if any(path is not None and not path.exists() for path in databases):
        client_of(project)


def experiment_of(client: "MlflowClient", project: Path) -> str:
    """The id of the experiment, which is made where it is missing.

    Raises:
        TrackingError: as in `client_of`.
    """
    from mlflow.exceptions import MlflowException

    name = experiment_name()
    with tracking_errors(project):
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(client.create_experiment(name, artifact_location=artifact_location(project)))
            except MlflowException:
                # Another process may have made it in the meantime.
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"the experiment {name!r} at {without_password(tracking_address(project))} is deleted: restore it in MLflow"
        )
    return str(found.experiment_id)


@contextmanager
def tracking_errors(project: Path) -> Iterator[None]:
    """Turn whatever MLflow, its database or its connection complain about into one line."""
    try:
        yield
    except (DistillError, KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        address = tracking_address(project)
        reason = _reason(" ".join(str(error).split()).replace(address, without_password(address)))
        raise TrackingError(f"cannot use the record of runs at {without_password(address)}: {reason}") from error


def _check_database(address: str, project: Path) -> None:
    """Raise at once what MLflow would find out after trying for minutes; in a moved project, correct its addresses."""
    if address.startswith(POSTGRES):
        import psycopg

        scheme, _, rest = address.partition("://")
        psycopg.connect(f"{scheme.partition('+')[0]}://{rest}", connect_timeout=CONNECT_SECONDS).close()
    here = str(project.resolve())
    if address.startswith(f"{SQLITE}{here}/") and (unquote(here) != here or "?" in here):
        raise TrackingError(
            f"MLflow's database cannot lie in {here}, as ? and % mean something else in its address: "
            f"rename the folder, or set {ADDRESS}"
        )
    path = _database(address)
    if path is None:
        return
    if not path.exists():
        _make_database(path, project)
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        if path.is_relative_to(project.resolve()):
            _follow(connection, project)
        connection.commit()


def _database(address: str) -> Path | None:
    """The file of MLflow's database at an address; None where it is no file, or is named in another way."""
    plain = address.startswith(SQLITE) and unquote(address) == address and "?" not in address
    return Path(address.removeprefix(SQLITE)) if plain else None


def _make_database(path: Path, project: Path) -> None:
    """Make MLflow's database whole: two processes that make it at once, or one that is killed, would break it."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path = path.resolve()
    try:
        with lock(path.with_name(f".{path.name}.lock"), lambda: None, remove=True):
            if not path.exists():
                with replacing(path) as temporary:
                    # MLflow's own place for an experiment that nothing here records in.
                    SqlAlchemyStore(f"{SQLITE}{temporary}", (project.resolve() / "mlruns").as_uri()).engine.dispose()
    except StorageError as error:
        raise TrackingError(f"cannot use the record of runs at {SQLITE}{path}: {error}") from error


def _follow(connection: sqlite3.Connection, project: Path) -> None:
    """Lead the addresses of recorded files to the project's folder for them, where it was moved or copied with it.

    MLflow keeps them as absolute addresses.
    """
    folder = str(project.resolve() / ARTIFACTS)
    here = Path(folder).as_uri()
    if not (project / ARTIFACTS).is_dir() or not _columns(connection, "experiments"):
        return
    known = {there for (there,) in connection.execute("SELECT artifact_location FROM experiments")}
    own = {None, here, artifact_location(project)}
    places = sorted(there for there in known - own if there.startswith("file:///") and there.endswith(f"/{ARTIFACTS}"))
    columns = [(table, column) for table, column in ADDRESSES if column in _columns(connection, table)]

    def came_along(there: str) -> bool:
        """Whether of what is recorded there something lies here, or nothing is recorded there and the place is gone."""
        recorded = [
            address
            for table, column in columns
            for (address,) in connection.execute(
                f"SELECT {column} FROM {table} WHERE substr({column}, 1, ?) = ?", (len(there) + 1, f"{there}/")
            )
        ]
        if not recorded:
            return not Path(unquote(there.removeprefix("file://"))).exists()
        return any(Path(folder + unquote(address[len(there) :])).exists() for address in recorded)

    # Another project that recorded here has its files still; a copy without any files is to write into none of those.
    followed = [there for there in places if came_along(there)] or ([] if here in known else places)
    for there in followed:
        for table, column in columns:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (here, len(there) + 1, there, len(there) + 1, f"{there}/"),
            )
        logger.info("the project was at %s before: its recorded runs and models are found here now", there)


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def _reason(text: str) -> str:
    known = {
        "out-of-date database schema": "its database is of another version of MLflow: run mlflow db upgrade on it, "
        "or update MLflow",
        "Can't locate revision": "its database is of a newer version of MLflow: update MLflow",
        "database is locked": "its database is locked by another program: wait for that, and try again",
        "readonly database": "its database cannot be written",
        "unable to open database file": "its database cannot be opened",
        "No module named 'psycopg": "PostgreSQL needs pip install 'distill-audio[postgres]'",
        "No module named 'boto3'": "S3 needs pip install 'distill-audio[s3]'",
        "password authentication failed": "the user's name or the password is wrong",
        "NoSuchBucket": f"the bucket for files does not exist: make it, or name another with {ARTIFACT_ROOT}",
        **KEY_REASONS,
        "Could not connect to the endpoint": "the S3 store does not answer: start it, or correct "
        "MLFLOW_S3_ENDPOINT_URL",
        "Connection refused": "nothing answers there: start the server, or unset MLFLOW_TRACKING_URI",
        "Max retries exceeded": "nothing answers there: start the server, or unset MLFLOW_TRACKING_URI",
        "file is not a database": "it is no database",
        "disk is full": "the disk is full",
        "No space left": "the disk is full",
    }
    return next((words for sign, words in known.items() if sign in text), text[:300])
