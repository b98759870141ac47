"""The training flow: from sounds to a recorded, registered model."""

import importlib
import threading
from functools import partial
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled

from distill.configs import MemorizationConfig, ModelConfig, SpectrogramConfig, VocoderConfig
from distill.errors import DistillError, Interrupted
from distill.params import PriorParams, VQVAEParams
from distill.processes.gpus import gpus_for
from distill.processes.run_lock import RunLock
from distill.projects.project import find_project
from distill.runs.dvc_project import DvcRun, open_project, plan_run, with_overrides
from distill.runs.publish import publish
from distill.stages.pipeline import STAGES
from distill.tracking.address import tracking_address, tracking_on
from distill.versions.worker_clone import origin_of
from flows.elsewhere import fetch_sounds, require_shared
from flows.lifeline import LocalFlow, end_with_worker
from flows.parameters import SECTIONS, DataParams, RunParams, overrides_from, title_of
from flows.pool import TrainedModel, leave_result
from flows.stages import failed_state, run_as_task


def _name() -> str:
    sections = {
        name: model.model_validate(flow_run.parameters[name])
        for name, model in SECTIONS.items()
        if isinstance(flow_run.parameters.get(name), dict)
    }
    sections |= {
        name: value for name, value in flow_run.parameters.items() if isinstance(value, tuple(SECTIONS.values()))
    }
    overrides = overrides_from(sections)
    sounds = Path(with_overrides(find_project(), overrides).data.path).stem
    return f"{sounds} {title_of(overrides)}".strip()


@partial(LocalFlow, name="train", flow_run_name=_name, validate_parameters=True, persist_result=False)
def train(
    data: DataParams | None = None,
    spectrogram: SpectrogramConfig | None = None,
    run: RunParams | None = None,
    vqvae: VQVAEParams | None = None,
    prior: PriorParams | None = None,  # type: ignore[valid-type]
    memorization: MemorizationConfig | None = None,
    vocoder: VocoderConfig | None = None,
    model: ModelConfig | None = None,
) -> TrainedModel | State[Any]:
    """Train a model in a workspace of its own, record and register it.

    What is given takes the place of params.yaml. With the project's own parameters the result is published: `dvc repro`
    has nothing left to do then.

    Raises:
        DistillError: parameters, sounds or files that cannot be used (the flow fails with its line).
    """
    end_with_worker()
    logger = get_run_logger()
    project = find_project()
    overrides = overrides_from(
        {
            "data": data,
            "spectrogram": spectrogram,
            "run": run,
            "vqvae": vqvae,
            "prior": prior,
            "memorization": memorization,
            "vocoder": vocoder,
            "model": model,
        }
    )
    try:
        origin = origin_of(project)
        if origin is not None:
            require_shared(project, origin)
            fetch_sounds(project, with_overrides(project, overrides).data.path)
        work = plan_run(project, overrides)
        logger.info("workspace %s", work.root)
        with (
            open_project(work, lambda: logger.info("another run works with these parameters: waiting for it")) as lock,
            gpus_for(project, work.inputs.params.run) as gpus,
        ):
            return _run(work, overrides, lock, gpus)
    except Interrupted as error:
        return Cancelled(message=str(error))
    except DistillError as error:
        return failed_state(error)


def _run(run: DvcRun, overrides: dict[str, Any], lock: RunLock, gpus: dict[str, str]) -> TrainedModel:
    # Loaded beside the first stages, and needed first when a training starts.
    threading.Thread(target=importlib.import_module, args=("flows.recording",), daemon=True).start()
    environment = {"DISTILL_STARTED_BY": "prefect", "MLFLOW_TRACKING_URI": tracking_address(run.project), **gpus}
    execute = partial(run_as_task, run=run, environment=environment, lock=lock)
    first = STAGES.index("train_vqvae")
    reports = {stage: execute(stage) for stage in STAGES[:first]}
    from flows import recording

    with recording.keep_run_open(run):
        reports |= {stage: execute(stage) for stage in STAGES[first:]}
    path = run.workspace.model(run.workspace.params().model.name)
    why_not = publish_run(run)
    if why_not is None:
        path = run.project / path.relative_to(run.root)
    # Called plainly, a task gives back the failed state that it returned as if it were its result.
    version: Any = recording.record(run, path, return_state=True).result() if tracking_on() else None
    recording.show(run, path, version)
    model = TrainedModel(
        model=str(path),
        workspace=str(run.root),
        digest=reports["assemble"]["digest"],
        verdict=reports["check_memorization"]["verdict"],
        distance_db=reports["train_vqvae"]["best"]["validation_lsd_db"],
        perplexity=reports["train_prior"]["best"]["validation_perplexity"],
        utilization=min(level["utilization"] for level in reports["train_vqvae"]["codebook"].values()),
        settings=title_of(overrides),
        run_id=recording.run_of(run),
        version=version.reference if version else None,
        published=why_not is None,
    )
    if origin_of(run.project) is not None:
        leave_result(model)
    return model


@task(name="Publish", cache_policy=NO_CACHE, persist_result=False)
def publish_run(run: DvcRun) -> str | None:
    """Make the run the project's own where it fits; None, or why it is not."""
    why_not = publish(run)
    logger = get_run_logger()
    if why_not is None:
        logger.info("published: dvc repro has nothing to do")
    else:
        logger.info("the run stays in %s: %s", run.root, why_not)
    return why_not
