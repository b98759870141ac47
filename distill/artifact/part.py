"""What the parts of a model file's document have in common."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A frozen part of the document; keys that a later minor version adds are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)
