"""What the page shows of a training, as models: the answer of `/api/state`, from which OpenAPI is made."""

from typing import Any, Literal

from pydantic import Field

from distill.ui.answers import Answer, Link, Number

Light = Literal["green", "yellow", "red"]


class Stage(Answer):
    """A stage that a run is to have."""

    name: str
    title: str = Field(description="what the stage is called where people follow a run")
    state: Literal["waiting", "running", "finished"]


class Run(Answer):
    """A run as a whole."""

    run: str = Field(description="the name of its folder")
    state: str = Field(description="running, paused, finished or stopped")
    stage: str | None = Field(description="the stage that runs, or ran last; null before the first")
    stages: list[Stage]


class Work(Answer):
    """How far the stage is; null where it has not reported yet."""

    done: Number
    total: Number
    unit: str | None = Field(description="what `done` and `total` count, such as steps")


class Expected(Answer):
    """What is expected of the whole run, in s."""

    left: Number = Field(description="until its end")
    total: Number = Field(description="from its start to its end")
    first: Number = Field(description="until sounds can be heard; null if the run makes none")


class Term(Answer):
    """A term of the loss."""

    name: str
    weight: Number
    value: Number = Field(description="in the last step")
    weight_share: Number = Field(description="its share of the sum of the weights, from 0 to 1")
    share: Number = Field(description="its share of the weighted loss, from 0 to 1")


class CodebookHealth(Answer):
    """The health of codebooks."""

    light: Light
    words: str


class Level(CodebookHealth):
    """The codebook of a level."""

    label: str
    utilization: Number = Field(description="the share of its codes that are used, from 0 to 1")
    perplexity: Number = Field(description="of the use of its codes")
    dead_codes: Number = Field(description="how many of its codes are never used")


class Peak(Answer):
    """The most active block."""

    block: str
    value: Number = Field(description="its mean absolute activation")
    zone: Literal["green", "yellow", "orange", "red"]
    warning: str = Field(description="empty below 1.5")


class Plateau(Answer):
    """What the evaluations say about a plateau."""

    counter: Number = Field(description="evaluations without sufficient improvement")
    patience: Number = Field(description="how many of them make a plateau")
    best_loss: Number = Field(description="lowest held-out loss")
    best_quality: Number = Field(description="best held-out figure that does not depend on weights")
    smoothed_loss: Number
    smoothed_quality: Number
    threshold: Number = Field(description="the improvement that suffices, as a share")
    is_plateau: bool
    until_reset: Number = Field(description="evaluations until the safety reset")
    mode: str = Field(description="warm-up, stable, aggressive or cooldown")
    boost: Number = Field(description="factor on the schedule of the learning rate")
    acts: bool = Field(description="whether the controller acts on a plateau")


class Preview(Answer):
    """A held-out sound and its reconstruction."""

    epoch: int
    number: int = Field(description="of the sound, from 0")
    picture: Link = Field(description="the spectrograms of both")
    original: Link
    reconstruction: Link


class Change(Answer):
    """An entry of the journal."""

    seq: int
    step: int = Field(description="the step after which it took effect")
    who: str
    change: dict[str, Any] = Field(description="new values by parameter, or `rollback` and the step")


class Memorization(Answer):
    """What the check for memorization found."""

    verdict: str = Field(description="pass, warn or fail")
    words: str = Field(description="the verdict in one sentence")
    reasons: list[str]
    page: Link | None = Field(description="the evidence, as HTML")


class Training(Answer):
    """A training: where it stands, and all that is shown of it."""

    run: str = Field(description="the run's folder")
    stage: str = Field(description="train_vqvae or train_prior")
    state: str = Field(description="running, paused, finished, stopped, or waiting between two stages")
    running: bool
    pid: int | None = Field(description="the process, while it runs")
    step: Number
    total_steps: Number
    epoch: Number
    eta_seconds: Number = Field(description="time left of this training, in s")
    left_seconds: Number = Field(description="time left of the whole run, in s")
    validation_loss: Number = Field(description="held-out loss")
    mode: str | None = Field(description="what the controller is about")
    plateau: Plateau | None
    health: str | None = Field(description="of all codebooks: light and words")
    settings_file: str = Field(description="the file whose values change the running training")
    steps_per_second: Number
    memory_mb: Number
    learning_rate: Number
    gradient_clip: Number
    terms: list[Term]
    levels: list[Level]
    verdict: CodebookHealth | None = Field(description="on all codebooks; null without any, as in the prior")
    peak: Peak | None
    activity: dict[str, Number] = Field(description="mean absolute activation by block")
    warnings: list[str] = Field(description="of the newest evaluation, and of the most active block")
    threshold: Number = Field(description="perplexity in training below which the prior may memorize")
    history: dict[str, list[Number]] = Field(description="the evaluations by column, thinned out evenly")
    previews: list[Preview]
    usage: Link | None = Field(description="how often each code is used, as CSV: level, code, uses")
    journal: list[Change]


class TrainingState(Run):
    """A run and one of its trainings, with everything that the page shows of them."""

    reason: str = Field(description="why the run stopped, in one line; empty otherwise")
    model: str | None = Field(description="the name of the model that it has written")
    expected: Expected | None = Field(description="null unless the run goes on")
    work: Work
    trainings: list[str] = Field(description="the trainings that have begun")
    training: Training | None
    memorization: Memorization | None
