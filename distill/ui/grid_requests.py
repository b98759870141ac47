"""What a grid on the page asks for, and what is selected in it, as they come from a browser."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distill.codes.selection import Selection
from distill.errors import UsageError


class Wish(BaseModel):
    """What a grid on the page asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: Literal["set", "undo", "redo", "hear", "play"]
    selection: Selection
    code: int | None = Field(None, ge=0)


def wish_of(values: Any) -> Wish:
    """A wish that came from a browser.

    Raises:
        UsageError: it is none.
    """
    try:
        return Wish.model_validate(values)
    except ValidationError as error:
        raise UsageError("the page sent an invalid request: reload it") from error


def selection_of(text: str | None) -> Selection | None:
    """A selection as the browser writes it down; None where it made none.

    Raises:
        UsageError: it is no selection.
    """
    if not text or text == "null":
        return None
    try:
        return Selection.model_validate_json(text)
    except ValidationError as error:
        raise UsageError("the page sent an invalid selection: reload it") from error
