"""Stage prepare: a folder of sounds becomes checked, split, normalized spectrograms on disk."""

from typing import Any

from distill.dataset.prepare import prepare as prepare_dataset
from distill.live.events import Progress, Warned
from distill.stages.workspace import Call, write_report

STAGE = "prepare"


def run(call: Call) -> dict[str, Any]:
    """Read the sounds and write `prepared/` and the report.

    Raises:
        DataError: there is no usable sound.
        Interrupted: a stop was requested.
    """
    workspace = call.workspace
    params = workspace.params()

    def progress(what: str, done: int, total: int) -> None:
        call.stop.check()
        call.emit(Progress(STAGE, done, total, what))

    summary = prepare_dataset(
        workspace.source(params),
        workspace.prepared,
        params.data,
        params.spectrogram,
        params.run.seed,
        # The bytes do not depend on who does the work.
        workers=None if params.run.threads == "auto" else params.run.threads,
        dask=params.run.dask,
        on_progress=progress,
    )
    for message in summary.warnings:
        call.emit(Warned(STAGE, message, message))
    values = summary.as_dict()
    return write_report(workspace, STAGE, {key: values[key] for key in values.keys() - {"spectrogram", "schema"}})
