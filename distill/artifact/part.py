"""What the parts of a model file's document have in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Part(BaseModel):
    """A frozen part of the document; keys that a later minor version adds are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)
