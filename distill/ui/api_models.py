"""Requests and answers of the JSON API of trainings, except for their state (see `distill.ui.training_answers`)."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from distill.ui.answers import Answer, Number
from distill.ui.training_answers import Run

# Old and new value, or those of two snapshots, by name.
Differences = dict[str, tuple[Any, Any]]


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


class Runs(Answer):
    """Every run of the project."""

    runs: list[Run]


class Parameter(Answer):
    """A parameter of a training with its present value."""

    name: str
    kind: str = Field(alias="class", description="SAFE, CAREFUL or STARTUP_ONLY")
    value: Any
    type: str
    low: Number = Field(description="null: no lower limit")
    high: Number = Field(description="null: no upper limit")
    below_high: bool = Field(description="whether `high` itself is left out")
    unit: str
    description: str
    reason: str = Field(description="why it cannot change; empty: it can")


class Place(Answer):
    """The training that answers."""

    run: str
    stage: str


class Parameters(Place):
    """All parameters of a training."""

    running: bool
    parameters: list[Parameter]


class Done(Place):
    """The answer of a running training."""

    step: int | None = Field(description="the step at which it answered; null: it is not running")


class Figures(Answer):
    """A measurement: figures by name."""

    name: str
    metrics: dict[str, Any]


class Due(Answer):
    """A measurement that is still to come."""

    name: str
    step: int


class Tuned(Done):
    """What a transaction changed."""

    changes: Differences
    before: Figures | None = Field(None, description="if it was to be measured")
    after: Due | None = Field(None, description="if it was to be measured")


class Saved(Done):
    """A checkpoint that is kept."""

    checkpoint: str = Field(description="its file")


class Validated(Done, Figures):
    """A measurement of the model as it is."""


class Paused(Done):
    """Whether the training is paused now."""

    paused: bool


class RolledBack(Done):
    """What returning to a checkpoint changed."""

    changes: Differences
    to: int | None = Field(None, description="the checkpoint's step; absent if only the settings went back")
    abandoned: int | None = Field(None, description="changes that no longer count; absent like `to`")


class _Snapshot(Answer):
    step: int | None
    loss: Number = Field(description="held-out loss")
    quality: Number = Field(description="held-out figure that does not depend on weights")


class Checkpoint(_Snapshot):
    """A checkpoint."""

    epoch: int
    kind: str
    size: int = Field(description="in bytes")
    written: str = Field(description="when it was written")
    changed: Differences = Field(description="settings that differ from the start")


class Best(_Snapshot):
    """The weights of an epoch that were the best so far."""

    epoch: int
    size: int = Field(description="in bytes")
    file: str


class Measured(_Snapshot):
    """A measurement that was kept."""

    name: str
    changed: Differences = Field(description="settings that differ from the start")


class Snapshots(Answer):
    """Checkpoints and measurements of a training."""

    checkpoints: list[Checkpoint]
    best: list[Best]
    validations: list[Measured]


class Comparison(Answer):
    """What differs between two snapshots."""

    settings: Differences
    figures: Differences
