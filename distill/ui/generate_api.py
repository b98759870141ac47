"""The JSON API of new sounds, by the request that stands in a sound's sidecar."""

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from distill.errors import UsageError
from distill.generation.sidecar import Properties
from distill.generation.sound_request import request_of
from distill.library.takes import Takes
from distill.ui.answers import Answer, Link, json_answer
from distill.ui.context import Context


class Made(Answer):
    """A sound that was made."""

    id: str = Field(description="of the take: the path of its file below generated/")
    seed: int
    seconds: float
    sound: Link
    got: Properties | None = Field(description="what the sound has of what was asked for; null: nothing was")


class Sounds(Answer):
    """The sounds that were made."""

    sounds: list[Made]


class GenerateBody(BaseModel):
    """Sounds to make.

    Attributes:
        model: a file from the project's folder on, or NAME/VERSION in the registry.
        request: as `distill.generation.sound_request.Request`.
        count: how many.
        seed: of the first; each further one has the next.
        sound: the id of the take that is continued, filled or varied.
    """

    model_config = ConfigDict(extra="forbid")
    model: str = Field(max_length=1000)
    request: dict[str, Any]
    count: int = Field(1, ge=1)
    seed: int = Field(0, ge=0)
    sound: str | None = Field(None, max_length=1000)


def add_generate(app: FastAPI, context: Context) -> None:
    """Add the route `/api/generate` to an application; it answers when all sounds are there."""
    router = APIRouter(prefix="/api")

    @router.post("/generate", response_model=Sounds)
    def generate(body: GenerateBody) -> Response:
        # torch is loaded once a sound is asked for.
        from distill.generation.writing import Destination, produce
        from distill.ui.models import Models
        from distill.ui.results import batch_folder
        from distill.ui.sound_jobs import require_few

        request = request_of(body.request)
        if request.action == "morph":
            raise UsageError("request: action morph takes two sounds: use the page or distill morph")
        require_few(body.count, request)
        source = None if body.sound is None else Takes(context.project).named([body.sound])[0].path
        model, folder = Models(context).maker(body.model), batch_folder(context)
        made = [
            {
                "id": each.path.relative_to(context.generated).as_posix(),
                "seed": each.seed,
                "seconds": each.seconds,
                "sound": each.path,
                "got": None if each.got is None else each.got.model_dump(),
            }
            for each in produce(model, request, Destination(folder), count=body.count, seed=body.seed, source=source)
        ]
        return json_answer(Sounds.model_validate({"sounds": made}), context)

    app.include_router(router)
