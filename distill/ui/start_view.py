"""The screen of the tab Start as HTML: what became of the sounds, how far the run is, and what there is to hear."""

from html import escape
from pathlib import Path
from typing import Any

from distill.dataset.scan import FileReport, FileVerdict
from distill.errors import DistillError
from distill.memorization.plain_words import in_plain_words
from distill.runs.progress import newest_status
from distill.stages.workspace import Workspace, read_report
from distill.ui.cards import render_template, row_of, sound_values
from distill.ui.context import Context
from distill.ui.evidence import evidence
from distill.ui.first_takes import SHIPPED, Batch, FirstTakes
from distill.ui.messages import in_words_of_page
from distill.ui.start_state import Standing
from distill.words import about, in_words

CHECK = "check_memorization"
# More names than anybody reads are counted.
MOST_NAMED = 6
DOING = {
    "prepare": "Listening to your sounds",
    "configure": "Listening to your sounds",
    "train_vqvae": "Learning what your sounds are made of",
    "train_prior": "Learning how a sound of yours goes on from one moment to the next",
    "check_memorization": "Making sure that the new sounds are no copies of yours",
    "train_vocoder": "Putting it all together",
    "assemble": "Putting it all together",
}
WHY = {
    FileVerdict.DUPLICATE: "the same sound is there twice",
    FileVerdict.UNREADABLE: "it cannot be read",
    FileVerdict.TRUNCATED: "a part of it is missing",
    FileVerdict.EMPTY: "there is nothing in it",
    FileVerdict.SILENT: "it is silent",
    FileVerdict.TOO_SHORT: "it is too short",
    FileVerdict.NOT_FINITE: "it is broken",
    FileVerdict.NOT_AUDIO: "it is no sound",
}
NOTHING_YET = (
    "<section class='d-started d-lead'><h3>Drop a few sounds of your own</h3>"
    "<p>5 to 500 short ones, such as hits, notes or voices. distill learns from them and makes new ones of the same "
    "kind.</p></section>"
)


def verdict(sounds: Path, reports: list[FileReport]) -> str:
    """What became of the sounds, in words."""
    usable = [report for report in reports if report.usable]
    left_out = [report for report in reports if not report.usable]
    seconds = sum(report.seconds for report in usable)
    said = (
        f"{len(usable)} of {len(reports)} sounds can be used" if left_out else f"All {len(usable)} sounds can be used"
    )
    if len(reports) == 1:
        said = "The sound can be used" if usable else "The sound cannot be used"
    lines = [f"<h3>{escape(sounds.name)}</h3>", f"<p><strong>{said}</strong>, {_length(seconds)} in all.</p>"]
    if 0 < len(usable) < 5:
        lines.append("<p class='d-warning'>With fewer than 5 sounds the new ones stay close to them.</p>")
    if left_out:
        named = "".join(
            f"<li><strong>{escape(each.path)}</strong>: {WHY[each.verdict]}</li>" for each in left_out[:MOST_NAMED]
        )
        more = len(left_out) - MOST_NAMED
        named += f"<li>and {more} more</li>" if more > 0 else ""
        lines.append(f"<p>Left out (the tab Data says more):</p><ul>{named}</ul>")
    return f"<section class='d-panel d-started' role='status'>{''.join(lines)}</section>"


def progress(standing: Standing) -> str:
    """What is done now, and how long it still takes."""
    if standing.progress is None or standing.root is None or standing.kind == "finished":
        return ""
    now = standing.progress
    if standing.kind == "stopped":
        failed = now.reason and not now.reason.startswith("interrupted")
        kept = "What it has learned so far is kept: it goes on from there."
        said = in_words_of_page(now.reason, "Go on") if failed else kept
        return f"<section class='d-panel'><h3>It was stopped.</h3><p>{escape(said)}</p></section>"
    expected = newest_status(standing.root, now).get("expected")
    doing = DOING.get(now.stage or "prepare", "")
    paused = "<p>It is paused, and goes on in the tab Train.</p>" if now.state == "paused" else ""
    return (
        f"<section class='d-panel'><h3>{doing} …</h3>{_bar(doing, expected)}{paused}"
        "<p class='d-subdued'>It goes on when this page is closed, and is found here again.</p></section>"
    )


def takes(context: Context, standing: Standing, first_takes: FirstTakes) -> str:
    """The sounds that there are to hear."""
    batches = first_takes.of(standing)
    if not batches:
        return ""
    newest, *earlier = batches
    trouble = first_takes.trouble(newest)
    why = escape(in_words_of_page(trouble))
    told = f"<p class='d-warning'>No new sounds could be made: {why}</p>" if trouble else ""
    left = newest.count - len(newest.paths)
    making = f" Making {newest.count}, {newest.count - left} are ready." if left and not trouble else ""
    walls = "".join(_wall(context, batch, _title(standing, batch)) for batch in earlier)
    behind = f"<details><summary>What it made earlier, while it was learning</summary>{walls}</details>"
    wall = _wall(context, newest, _title(standing, newest) + making)
    return told + wall + _copies(context, standing) + (behind if walls else "")


def _copies(context: Context, standing: Standing) -> str:
    """Whether the finished model copies, with what can be heard of that."""
    if standing.kind != "finished" or standing.root is None:
        return ""
    workspace = Workspace(standing.root)
    try:
        report = read_report(workspace, CHECK)
    except DistillError:
        return ""
    page = workspace.page(CHECK)
    words = in_plain_words(report["verdict"], report["evidence"])
    return evidence(words, page if page.is_file() else None, context)


def _wall(context: Context, batch: Batch, title: str) -> str:
    # What the other tabs know: generated sounds of a model of the library.
    known = batch.model.is_relative_to(context.models) and batch.folder.is_relative_to(context.generated)
    cards = [_card(context, number, path, known=known) for number, path in enumerate(batch.paths, 1)]
    all_of_them = "<button type='button' class='d-button d-all'>Hear all</button>" if cards else ""
    return f"<section class='d-wall'><header><h3>{title}</h3>{all_of_them}</header>{row_of(cards)}</section>"


def _title(standing: Standing, batch: Batch) -> str:
    if standing.root is None:
        whose = "a model that comes with distill" if batch.folder == SHIPPED else escape(batch.model.stem)
        return f"Meanwhile: new sounds of {whose}."
    if batch.share is None:
        return f"{batch.count} new sounds of {escape(batch.model.stem)}."
    return f"Tries after {batch.share:.0%} of the learning."


def _card(context: Context, number: int, path: Path, *, known: bool) -> str:
    return render_template(
        "take",
        id=path.relative_to(context.generated).as_posix() if known else "",
        number=number,
        name=path.stem,
        hidden="" if known else "hidden",
        **sound_values(path, context),
    )


def _bar(doing: str, expected: dict[str, Any] | None) -> str:
    if not expected:
        return "<p>How long it takes is known in a moment.</p>"
    share = max(0.0, min(1.0, 1 - expected["left"] / max(1e-9, expected["total"])))
    words = f"{about(expected['left']).capitalize()} left, of {in_words(expected['total'])} in all."
    first = expected["first"]
    if first:
        words += f" The first sounds can be heard in {about(first)}."
    return (
        f"<div class='d-progress' role='progressbar' aria-label='{escape(doing)}' aria-valuemin='0' "
        f"aria-valuemax='100' aria-valuenow='{100 * share:.0f}' aria-valuetext='{words}'>"
        f"<div style='width: {100 * share:.1f}%'></div></div><p>{words}</p>"
    )


def _length(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
