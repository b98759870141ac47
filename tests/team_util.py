"""PostgreSQL and an S3 store for the tests of what a team shares."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from local import HOST, Services, postgres_tools


def require_postgres() -> None:
    """Skip a test where PostgreSQL is not installed."""
    try:
        postgres_tools()
    except FileNotFoundError as error:
        pytest.skip(str(error))


@contextmanager
def services() -> Iterator[Services]:
    """Services in a folder that other users can reach; none is started."""
    require_postgres()
    with tempfile.TemporaryDirectory(prefix="distill-team-", ignore_cleanup_errors=True) as temporary:
        Path(temporary).chmod(0o755)
        found = Services(Path(temporary) / "services")
        try:
            yield found
        finally:
            found.end()


def database(found: Services, name: str = "mlflow", password: str | None = None) -> str:
    """The address of a database."""
    secret = found.values["POSTGRES_PASSWORD"] if password is None else password
    return f"postgresql://distill:{secret}@{HOST}:{found.ports['postgres']}/{name}"


def store_of(found: Services) -> dict[str, str]:
    """The variables by which the S3 store is reached."""
    return {name: value for name, value in found.environment("bucket").items() if name.startswith("AWS_")}
