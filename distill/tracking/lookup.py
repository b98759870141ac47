"""Finding the record of a model: the run with its lineage, its tags and its files."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from distill.errors import TrackingError
from distill.tracking.address import client_of, experiment_name, tracking_errors

LINEAGE = "distill.lineage"


@dataclass(frozen=True)
class RecordedRun:
    """A recorded run: its id, status, tags, and start and end as UTC ISO times."""

    run_id: str
    name: str
    status: str
    tags: dict[str, str]
    started: str | None
    ended: str | None


def find_runs(project: Path, lineage: str) -> list[RecordedRun]:
    """All runs that made a model of this lineage, the newest first.

    Raises:
        TrackingError: the record cannot be read.
    """
    client = client_of(project)
    with tracking_errors(project):
        experiment = client.get_experiment_by_name(experiment_name())
        if experiment is None:
            return []
        found = client.search_runs(
            [experiment.experiment_id],
            filter_string=f"tags.`{LINEAGE}` = '{lineage}'",
            order_by=["attributes.start_time DESC"],
        )
    return [
        RecordedRun(
            run_id=run.info.run_id,
            name=run.info.run_name or "",
            status=run.info.status,
            tags={key: value for key, value in run.data.tags.items() if key.startswith("distill.")},
            started=_iso(run.info.start_time),
            ended=_iso(run.info.end_time),
        )
        for run in found
    ]


@contextmanager
def recorded_files(project: Path, run_id: str, *names: str) -> Iterator[Path]:
    """A temporary folder with recorded files or folders of a run, at their own paths.

    Raises:
        TrackingError: the record cannot be read, or one of them is not in it.
    """
    client = client_of(project)
    folder = Path(tempfile.mkdtemp(prefix="distill-record-"))
    try:
        with tracking_errors(project):
            for name in names:
                client.download_artifacts(run_id, name, str(folder))
        for name in names:
            if not (folder / name).exists():
                raise TrackingError(f"run {run_id} has no recorded {name}: distill tracking sync may complete it")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _iso(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
