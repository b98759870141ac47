"""What the answers of the JSON API have in common: models that are described in OpenAPI, and how they become JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, SerializationInfo

from distill.files import canonical_json, finite
from distill.ui.context import Context


def _address(path: Path, info: SerializationInfo) -> str:
    assert info.context is not None
    link: Callable[[Path], str] = info.context["link"]
    return link(path)


# A file in the answer is the address from which the page serves it.
Link = Annotated[Path, PlainSerializer(_address, return_type=str)]
# Whole numbers stay whole in JSON; those that are not finite are null.
Number = int | float | None


class Answer(BaseModel):
    """An answer of the API, or a part of one; fields that were not given are left out of the JSON."""

    model_config = ConfigDict(frozen=True)


class Refusal(Answer):
    """Why a call was refused."""

    error: str = Field(description="one line")


# Every route may refuse: 400 invalid, 404 not found, 405 wrong method, 409 not running.
REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": {"model": Refusal, "description": "Refused"}}


def json_answer(answer: Answer, context: Context, code: int = 200) -> Response:
    """An answer as JSON, with files as links."""
    values = answer.model_dump(by_alias=True, exclude_unset=True, context={"link": context.link})
    return Response(canonical_json(finite(values)), code, {"cache-control": "no-store"}, "application/json")
