"""Removing trainings on the page: the one that is chosen, or the older finished ones; a question comes first."""

from html import escape
from typing import Any

import gradio as gr

from distill.errors import UsageError
from distill.runs.folder import default_run, run_folders, run_named
from distill.runs.progress import progress_of
from distill.runs.removal import prune, remove, size_of
from distill.ui.context import Context
from distill.ui.failures import notice, told
from distill.ui.training_choice import chosen, possible, pressable
from distill.words import megabytes

KEPT = 5
STAYS = "Models that were written, and the takes, stay."
LOST = {
    "finished": "Its checkpoints, curves and previews are gone then.",
    "stopped": "It cannot be gone on with then.",
}


def removing(context: Context, run: gr.Dropdown, live: gr.HTML) -> None:
    """Put the controls into the open tab.

    Args:
        context: the page's surroundings.
        run: the choice of a training, which shows another one after this was removed.
        live: what tells that the chosen training is in another state.
    """
    asked = gr.State(())
    with gr.Accordion("Remove trainings", open=False, elem_id="train-removing") as fold:
        with gr.Row(elem_classes="d-line"):
            one = gr.Button("Remove this training …", size="sm", interactive=False, elem_id="train-remove")
            keep = gr.Number(
                KEPT,
                precision=0,
                minimum=0,
                label="Finished ones to keep",
                info="The newest.",
                min_width=140,
                elem_id="train-keep",
            )
            older = gr.Button("Remove the older ones …", size="sm", interactive=False, elem_id="train-prune")
        with gr.Row(visible=False, elem_classes="d-line", elem_id="train-removing-question") as question:
            words = gr.HTML(apply_default_css=False)
            yes = gr.Button("Remove for good", variant="stop", scale=0, min_width=150, elem_id="train-remove-yes")
            no = gr.Button("No, leave it", scale=0, min_width=120, elem_id="train-remove-no")

    def able(name: str | None, keep: float | None) -> list[gr.Button]:
        can = {*possible(context, name)} | ({"prune"} if keep is not None and _older(keep) else set())
        return pressable(frozenset(can), "remove", "prune")

    def _older(keep: float) -> list[str]:
        return [each.run for each in prune(context.project, keep=int(keep), dry_run=True)]

    def ask_one(name: str | None) -> Any:
        root = run_named(context.project, name or "")
        lost = LOST.get(progress_of(root).state, "")
        size = megabytes(size_of(root))
        return (root.name,), gr.Row(visible=True), f"<p>Remove <b>{escape(root.name)}</b> ({size})? {lost} {STAYS}</p>"

    def ask_older(keep: float | None) -> Any:
        if keep is None:
            raise UsageError("say how many finished trainings stay")
        found = prune(context.project, keep=int(keep), dry_run=True)
        if not found:
            raise UsageError("there is no older training to remove")
        names = ", ".join(f"<b>{escape(each.run)}</b>" for each in found)
        size = megabytes(sum(each.bytes for each in found))
        text = f"<p>Remove {len(found)} finished trainings ({size}): {names}? {STAYS}</p>"
        return tuple(each.run for each in found), gr.Row(visible=True), text

    def answered(names: tuple[str, ...], name: str | None) -> Any:
        freed = sum(remove(run_named(context.project, each)).bytes for each in names)
        if names:
            notice(f"Removed {', '.join(names)}: {megabytes(freed)}.", 4)
        left = [root.name for root in run_folders(context.project)]
        shown = name if name in left else default_run(context.project).name if left else None
        return (), gr.Row(visible=False), chosen(context, shown)

    def calm() -> Any:
        return (), gr.Row(visible=False)

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    buttons = [one, older]
    for event in (run.change, live.moved, keep.change, fold.expand):
        event(told(able), [run, keep], buttons, **quiet)
    run.change(calm, None, [asked, question], **quiet)
    one.click(told(ask_one), run, [asked, question, words], **quiet)
    older.click(told(ask_older), keep, [asked, question, words], **quiet)
    # A run that somebody started meanwhile is not removed: then the question is over as well.
    done = yes.click(told(answered), [asked, run], [asked, question, run], **quiet)
    done.failure(calm, None, [asked, question], **quiet)
    done.then(told(able), [run, keep], buttons, **quiet)
    no.click(calm, None, [asked, question], **quiet)
