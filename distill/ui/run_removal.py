"""Removing trainings on the page: the one that is chosen, or the older finished ones; a question comes first."""

from html import escape

import gradio as gr

from distill.errors import UsageError
from distill.runs.folder import run_named
from distill.runs.progress import progress_of
from distill.runs.removal import Removal, prune, remove, size_of
from distill.ui.context import Context
from distill.ui.failures import notice, shows_errors
from distill.ui.handlers import QUIET, Updates
from distill.ui.training_choice import choose_run, enable_buttons, possible_acts
from distill.words import megabytes

KEPT = 5
STAYS = "Models that were written, and the takes, stay."
LOST = {
    "finished": "This also deletes its checkpoints, curves and previews.",
    "stopped": "It cannot be resumed afterwards.",
}


class RunRemoval:
    """The controls in the open tab, and what they do.

    Args:
        context: the page's surroundings.
        run: the choice of a training, which shows another one after this was removed.
        live: what tells that the chosen training is in another state.
    """

    def __init__(self, context: Context, run: gr.Dropdown, live: gr.HTML) -> None:
        self.context, self.run, self.live = context, run, live
        # The runs that the open question is about.
        self.asked = gr.State(())
        with gr.Accordion("Remove trainings", open=False, elem_id="train-removing") as self.fold:
            with gr.Row(elem_classes="d-line"):
                self.one = gr.Button("Remove this training …", size="sm", interactive=False, elem_id="train-remove")
                self.keep = gr.Number(
                    KEPT, precision=0, minimum=0, label="Finished ones to keep", info="The newest.", min_width=140,
                    elem_id="train-keep",
                )  # fmt: skip
                self.older = gr.Button("Remove the older ones …", size="sm", interactive=False, elem_id="train-prune")
            with gr.Row(visible=False, elem_classes="d-line", elem_id="train-removing-question") as self.question:
                self.words = gr.HTML(apply_default_css=False)
                self.yes = gr.Button(
                    "Remove for good", variant="stop", scale=0, min_width=150, elem_id="train-remove-yes"
                )
                self.no = gr.Button("No, leave it", scale=0, min_width=120, elem_id="train-remove-no")

    def connect(self) -> None:
        """Let the controls act."""
        question, closed = [self.asked, self.question, self.words], [self.asked, self.question]
        able = self.able, [self.run, self.keep], [self.one, self.older]
        for event in (self.run.change, self.live.moved, self.keep.change, self.fold.expand):
            event(*able, **QUIET)
        self.run.change(self.calm, None, closed, **QUIET)
        self.one.click(self.ask_one, self.run, question, **QUIET)
        self.older.click(self.ask_older, self.keep, question, **QUIET)
        # A run that was started meanwhile is not removed: then the question is over as well.
        done = self.yes.click(self.remove, [self.asked, self.run], [*closed, self.run], **QUIET)
        failed = done.failure(self.calm, None, closed, **QUIET)
        for ended in (done, failed):
            ended.then(*able, **QUIET)
        self.no.click(self.calm, None, closed, **QUIET)

    @shows_errors
    def able(self, run: str | None, keep: float | None) -> list[gr.Button]:
        """What can be removed."""
        older = keep is not None and self._prunable(keep)
        return enable_buttons(possible_acts(self.context, run) | ({"prune"} if older else set()), "remove", "prune")

    def _prunable(self, keep: float) -> list[Removal]:
        return prune(self.context.project, keep=int(keep), dry_run=True)

    @shows_errors
    def ask_one(self, run: str | None) -> Updates:
        """Ask whether the chosen run is to be removed."""
        root = run_named(self.context.project, run or "")
        lost = LOST.get(progress_of(root).state, "")
        return self._ask((root.name,), f"<b>{escape(root.name)}</b> ({megabytes(size_of(root))})? {lost}")

    @shows_errors
    def ask_older(self, keep: float | None) -> Updates:
        """Ask whether the older finished runs are to be removed."""
        if keep is None:
            raise UsageError("say how many finished trainings stay")
        found = self._prunable(keep)
        if not found:
            raise UsageError("there is no older training to remove")
        names = ", ".join(f"<b>{escape(each.run)}</b>" for each in found)
        size = megabytes(sum(each.bytes for each in found))
        return self._ask(tuple(each.run for each in found), f"{len(found)} finished trainings ({size}): {names}?")

    def _ask(self, runs: tuple[str, ...], what: str) -> Updates:
        text = f"<p role='status'>Remove {what} {STAYS}</p>"
        return {self.asked: runs, self.question: gr.Row(visible=True), self.words: text}

    @shows_errors
    def remove(self, runs: tuple[str, ...], run: str | None) -> Updates:
        """Remove the runs that were asked about."""
        freed = sum(remove(run_named(self.context.project, each)).bytes for each in runs)
        if runs:
            notice(f"Removed {', '.join(runs)}: {megabytes(freed)}.", 4)
        return {**self.calm(), self.run: choose_run(self.context, run)}

    def calm(self) -> Updates:
        """No question is open."""
        return {self.asked: (), self.question: gr.Row(visible=False)}
