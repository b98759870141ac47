"""The JSON API beside the page: the same trainings, for programs."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from distill.configs import PriorConfig, TrainingConfig, VQVAEConfig
from distill.errors import DataError, DistillError, TrainingError, UsageError
from distill.files import canonical_json, finite
from distill.live.folder import RunFolder
from distill.live.parameters import parameters
from distill.runs.folder import default_run, run_folders, run_named
from distill.runs.progress import progress_of
from distill.runs.trainings import compare, in_force, roll_back, snapshots, training_of
from distill.ui.context import Context
from distill.ui.training_state import state_of

WHO = "page"
WAIT_SECONDS = 120.0
CONFIGS: dict[str, type[TrainingConfig]] = {"train_vqvae": VQVAEConfig, "train_prior": PriorConfig}
# What an error of each kind is in HTTP; any other is the server's own.
STATUS = ((UsageError, 400), (DataError, 404), (TrainingError, 409))


# A checkpoint's step or a measurement's name, which is that of a file.
Snapshot = Annotated[str, Query(max_length=100)]


class Which(BaseModel):
    """Which training is meant; by default the one that runs, or ran last."""

    model_config = ConfigDict(extra="forbid")
    run: str | None = None
    stage: str | None = None


class Changes(Which):
    """New values, of which all take effect or none; `validate` names a measurement before and after."""

    changes: dict[str, Any]
    measure: str | None = Field(None, alias="validate")
    after: int = Field(100, ge=1)


class Measurement(Which):
    """A measurement of the model as it is, under a name."""

    name: str | None = None


class Rollback(Which):
    """Back to the checkpoint of a step."""

    step: int = Field(ge=0)
    config_only: bool = False


def add_api(app: FastAPI, context: Context) -> None:
    """Add the routes below `/api` to an application, and answer their errors as `{"error": LINE}`."""
    router = APIRouter(prefix="/api")

    def folder_of(which: Which) -> RunFolder:
        return training_of(_root(context, which.run), which.stage)

    def ask(which: Which, command: str, **arguments: Any) -> Response:
        folder = folder_of(which)
        answer = folder.ask(command, arguments, who=WHO, timeout=WAIT_SECONDS)
        return json_answer({"run": folder.workspace.name, "stage": folder.stage, **answer})

    @router.get("/runs")
    def runs() -> Response:
        return json_answer({"runs": [_progress(root) for root in run_folders(context.project)]})

    @router.get("/state")
    def state(run: str | None = None, stage: str | None = None) -> Response:
        return json_answer(linked(state_of(_root(context, run), stage), context.link))

    @router.get("/config")
    def config(run: str | None = None, stage: str | None = None) -> Response:
        folder = folder_of(Which(run=run, stage=stage))
        values = in_force(folder)
        table = [
            {"name": each.name, "class": str(each.kind), "value": values.get(each.name, each.default)}
            | {
                key: getattr(each, key)
                for key in ("type", "low", "high", "below_high", "unit", "description", "reason")
            }
            for each in parameters(CONFIGS[folder.stage]).values()
        ]
        place = {"run": folder.workspace.name, "stage": folder.stage, "running": folder.running()}
        return json_answer({**place, "parameters": table})

    @router.post("/config")
    def change(asked: Changes) -> Response:
        return ask(asked, "tune", changes=asked.changes, validate=asked.measure, after=asked.after)

    @router.post("/checkpoint")
    def checkpoint(asked: Which) -> Response:
        return ask(asked, "checkpoint")

    @router.post("/validation")
    def validation(asked: Measurement) -> Response:
        return ask(asked, "validate", name=asked.name)

    @router.post("/pause")
    def pause(asked: Which) -> Response:
        return ask(asked, "pause")

    @router.post("/resume")
    def resume(asked: Which) -> Response:
        return ask(asked, "resume")

    @router.get("/snapshots")
    def listed(run: str | None = None, stage: str | None = None) -> Response:
        return json_answer(snapshots(folder_of(Which(run=run, stage=stage))))

    @router.get("/compare")
    def compared(a: Snapshot, b: Snapshot, run: str | None = None, stage: str | None = None) -> Response:
        return json_answer(compare(folder_of(Which(run=run, stage=stage)), a, b))

    @router.post("/rollback")
    def rollback(asked: Rollback) -> Response:
        folder = folder_of(asked)
        answer = roll_back(folder, asked.step, config_only=asked.config_only, who=WHO, timeout=WAIT_SECONDS)
        return json_answer({"run": folder.workspace.name, "stage": folder.stage, **answer})

    app.include_router(router)

    @app.exception_handler(DistillError)
    def failed(_request: Request, error: DistillError) -> Response:
        code = next((code for kind, code in STATUS if isinstance(error, kind)), 500)
        return json_answer({"error": str(error)}, code)

    @app.exception_handler(RequestValidationError)
    def malformed(_request: Request, error: RequestValidationError) -> Response:
        said = [f"{'.'.join(map(str, each['loc'][1:])) or 'request'}: {each['msg']}" for each in error.errors()]
        return json_answer({"error": "; ".join(said)}, 400)


def linked(value: Any, link: Callable[[Path], str]) -> Any:
    """A copy of nested values in which each path is the address under which the page serves the file."""
    if isinstance(value, dict):
        return {key: linked(each, link) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [linked(each, link) for each in value]
    return link(value) if isinstance(value, Path) else value


def _root(context: Context, name: str | None) -> Path:
    return default_run(context.project) if name is None else run_named(context.project, name)


def _progress(root: Path) -> dict[str, Any]:
    progress = progress_of(root)
    stages = [{"name": name, "state": state} for name, state in progress.stages]
    return {"run": progress.run, "state": progress.state, "stage": progress.stage, "stages": stages}


def json_answer(values: Any, code: int = 200) -> Response:
    """Values as a JSON answer; numbers that are not finite are null."""
    return Response(canonical_json(finite(values)), code, {"cache-control": "no-store"}, "application/json")
