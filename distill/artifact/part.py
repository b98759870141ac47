"""What the parts of a model file's document have in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A frozen part of the document; keys that a later minor version adds are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def without(values: dict[str, Any], name: str) -> dict[str, Any]:
    """The values without one key, if that is null."""
    return {key: value for key, value in values.items() if key != name or value is not None}
