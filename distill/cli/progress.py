"""Progress of a run on the terminal: bars and the health table where there is one, lines where there is none."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from distill.cli.console import health_table, plain_levels, stderr
from distill.live.events import (
    CheckpointSaved,
    EpochDone,
    Event,
    Expected,
    StageFinished,
    StepDone,
    StepSkipped,
    TrainingStarted,
    Warned,
)
from distill.live.events import Progress as Advanced
from distill.stages.titles import TITLES as STAGE_TITLES
from distill.words import in_words

logger = logging.getLogger(__name__)

TITLES = {**STAGE_TITLES, "generate": "Generate", "preview": "Decode the entries"}
# Without a terminal, an epoch's line is shown this many times a training.
LINES = 10


class TerminalListener:
    """Shows events on stderr."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}
        self.health: dict[str, Any] = {}
        self.expected = ""
        self.training = self.told = False
        self.shown = 0

    def __call__(self, event: Event) -> None:
        title = TITLES.get(event.stage, event.stage)
        match event:
            case Advanced():
                self._move(event.stage, event.done, event.total)
            case Expected():
                self._expect(event)
            case TrainingStarted():
                self.shown = 0
                self.training = True
                if event.step:
                    logger.info("%s: resumes at step %d of %d", title, event.step, event.total_steps)
                self._move(event.stage, event.step, event.total_steps)
            case StepDone():
                self._move(event.stage, event.step)
            case StepSkipped():
                logger.warning("%s: step %d was not finite and was skipped", title, event.step)
            case EpochDone():
                self._epoch(title, event)
            case CheckpointSaved():
                logger.debug("%s: saved at step %d", title, event.step)
            case Warned():
                logger.warning("%s: %s", title, plain_levels(event.message))
            case StageFinished():
                self._finish(title, event)

    def _expect(self, event: Expected) -> None:
        first = f", first sounds in {in_words(event.first)} (distill start plays them)" if event.first else ""
        # Of a short stage in a process of its own it would be told when that is done.
        if self.training and not self.told and not stderr.is_terminal:
            self.told = True
            logger.info("It takes %s in all%s", in_words(event.total), first)
        self.expected = f"{in_words(event.left)} left of {in_words(event.total)} in all{first}"

    def _move(self, stage: str, done: int, total: int | None = None) -> None:
        if stage not in self.tasks:
            self.tasks[stage] = self.bars.add_task(TITLES.get(stage, stage), total=total, detail="")
        self.bars.update(self.tasks[stage], completed=done, total=total)

    def _epoch(self, title: str, event: EpochDone) -> None:
        row = event.row
        self.health = event.health
        if "train_perplexity" in row:
            figures = f"perplexity {_short(row['train_perplexity'])}, held-out {_short(row['validation_perplexity'])}"
        else:
            figures = f"loss {_short(row['train_loss'])}, held-out {_short(row['validation_loss'])}"
            # The vocoder is measured in its own way.
            if "validation_lsd_db" in row:
                figures += f", distance {_short(row['validation_lsd_db'])} dB"
        self.bars.update(self.tasks[event.stage], detail=figures)
        part = int(LINES * row["step"] / max(1, self.bars.tasks[self.tasks[event.stage]].total or 1))
        if not stderr.is_terminal and part != self.shown:
            self.shown = part
            logger.info(
                "%s: epoch %d, %s, %.1f steps/s%s",
                title,
                row["epoch"],
                figures,
                event.steps_per_second,
                f"; {self.expected}" if self.expected else "",
            )

    def _finish(self, title: str, event: StageFinished) -> None:
        if event.stage in self.tasks:
            task = self.bars.tasks[self.tasks[event.stage]]
            self.bars.update(task.id, completed=task.total)
        logger.info("%s: done in %.1f s", title, event.seconds)
        if "codebook" in event.report:
            self.health = {}
            stderr.print(health_table(event.report["codebook"], title=event.report["health"]["words"]))


def _short(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


@contextmanager
def shown_progress() -> Iterator[TerminalListener]:
    """A listener whose bars stand on the terminal while the block runs."""
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        console=stderr,
    )
    listener = TerminalListener(bars)
    if not stderr.is_terminal or stderr.quiet:
        yield listener
        return

    class View:
        def __rich__(self) -> Group:
            expected = [Text(listener.expected.capitalize())] if listener.expected else []
            return Group(bars, *expected, *([health_table(listener.health)] if listener.health else []))

    live = Live(View(), console=stderr, refresh_per_second=4)
    live.start()
    try:
        yield listener
    finally:
        # A terminal that has gone takes nothing; what ended the block counts.
        with suppress(OSError):
            live.stop()
