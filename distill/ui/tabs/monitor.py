"""The tab Monitor: watch a training, tune it, and go back to an earlier state."""

from contextlib import suppress
from functools import partial
from typing import Any

import gradio as gr

from distill.errors import DataError, DistillError, UsageError
from distill.live.folder import RunFolder
from distill.live.parameters import tunable
from distill.runs.folder import run_named
from distill.runs.trainings import compare, in_force, roll_back, snapshots, training_of
from distill.ui.context import Context
from distill.ui.failures import shows_errors
from distill.ui.handlers import AT_ONCE, QUIET, Updates
from distill.ui.monitor_controls import SURE, WORDS, Commands, Snapshots, Tuning, rounded, stage_choice, typed
from distill.ui.plain_words import Word, changes_of
from distill.ui.studio import Studio
from distill.ui.tables import cell, table
from distill.ui.training_actions import WHO
from distill.ui.training_choice import (
    bring_sounds,
    choose_run,
    enable_buttons,
    live_component,
    live_view,
    message,
    possible_acts,
    training_choice,
)
from distill.ui.training_state import CONFIGS

# A measurement after a change waits for so many steps.
STEPS_AFTER = 100
RESOLUTION = ("sharper", "smoother")
MEANT: dict[Word, str] = {
    "sharper": "sharper: fine detail counts more",
    "smoother": "smoother: the whole counts more than fine detail",
    "slower": "slower: each step changes less",
    "faster": "faster: each step changes more",
}

Values = dict[str, Any]


def build(context: Context, studio: Studio, looked_at: gr.Dropdown) -> None:
    """Put the tab's controls into the open tab; it follows what is looked at, the training of another tab."""
    MonitorTab(context).connect(studio, looked_at)


