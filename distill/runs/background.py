"""Trainings in processes of their own, which outlive the process that started them."""

import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

from distill.errors import DataError
from distill.files import storage_errors
from distill.params import Params, with_settings
from distill.processes.run_lock import hold
from distill.programs import PYTHON
from distill.runs.folder import Order, log_file, read_order, write_order
from distill.runs.inputs import Inputs, named_params, settings_of, source_of


def start(project: Path, order: Order) -> Path:
    """Start a training of a project's sounds in the background, or resume the one of the same inputs.

    Args:
        project: the project folder.
        order: with what; a relative `source` is below the project.

    Returns:
        The run's folder.

    Raises:
        UsageError: a setting or the name is wrong.
        DataError: there is no such folder.
        TrainingError: it runs already.
        StorageError: the folder cannot be written.
    """
    project = project.resolve()
    params = with_settings(Params(), order.settings)
    source = source_of(project, project / order.source)
    order = replace(order, source=source, settings=settings_of(params), again=True)
    inputs = Inputs(project, source, params)
    named_params(inputs, order.name)
    _launch(inputs, order)
    return inputs.root


def go_on(project: Path, root: Path, *, until: str | None = None) -> None:
    """Resume a stopped run, up to another last stage.

    Raises:
        TrainingError: it runs already.
        DataError: its sounds are gone, or what it follows from is not known here.
    """
    order = read_order(root)
    if order is None or not order.again:
        raise DataError(f"{root.name} follows from more than its settings: give the same command there again")
    start(project, replace(order, until=until, started_by="page"))


def _launch(inputs: Inputs, order: Order) -> None:
    root = inputs.root
    with hold(root, here=False) as lock:
        write_order(root, order)
        # The training gets the lock, and with it what shows that it is alive; the system frees it when it dies.
        with storage_errors(log_file(root), "write"), log_file(root).open("wb") as log:
            process = subprocess.Popen(
                _command(inputs, order),
                cwd=inputs.project,
                env={**os.environ, **lock.environment, "DISTILL_STARTED_BY": order.started_by},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock.descriptor,),
            )
    # Without a wait it would stay as a zombie when it ends.
    threading.Thread(target=process.wait, name=f"wait-{root.name}", daemon=True).start()


def _command(inputs: Inputs, order: Order) -> list[str]:
    # Without its name a folder that is no project yet would not be found again.
    command = [*PYTHON, "-m", "distill", "train", "--quiet", f"--project={inputs.project}"]
    command += [f"--model-name={order.name}"] if order.name else []
    command += [f"--until={order.until}"] if order.until else []
    # A folder's name may begin with a dash.
    return [*command, *(f"--set={setting}" for setting in order.settings), "--", str(inputs.project / order.source)]
