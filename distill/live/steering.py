"""Steering of a running training: it replays the journal, takes up edits and carries out commands."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from distill.configs import TrainingConfig
from distill.errors import ArtifactError, DistillError, StorageError, UsageError
from distill.files import finite, read_json, write_json
from distill.live.commands import Checkpoint, Pause, RollBack, Stop, Tune, Validate, command_of
from distill.live.events import Listeners, Paused, RolledBack, Tuned, Validated
from distill.live.folder import SCHEMA, Request, RunFolder
from distill.live.journal import ROLLBACK, Entry, Journal, effects_of
from distill.live.parameters import Settings
from distill.live.runtime_config import TRAINING, Changes, RuntimeConfigManager, difference
from distill.live.stop_request import StopRequest
from distill.words import counted

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.05


class Steerable(Protocol):
    """What steering needs of a training loop; nothing here draws from a generator of the training."""

    @property
    def step(self) -> int:
        """Steps done."""

    def apply(self, settings: Settings) -> None:
        """Go on with these settings."""

    def checkpoint(self) -> str:
        """Save the state for good; the file."""

    def validate(self) -> dict[str, Any]:
        """Evaluate the model as it is; the figures by name."""

    def look_up(self, step: int) -> list[dict[str, Any]]:
        """The effects of the journal that the checkpoint of a step contains.

        Raises:
            UsageError: there is no checkpoint of that step.
            ArtifactError: it is damaged.
        """

    def roll_back(self, step: int) -> None:
        """Set everything to the checkpoint of a step, and forget later ones."""


class Steering:
    """Steers one training through its run folder and its journal.

    `act` is called between two steps. What it changes goes to the journal first, so that the same journal makes the
    same training.
    """

    def __init__(
        self, folder: RunFolder, journal: Journal, base: TrainingConfig, *, state: Path, emit: Listeners
    ) -> None:
        self.folder, self.journal, self.state, self.emit = folder, journal, state, emit
        self.base = self.settings = Settings(base)
        self.entries = journal.effective()
        self._require_replayable()
        self.applied = 0
        self.paused = False
        self.known_here = False
        self.manager: RuntimeConfigManager | None = None
        self._later: list[tuple[int, str]] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the run folder for this training.

        Raises:
            StorageError: another training holds it, or it cannot be written.
        """
        with self.folder.held():
            with suppress(DistillError):
                self.known_here = self.folder.noted()[0] == self.state
            self.folder.note(self.state, self.base.values())
            yield

    def fits(self, step: int, effects: list[dict[str, Any]]) -> bool:
        """Whether a checkpoint of a step that contains these effects lies on the way that the journal describes."""
        ahead = self.entries[len(effects) :]
        return effects_of(self.entries[: len(effects)]) == effects and all(entry.step >= step for entry in ahead)

    def effects(self) -> list[dict[str, Any]]:
        """The effects of the journal so far."""
        return effects_of(self.entries[: self.applied])

    def begin(self, loop: Steerable, effects: list[dict[str, Any]]) -> None:
        """Take up a training in which these effects of the journal are in force.

        An edit of the file between two trainings counts from the next step on. One that was made for another training
        is refused.
        """
        self.applied = len(effects)
        self.settings = self._with_effects(effects)
        loop.apply(self.settings)
        if self.manager is not None:
            self._rewrite_file()
            return
        begun = self.folder.config_file.exists()
        self.manager = RuntimeConfigManager(self.folder.config_file, self.base.training)
        if not begun or self.manager.writer() == TRAINING:
            self.manager.reset(self.settings)
        elif self.known_here:
            self.manager.expect(self._settings_at_the_end())
        else:
            self.manager.expect(self.settings)
            if self.manager.check_for_updates():
                self.manager.refuse("it was made for a training with other parameters or sounds: edit it again")
            self.manager.reset(self.settings)
        if self.entries:
            logger.info(
                "%s: replays %s in %s", self.folder.stage, counted(len(self.entries), "live change"), self.journal.path
            )

    def act(self, loop: Steerable, stop: StopRequest) -> bool:
        """Replay what is due, carry out requests, wait while paused; whether settings or position changed."""
        changed = self._replay(loop)
        while True:
            changed |= self._take_up_edit(loop)
            for request in self.folder.pending():
                changed |= self._answer(request, loop, stop)
            self._validate_later(loop)
            if not self.paused or stop.asked:
                return changed
            time.sleep(PAUSE_SECONDS)

    def intervene(self, loop: Steerable, changes: Mapping[str, Any]) -> None:
        """Apply a change of the controller, through the journal like all others.

        While the journal is replayed nothing is done: the controller's changes of that time are entries of it.
        """
        if self.replaying:
            return
        try:
            self._tell_file(self._change(loop, changes, "controller"))
        except (UsageError, StorageError, ArtifactError) as error:
            logger.warning("the controller's change is not made: %s", error)

    @property
    def replaying(self) -> bool:
        """Whether the journal has entries that are still to come."""
        return self.applied < len(self.entries)

    def _require_replayable(self) -> None:
        for number, entry in enumerate(self.entries):
            if number and entry.step < self.entries[number - 1].step:
                raise ArtifactError(f"{self.journal.path}: entry {entry.seq} goes back in time without a rollback")
        self._settings_at_the_end()

    def _settings_at_the_end(self) -> Settings:
        """The settings when the whole journal is in force."""
        settings = self.base
        for entry in self.entries:
            try:
                settings = settings.changed(entry.change)
            except UsageError as error:
                raise ArtifactError(f"{self.journal.path}, entry {entry.seq} cannot be replayed: {error}") from error
        return settings

    def _replay(self, loop: Steerable) -> bool:
        before = self.applied
        while self.replaying and self.entries[self.applied].step <= loop.step:
            entry = self.entries[self.applied]
            self.applied += 1
            self._in_force(loop, self.settings.changed(entry.change), entry)
            self._rewrite_file()
        return self.applied > before

    def _take_up_edit(self, loop: Steerable) -> bool:
        changes = self._manager.check_for_updates()
        if not changes:
            return False
        try:
            self._require_present()
            who = self._manager.writer()
            applied = self._change(loop, {name: new for name, (_, new) in changes.items()}, who)
        except (UsageError, StorageError, ArtifactError) as error:
            self._manager.refuse(str(error))
            self._rewrite_file()
            return False
        self._manager.acknowledge(applied, loop.step)
        return True

    def _answer(self, request: Request, loop: Steerable, stop: StopRequest) -> bool:
        if not self.folder.take(request):
            return False
        answer: dict[str, Any] = {"step": loop.step}
        changed = False
        try:
            values, changed = self._do(request, loop, stop)
            answer |= finite(values)
        except (DistillError, KeyError, TypeError, ValueError, OSError) as error:
            # A wrong request, or an answer that cannot be written, must not end the training.
            logger.info("%s is refused: %s", request.command, error)
            answer["refused"] = str(error)
        try:
            self.folder.answer(request, **answer)
        except StorageError as error:
            logger.warning("%s", error)
        return changed

    def _do(self, request: Request, loop: Steerable, stop: StopRequest) -> tuple[dict[str, Any], bool]:
        """Carry out a request; its answer, and whether settings or position changed."""
        match command_of(request):
            case Tune() as tune:
                return self._tune(loop, tune, request.who)
            case Checkpoint():
                return {"checkpoint": loop.checkpoint()}, False
            case Validate(name):
                return self._validated(loop, name or f"step-{loop.step}"), False
            case Pause(pause):
                return self._pause(loop, pause), False
            case Stop():
                stop.ask()
                return {}, False
            case RollBack(to, config_only):
                if config_only:
                    return self._roll_back_settings(loop, to, request.who)
                return self._roll_back(loop, to, request.who), True

    def _pause(self, loop: Steerable, pause: bool) -> dict[str, Any]:
        changed = pause != self.paused
        if changed:
            self.paused = pause
            logger.info("%s, step %d: %s", self.folder.stage, loop.step, "paused" if pause else "resumed")
            self.emit(Paused(self.folder.stage, loop.step, pause))
        return {"paused": pause, "changed": changed}

    def _tune(self, loop: Steerable, tune: Tune, who: str) -> tuple[dict[str, Any], bool]:
        self._require_present()
        self.settings.changed(tune.changes)
        values: dict[str, Any] = {}
        if tune.measure:
            values["before"] = self._validated(loop, f"{tune.measure}-before")
        values["changes"] = self._tell_file(self._change(loop, tune.changes, who))
        if tune.measure:
            due = loop.step + tune.after
            values["after"] = {"name": f"{tune.measure}-after", "step": due}
            self._later.append((due, f"{tune.measure}-after"))
        return values, bool(values["changes"])

    def _change(self, loop: Steerable, changes: Mapping[str, Any], who: str) -> Changes:
        """Check, write to the journal, put in force; what changed.

        Raises:
            UsageError: the changes are wrong.
        """
        after = self.settings.changed(changes)
        result = difference(self.settings.values(), after.values())
        if result:
            entry = self.journal.append(loop.step, who, {name: new for name, (_, new) in result.items()}, result)
            self.entries.append(entry)
            self.applied = len(self.entries)
            self._in_force(loop, after, entry)
        return result

    def _tell_file(self, changes: Changes) -> Changes:
        """Bring the file up to date without losing an edit made at the same time."""
        if changes:
            try:
                self._manager.update({name: new for name, (_, new) in changes.items()}, who=TRAINING)
            except (ArtifactError, UsageError, StorageError):
                self._rewrite_file()
        return changes

    def _rewrite_file(self) -> None:
        """Write the settings in force to the file; if that fails the training goes on without it."""
        try:
            self._manager.reset(self.settings)
        except StorageError as error:
            logger.warning("%s", error)

    def _in_force(self, loop: Steerable, settings: Settings, entry: Entry) -> None:
        changes = difference(self.settings.values(), settings.values())
        self.settings = settings
        loop.apply(settings)
        # Entries from a model file or another training name nobody.
        who = entry.who or "journal"
        for name, (old, new) in changes.items():
            logger.info("%s, step %d: %s %s -> %s (%s)", self.folder.stage, loop.step, name, old, new, who)
        self.emit(Tuned(self.folder.stage, loop.step, entry.seq, who, changes))

    def _roll_back_settings(self, loop: Steerable, to: int, who: str) -> tuple[dict[str, Any], bool]:
        self._require_present()
        settings = self._with_effects(loop.look_up(to))
        changes = self._tell_file(self._change(loop, settings.values(), who))
        return {"changes": changes}, bool(changes)

    def _roll_back(self, loop: Steerable, to: int, who: str) -> dict[str, Any]:
        self._require_present()
        effects = loop.look_up(to)
        if to > loop.step:
            raise UsageError(f"step {to} is still to come: the training is at step {loop.step}")
        before, at = self.settings.values(), loop.step
        abandoned = self.entries[len(effects) :]
        if abandoned:
            kept = self.entries[len(effects) - 1].seq if effects else 0
            self.journal.append(at, who, {ROLLBACK: to}, {"kept": kept})
            self.entries = self.entries[: len(effects)]
        loop.roll_back(to)
        self.begin(loop, effects)
        self._later.clear()
        logger.info("%s, step %d: back to step %d (%s)", self.folder.stage, at, to, who)
        self.emit(RolledBack(self.folder.stage, at, to, len(abandoned)))
        changes = difference(before, self.settings.values())
        return {"to": to, "abandoned": len(abandoned), "changes": changes}

    def _with_effects(self, effects: list[dict[str, Any]]) -> Settings:
        """The settings that some effects of the journal lead to."""
        settings = self.base
        for effect in effects:
            settings = settings.changed(effect["change"])
        return settings

    def _validated(self, loop: Steerable, name: str) -> dict[str, Any]:
        path = self.folder.validation(name)
        if path.is_file() and (known := read_json(path, what="measurement", schema=SCHEMA))["step"] != loop.step:
            raise UsageError(f"there is a measurement {name!r} already, of step {known['step']}: choose another name")
        metrics = finite(loop.validate())
        values = {"schema": SCHEMA, "name": name, "step": loop.step, "metrics": metrics}
        write_json(path, {**values, "values": self.settings.values()})
        logger.info("%s, step %d: measured as %s", self.folder.stage, loop.step, name)
        self.emit(Validated(self.folder.stage, loop.step, name, metrics))
        return {"name": name, "metrics": metrics}

    def _validate_later(self, loop: Steerable) -> None:
        due = [name for step, name in self._later if step <= loop.step]
        self._later = [(step, name) for step, name in self._later if step > loop.step]
        for name in due:
            try:
                self._validated(loop, name)
            except (DistillError, OSError) as error:
                logger.warning("%s is not measured: %s", name, error)

    def _require_present(self) -> None:
        if self.replaying:
            last = self.entries[-1].step
            raise UsageError(f"the journal is being replayed up to step {last}: change it from there on")

    @property
    def _manager(self) -> RuntimeConfigManager:
        assert self.manager is not None
        return self.manager
