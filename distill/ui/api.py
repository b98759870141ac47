"""The JSON API beside the page: the same trainings, for programs."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from distill.errors import ArtifactError, DataError, DistillError, TrainingError, UsageError
from distill.files import canonical_json
from distill.live.folder import RunFolder
from distill.live.parameters import parameters
from distill.runs.folder import default_run, run_folders, run_named
from distill.runs.progress import progress_of
from distill.runs.trainings import compare, in_force, roll_back, snapshots, training_of
from distill.ui.answers import Answer, Refusal, json_answer
from distill.ui.api_models import (
    Changes,
    Comparison,
    Measurement,
    Parameters,
    Paused,
    Rollback,
    RolledBack,
    Runs,
    Saved,
    Snapshots,
    Tuned,
    Validated,
    Which,
)
from distill.ui.context import Context
from distill.ui.training_actions import WHO
from distill.ui.training_answers import Run, TrainingState
from distill.ui.training_state import CONFIGS, stages_of, state_of

# What an error of each kind is in HTTP; any other is the server's own.
STATUS = ((UsageError, 400), (ArtifactError, 400), (DataError, 404), (TrainingError, 409))
PARAMETER = ("name", "type", "low", "high", "below_high", "unit", "description", "reason")

# A checkpoint's step or a measurement's name, which is that of a file.
Snapshot = Annotated[str, Query(max_length=100)]


def _which(run: str | None = None, stage: str | None = None) -> Which:
    return Which(run=run, stage=stage)


Asked = Annotated[Which, Depends(_which)]


def add_api(app: FastAPI, context: Context) -> None:
    """Add the routes of trainings below `/api` to an application, and answer errors as `{"error": LINE}`."""
    _add_reading(app, context)
    _add_steering(app, context)
    _add_refusals(app, context)


def _add_reading(app: FastAPI, context: Context) -> None:
    router = APIRouter(prefix="/api")

    @router.get("/runs", response_model=Runs)
    def runs() -> Response:
        return json_answer(Runs(runs=[_run(root) for root in run_folders(context.project)]), context)

    @router.get("/state", response_model=TrainingState)
    def state(which: Asked) -> Response:
        return json_answer(state_of(_root(context, which), which.stage), context)

    @router.get("/config", response_model=Parameters)
    def config(which: Asked) -> Response:
        folder = _folder(context, which)
        values = in_force(folder)
        table = [
            {"class": str(each.kind), "value": values.get(each.name, each.default)}
            | {key: getattr(each, key) for key in PARAMETER}
            for each in parameters(CONFIGS[folder.stage]).values()
        ]
        place = {**_place(folder), "running": folder.running()}
        return json_answer(Parameters.model_validate({**place, "parameters": table}), context)

    @router.get("/snapshots", response_model=Snapshots)
    def listed(which: Asked) -> Response:
        return json_answer(Snapshots.model_validate(snapshots(_folder(context, which))), context)

    @router.get("/compare", response_model=Comparison)
    def compared(a: Snapshot, b: Snapshot, which: Asked) -> Response:
        return json_answer(Comparison.model_validate(compare(_folder(context, which), a, b)), context)

    app.include_router(router)


def _add_steering(app: FastAPI, context: Context) -> None:
    router = APIRouter(prefix="/api")

    def ask(kind: type[Answer], which: Which, command: str, **arguments: Any) -> Response:
        folder = _folder(context, which)
        answer = folder.ask(command, arguments, who=WHO)
        return json_answer(kind.model_validate({**_place(folder), **answer}), context)

    @router.post("/config", response_model=Tuned)
    def change(asked: Changes) -> Response:
        return ask(Tuned, asked, "tune", changes=asked.changes, validate=asked.measure, after=asked.after)

    @router.post("/checkpoint", response_model=Saved)
    def checkpoint(asked: Which) -> Response:
        return ask(Saved, asked, "checkpoint")

    @router.post("/validation", response_model=Validated)
    def validation(asked: Measurement) -> Response:
        return ask(Validated, asked, "validate", name=asked.name)

    @router.post("/pause", response_model=Paused)
    def pause(asked: Which) -> Response:
        return ask(Paused, asked, "pause")

    @router.post("/resume", response_model=Paused)
    def resume(asked: Which) -> Response:
        return ask(Paused, asked, "resume")

    @router.post("/rollback", response_model=RolledBack)
    def rollback(asked: Rollback) -> Response:
        folder = _folder(context, asked)
        answer = roll_back(folder, asked.step, config_only=asked.config_only, who=WHO)
        return json_answer(RolledBack.model_validate({**_place(folder), **answer}), context)

    app.include_router(router)


async def finite_text(request: Request) -> None:
    """Refuse a request with what no JSON text has, though Python reads it.

    Raises:
        UsageError: a number is not finite, or a text has half a character.
    """
    if await request.body():
        try:
            canonical_json(await request.json())
        except ValueError as error:
            raise UsageError(f"the request is no JSON: {error}") from error


def add_unknown(app: FastAPI, context: Context) -> None:
    """Refuse what is asked below `/api` and nobody answers; to be added behind all other routes."""

    @app.api_route("/api/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    def unknown(request: Request) -> Response:
        known = any(route.matches(request.scope)[0] is Match.PARTIAL for route in app.routes)
        code, words = (405, f"{request.method} is not what this address takes") if known else (404, "no such address")
        return json_answer(Refusal(error=f"{request.url.path}: {words}"), context, code)


def _add_refusals(app: FastAPI, context: Context) -> None:
    @app.exception_handler(DistillError)
    def failed(_request: Request, error: DistillError) -> Response:
        code = next((code for kind, code in STATUS if isinstance(error, kind)), 500)
        return json_answer(Refusal(error=str(error)), context, code)

    @app.exception_handler(Exception)
    def unexpected(_request: Request, error: Exception) -> Response:
        line = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
        return json_answer(Refusal(error=line), context, 500)

    @app.exception_handler(HTTPException)
    def refused(_request: Request, error: HTTPException) -> Response:
        return json_answer(Refusal(error=str(error.detail)), context, error.status_code)

    @app.exception_handler(RequestValidationError)
    def malformed(_request: Request, error: RequestValidationError) -> Response:
        lines = [f"{'.'.join(map(str, each['loc'][1:])) or 'request'}: {each['msg']}" for each in error.errors()]
        return json_answer(Refusal(error="; ".join(lines)), context, 400)


def _root(context: Context, which: Which) -> Path:
    return default_run(context.project) if which.run is None else run_named(context.project, which.run)


def _folder(context: Context, which: Which) -> RunFolder:
    return training_of(_root(context, which), which.stage)


def _place(folder: RunFolder) -> dict[str, str]:
    return {"run": folder.workspace.name, "stage": folder.stage}


def _run(root: Path) -> Run:
    progress = progress_of(root)
    return Run(run=progress.run, state=progress.state, stage=progress.stage, stages=stages_of(progress))