class MonitorTab:
    """The tab's controls in the open tab, and what they do.

    Handlers get the run's name and the stage first; those that fill several components return updates by component.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        with gr.Row():
            self.run, self.stage = training_choice(context, "monitor"), stage_choice()
        self.commands = Commands.build()
        self.live = live_component("monitor")
        self.tuning, self.snapshots = Tuning.build(), Snapshots.build()
        self.before = gr.State({})
        # The run and the stage that the form was applied to last.
        self.applied = gr.State([])
        self.answers = [self.commands.answer, self.tuning.worded, self.tuning.answer, self.snapshots.answer]
        self.of_one = [*self.snapshots.lists, *self.answers, self.tuning.note, self.snapshots.sure]

    def connect(self, studio: Studio, looked_at: gr.Dropdown) -> None:
        """Let the controls act."""
        which = [self.run, self.stage]
        commands, tuning = self.commands, self.tuning
        looked_at.change(partial(choose_run, self.context), looked_at, self.run, **QUIET)
        run_moved = self.run.change(self.last_stage, self.run, self.stage, **QUIET)
        for event in (run_moved, self.stage.input(lambda: None, None, None, **QUIET)):
            # One after the other, so that the form of the training before cannot come last.
            shown = event.then(self.show, which, self.live, **QUIET)
            self._form_after(shown.then).then(self.forget, None, self.of_one, **QUIET)
        waiting: dict[str, Any] = {"concurrency_limit": AT_ONCE, **QUIET}
        buttons = [commands.pause, commands.resume, commands.save, commands.measure, tuning.apply, commands.use]
        for moved in (self.run.change, self.stage.change, self.live.moved):
            moved(self.able, which, [*buttons, *tuning.words.values()], **QUIET)
        filled = [self.before, *tuning.fields.values()]
        self.live.moved(self.form_once_it_runs, [self.before, *which], filled, **QUIET)
        for word, button in tuning.words.items():
            self._form_after(button.click(partial(self.say, word), which, tuning.worded, **QUIET).success)
        bring_sounds(commands.use, self.run, self.context, studio)
        for button, handler in (
            (commands.pause, self.pause),
            (commands.resume, self.resume),
            (commands.save, self.save),
            (commands.measure, self.measure),
        ):
            done = button.click(handler, which, commands.answer, **waiting)
            if handler in (self.save, self.measure):
                done.success(self.list_snapshots, which, self.snapshots.lists, **QUIET)
        form: Values = {
            "run": self.run, "stage": self.stage, "name": tuning.note, "before": self.before, **tuning.fields
        }  # fmt: skip
        # The form comes with the answer: behind it, it would take back what was typed meanwhile.
        applied = [tuning.answer, self.applied, *filled]
        told = tuning.apply.click(self.apply, inputs_kwargs=form, outputs=applied, **waiting)
        # Another training may have been chosen before the answer came.
        told.success(self.form_of_the_chosen, [self.applied, *which], filled, **QUIET)
        self._form_after(tuning.reload.click)
        self._connect_snapshots(which)

    def _connect_snapshots(self, which: list[Any]) -> None:
        found = self.snapshots
        for opened in (found.fold.expand, found.look.click):
            opened(self.list_snapshots, which, found.lists, **QUIET)
        for trigger in (found.one, found.other):
            trigger.change(self.compare, [*which, found.one, found.other], found.differences, **QUIET)
        asked = [*which, found.back, found.settings_only, found.sure]
        gone = found.go_back.click(self.go_back, asked, [found.answer, found.sure], **QUIET)
        self._form_after(gone.success(self.list_snapshots, which, found.lists, **QUIET).success)

    def _form_after(self, event: Any) -> Any:
        """After an event: the form with what is in force."""
        return event(self.show_form, [self.run, self.stage], [self.before, *self.tuning.fields.values()], **QUIET)

    def _folder(self, run: str | None, stage: str) -> RunFolder:
        if not run:
            raise UsageError("choose a training first")
        return training_of(run_named(self.context.project, run), stage)

    def _ask(self, run: str | None, stage: str, command: str, **arguments: Any) -> Values:
        return self._folder(run, stage).ask(command, arguments, who=WHO)

    def last_stage(self, run: str | None) -> str:
        """The training that runs, or ran last."""
        with suppress(DistillError):
            return training_of(run_named(self.context.project, run or "")).stage
        return "train_vqvae"

    def show(self, run: str | None, stage: str) -> str:
        """The live view of a training."""
        return live_view(run, "monitor", stage)

    def able(self, run: str | None, stage: str) -> list[gr.Button]:
        """What can be done with the training that is shown; another one of the run may be the one that answers."""
        can, running = possible_acts(self.context, run), False
        with suppress(DistillError):
            running = self._folder(run, stage).running()
        # The prior has one loss alone: nothing of it can be sharper.
        of_words = ["steer" if stage == "train_vqvae" or word not in RESOLUTION else "" for word in WORDS]
        return enable_buttons(
            can if running else can & {"sounds"}, "pause", "resume", *["steer"] * 3, "sounds", *of_words
        )

    @shows_errors
    def pause(self, run: str | None, stage: str) -> str:
        """Pause the training."""
        return message(f"{run}: paused at step {self._ask(run, stage, 'pause')['step']}.")

    @shows_errors
    def resume(self, run: str | None, stage: str) -> str:
        """Let the training go on."""
        return message(f"{run}: goes on from step {self._ask(run, stage, 'resume')['step']}.")

    @shows_errors
    def save(self, run: str | None, stage: str) -> str:
        """Save a checkpoint that is kept."""
        step = self._ask(run, stage, "checkpoint")["step"]
        return message(f"{run}: saved at step {step}; this checkpoint is kept for good.")

    @shows_errors
    def measure(self, run: str | None, stage: str) -> str:
        """Measure the model as it is."""
        found = self._ask(run, stage, "validate", name=None)
        figures = [
            f"{key.removeprefix('validation_').replace('_', ' ')} {cell(found['metrics'][key])}"
            for key in ("validation_loss", "validation_lsd_db", "validation_perplexity")
            if key in found["metrics"]
        ]
        return message(f"{run}: measured as {found['name']}: held-out {', '.join(figures)}.")

    @shows_errors
    def show_form(self, run: str | None, stage: str) -> Updates:
        """What is in force, in the form; parameters that the training does not have are hidden."""
        known = tunable(CONFIGS[stage])
        values: Values = {}
        # A run that has not come to this training has nothing in force, and nothing is wrong.
        with suppress(DataError):
            values = in_force(self._folder(run, stage)) if run else {}
        shown = {key: rounded(values.get(key, known[key].default)) for key in known}
        fields = {
            field: gr.update(value=shown.get(key), visible=key in known) for key, field in self.tuning.fields.items()
        }
        return {self.before: shown if values else {}, **fields}

    def form_once_it_runs(self, before: Values, run: str | None, stage: str) -> Any:
        """The form with what is in force, where it was filled before anything was."""
        return gr.skip() if before else self.show_form(run, stage)

    @shows_errors
    def apply(self, run: str | None, stage: str, name: str, before: Values, **values: Any) -> Updates:
        """Apply what was changed in the form since it was filled with `before`; `name`: of a measurement."""
        known = tunable(CONFIGS[stage])
        given = {key: typed(known[key], value) for key, value in values.items() if key in known}
        changes = {key: value for key, value in given.items() if value != before.get(key)}
        if not changes:
            raise UsageError("nothing is changed in the form")
        answer = self._tune(run, stage, changes, name.strip() or None)
        done = ", ".join(f"{key}: {cell(old)} → {cell(new)}" for key, (old, new) in answer["changes"].items())
        text = f"From step {answer['step']}: {done}" if done else "Nothing changed: these values are already in force."
        return {self.tuning.answer: message(f"{run}: {text}"), self.applied: [run, stage], **self.show_form(run, stage)}

    def form_of_the_chosen(self, applied: list[str], run: str | None, stage: str) -> Any:
        """The form of the training that is chosen, where the one in it is another's."""
        return gr.skip() if applied == [run, stage] else self.show_form(run, stage)

    @shows_errors
    def say(self, word: Word, run: str | None, stage: str) -> str:
        """Change what a word stands for."""
        changes = changes_of(word, in_force(self._folder(run, stage)), tunable(CONFIGS[stage]))
        answer = self._tune(run, stage, changes, None)
        done = ", ".join(f"{key} {cell(old)} → {cell(new)}" for key, (old, new) in answer["changes"].items())
        return message(f"{run}: from step {answer['step']} on it is {MEANT[word]} ({done}).")

    def _tune(self, run: str | None, stage: str, changes: Values, name: str | None) -> Values:
        return self._ask(run, stage, "tune", changes=changes, validate=name, after=STEPS_AFTER)

    @shows_errors
    def list_snapshots(self, run: str | None, stage: str) -> Updates:
        """Checkpoints and measurements, as a table and to choose from."""
        every = snapshots(self._folder(run, stage))
        rows = [[each["step"], f"checkpoint ({each['kind']})", *_figures(each)] for each in every["checkpoints"]]
        rows += [[each["step"], f"measured: {each['name']}", *_figures(each)] for each in every["validations"]]
        rows.sort(key=lambda row: row[0])
        steps = [each["step"] for each in every["checkpoints"]]
        names = [(f"step {step}", str(step)) for step in steps]
        names += [(each["name"], each["name"]) for each in every["validations"]]
        head = ["step", "snapshot", "error (held-out loss)", "quality", "changed since the start"]
        return self._lists(table(head, rows, "Snapshots"), names, steps)

    def forget(self) -> Updates:
        """No snapshots, as before they are read, no answers, nothing agreed to: that was of the training before."""
        none = dict.fromkeys([*self.answers, self.tuning.note], "")
        return {**self._lists("", [], []), **none, self.snapshots.sure: False}

    def _lists(self, text: str, names: Any, steps: Any) -> Updates:
        found = self.snapshots
        compared = {choice: gr.Dropdown(choices=names, value=None) for choice in (found.one, found.other)}
        return {found.table: text, **compared, found.back: gr.Dropdown(choices=steps, value=None)}

    @shows_errors
    def compare(self, run: str | None, stage: str, a: str | None, b: str | None) -> str:
        """What differs between two snapshots."""
        if not a or not b:
            return ""
        values = compare(self._folder(run, stage), a, b)
        rows = [[key, *pair] for part in ("settings", "figures") for key, pair in values[part].items()]
        return table(["", a, b], rows, f"What differs between {a} and {b}") if rows else message("No difference.")

    @shows_errors
    def go_back(
        self, run: str | None, stage: str, step: int | None, settings_only: bool, sure: bool
    ) -> tuple[str, bool]:
        """Go back to a checkpoint; the answer, and that the next time must be agreed to again."""
        if step is None:
            raise UsageError("choose a checkpoint first")
        if not settings_only and not sure:
            raise UsageError(f"tick “{SURE}” first")
        folder = self._folder(run, stage)
        answer = roll_back(folder, int(step), config_only=settings_only, who=WHO)
        if settings_only:
            return message(f"{run}: the settings of step {step} are in force again."), False
        return message(f"{run}: back at step {step}; {answer['abandoned']} changes no longer count."), False


def _figures(each: Values) -> list[Any]:
    return [each["loss"], each["quality"], each["changed"]]
