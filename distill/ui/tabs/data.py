"""The tab Data: drop sounds or name a folder, see and hear what is in it, keep it as a dataset."""

import shutil
import time
import uuid
from collections.abc import Iterator
from html import escape
from itertools import count
from pathlib import Path
from typing import Any

import gradio as gr

from distill.audio.sound import EXTENSIONS
from distill.dataset.overview import overview
from distill.dataset.scan import FIRST_FILES, FileReport, FileVerdict, scanned
from distill.errors import UsageError
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.failures import told, told_while
from distill.ui.studio import Studio
from distill.ui.training_choice import dataset_choices, said
from distill.versions.datasets import gather, keep_dataset

# More rows than anybody reads are left out of the table; the summary counts all.
MOST_ROWS = 1000
MOST_WARNINGS = 5
# Between two moves of the bar; after the first of them, or the files that come first, what is judged so far is listed.
PROGRESS_SECONDS = 0.4
# Where a page was closed, work ends with the next answer to it.
ANSWER_SECONDS = 5.0
COLOURS = {FileVerdict.OK: "green", FileVerdict.CLIPPED: "yellow", FileVerdict.DUPLICATE: "grey"}
HEAD = ("", "file", "verdict", "length", "rate", "channels", "loudness", "waveform", "why")


def build(context: Context, studio: Studio, training_sounds: gr.Dropdown) -> None:
    """Put the tab's controls into the open tab; what is kept becomes what the tab Train has chosen."""
    with gr.Row(equal_height=True):
        with gr.Column(scale=1, min_width=280):
            files = gr.File(
                label="Drop sounds here",
                file_count="multiple",
                file_types=list(EXTENSIONS),
                height=150,
                elem_id="data-files",
            )
        with gr.Column(scale=1, min_width=280):
            folder = gr.Dropdown(
                choices=[],
                value=None,
                label="or name a folder",
                info="A dataset of this project, or any folder; all folders below it count.",
                allow_custom_value=True,
                elem_id="data-folder",
            )
            check = gr.Button("Check", variant="primary", elem_id="data-check")
    summary = gr.HTML(_nothing(), elem_id="data-summary", apply_default_css=False)
    shown = gr.HTML(elem_id="data-table", elem_classes="d-answer", apply_default_css=False)
    with gr.Row(visible=False) as keeping:
        name = gr.Textbox(
            value="",
            label="Keep it as a dataset called",
            info="A folder below data/; versioned with DVC.",
            max_lines=1,
            elem_id="data-name",
        )
        keep = gr.Button("Keep this version", elem_id="data-keep", size="md", scale=0, min_width=190)
        go = gr.Button("Train on these", variant="primary", elem_id="data-train", size="md", scale=0, min_width=160)
    answer = gr.HTML(elem_id="data-answer", elem_classes="d-answer", apply_default_css=False)
    source = gr.State(None)

    def opened() -> gr.Dropdown:
        return gr.Dropdown(choices=dataset_choices(context))

    def dropped(
        paths: list[str] | None,
        desk: Desk,
        progress: gr.Progress = gr.Progress(),  # noqa: B008, Gradio's way
    ) -> Iterator[list[Any]]:
        if desk.dropped is not None:
            shutil.rmtree(desk.dropped, ignore_errors=True)
            desk.dropped = None
        if not paths:
            yield [None, _nothing(), "", gr.update(visible=False), ""]
            return
        gathered = desk.lasting() / "dropped" / uuid.uuid4().hex
        left_out = gather(map(context.uploaded, paths), gathered)
        if not gathered.is_dir():
            raise UsageError(f"none of these files looks like a sound ({', '.join(EXTENSIONS)})")
        desk.dropped = gathered
        text = f"Left out, because they do not look like sounds: {', '.join(left_out)}" if left_out else ""
        for answer in judged(gathered, "What you dropped", progress):
            yield [*answer, said(text)]

    def named(
        text: str | None,
        desk: Desk,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[list[Any]]:
        if not text and desk.dropped is None:
            raise UsageError("drop sounds, or name a folder first")
        path, title = (context.named(text), Path(text).name) if text else (desk.dropped, "What you dropped")
        assert path is not None
        for answer in judged(path, title, progress):
            yield [*answer, "" if text else gr.skip()]

    def come_back(
        desk: Desk,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[list[Any]]:
        if desk.dropped is None:
            yield [gr.skip()] * 5
            return
        for answer in judged(desk.dropped, "What you dropped", progress):
            yield [*answer, gr.skip()]

    def judged(path: Path, title: str, progress: gr.Progress) -> Iterator[list[Any]]:
        """The first files as soon as they are judged, and all of them in the end."""
        reports: list[FileReport] = []
        moved = answered = 0.0
        for report, total in scanned(path):
            reports.append(report)
            now = time.monotonic()
            moved = moved or now
            due = now - moved >= PROGRESS_SECONDS
            if due:
                progress((len(reports), total), desc="Listening")
                moved = now
            if not answered and len(reports) < total and (due or len(reports) >= FIRST_FILES):
                answered = now
                yield [None, gr.skip(), listed(path, reports, total), gr.update(visible=False)]
            elif answered and now - answered >= ANSWER_SECONDS:
                answered = now
                yield [gr.skip()] * 4
        values = overview(title, reports)
        shown = listed(path, reports, len(reports))
        yield [str(path), _summary(values), shown, gr.update(visible=bool(values["usable"]))]

    def listed(path: Path, reports: list[FileReport], total: int) -> str:
        base = path if path.is_dir() else path.parent
        rows = "".join(_row(report, _link(context, base / report.path)) for report in reports[:MOST_ROWS])
        left_out = len(reports) - MOST_ROWS
        note = f"{left_out} more files are not listed." if left_out > 0 else ""
        note = f"The first {len(reports)} of {total} files; the others follow." if len(reports) < total else note
        return _table(rows) + (f"<p class='d-subdued'>{note}</p>" if note else "")

    def kept(path: str | None, name: str) -> tuple[str, gr.Dropdown, gr.Dropdown]:
        if path is None:
            raise UsageError("check the sounds first")
        if not name.strip():
            raise UsageError("give the dataset a name first")
        added = keep_dataset(Path(path), context.project, name.strip())
        how = f"versioned as {added.pointer}" if added.pointer else "not versioned: this folder is no project of DVC"
        text = f"{added.path}: {added.usable} usable sounds, {how}. The tab Train has it now."
        choices = dataset_choices(context)
        return said(text), gr.Dropdown(choices=choices), gr.Dropdown(choices=choices, value=added.path)

    def trained_on(path: str | None, name: str, desk: Desk) -> Any:
        """Sounds that lie in a folder are trained on where they are; those that were dropped are kept first."""
        if path is None:
            raise UsageError("check the sounds first")
        if desk.dropped is None or Path(path) != desk.dropped:
            return (
                said(""),
                gr.skip(),
                gr.Dropdown(choices=dataset_choices(context), value=_place(path)),
                gr.Tabs(selected="train"),
            )
        return *kept(path, name.strip() or _free_name(context)), gr.Tabs(selected="train")

    def _place(path: str) -> str:
        folder = Path(path)
        return folder.relative_to(context.project).as_posix() if folder.is_relative_to(context.project) else path

    quiet: dict[str, Any] = {"api_visibility": "private"}
    outputs = [source, summary, shown, keeping, answer]
    gr.on(None, opened, None, folder, show_progress="hidden", **quiet)
    # Only the summary shows the progress: five circles would be too many.
    files.change(told_while(dropped), [files, studio.desk], outputs, show_progress_on=summary, **quiet)
    check.click(told_while(named), [folder, studio.desk], outputs, show_progress_on=summary, **quiet)
    studio.returned.change(told_while(come_back), studio.desk, outputs, show_progress_on=summary, **quiet)
    keep.click(told(kept), [source, name], [answer, folder, training_sounds], show_progress_on=answer, **quiet)
    go.click(
        told(trained_on),
        [source, name, studio.desk],
        [answer, folder, training_sounds, studio.tabs],
        show_progress_on=answer,
        **quiet,
    )


def _free_name(context: Context) -> str:
    """A name for a dataset that no other has."""
    taken = {Path(path).name for _, path in dataset_choices(context)}
    return next(name for number in count(1) if (name := f"sounds-{number}") not in taken)


def _nothing() -> str:
    words = "5 to 500 sounds of your own are a good start. Each is checked before anything is trained."
    return f"<p class='d-empty'>{words}</p>"


def _link(context: Context, path: Path) -> str | None:
    return context.link(path) if path.is_file() else None


def _summary(values: dict[str, Any]) -> str:
    loudness = values["loudness_db"]
    figures = {
        "usable": f"{values['usable']} of {values['files']} files",
        "length in all": _duration(values["seconds"]),
        "sample rates": ", ".join(f"{int(rate) / 1000:g} kHz ({n})" for rate, n in values["sample_rates"].items()),
        "channels": ", ".join(f"{_channels(int(number))} ({n})" for number, n in values["channels"].items()),
        **({"apart": _apart(values["stereo"])} if "stereo" in values else {}),
        "loudness": "" if loudness["median"] is None else f"{loudness['min']:.0f} to {loudness['max']:.0f} dB",
    }
    cells = "".join(f"<div><dt>{name}</dt><dd>{escape(text) or '–'}</dd></div>" for name, text in figures.items())
    warnings = values["warnings"][:MOST_WARNINGS]
    if len(values["warnings"]) > MOST_WARNINGS:
        warnings.append(f"{len(values['warnings']) - MOST_WARNINGS} more warnings stand in the table")
    told_of = "".join(f"<p class='d-warning'>{escape(text)}</p>" for text in warnings)
    return f"<div class='d-live' role='status'><dl class='d-figures'>{cells}</dl><div>{told_of}</div></div>"


def _table(rows: str) -> str:
    head = "".join(f"<th scope='col'>{name or '<span class=d-hidden>play</span>'}</th>" for name in HEAD)
    return (
        "<div class='d-scroll d-tall'><table class='d-table d-sounds'><caption class='d-hidden'>The files and their "
        f"verdicts</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(report: FileReport, link: str | None) -> str:
    name = escape(report.path)
    known = report.seconds > 0
    play = (
        f"<button type='button' class='d-play' data-src='{link}' aria-label='Play {name}'></button>"
        if link and known
        else ""
    )
    colour = COLOURS.get(report.verdict, "red")
    cells = (
        play,
        name,
        f"<span class='d-badge d-{colour}'>{report.verdict.replace('_', ' ')}</span>",
        f"{report.seconds:.2f} s" if known else "",
        f"{report.sample_rate / 1000:g} kHz" if known else "",
        _channels_of(report) if known else "",
        f"{report.loudness_db:.1f} dB" if known else "",
        _drawn(report.waveform),
        escape(report.reason) if report.verdict is not FileVerdict.OK else "",
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _drawn(waveform: tuple[int, ...]) -> str:
    """A waveform's thumbnail, of 0 to 100 % in each place, as a picture that says nothing the words do not."""
    strokes = "".join(
        f"M{2 * place + 1} {16 - height * 0.15:.1f}V{16 + height * 0.15:.1f}" for place, height in enumerate(waveform)
    )
    return (
        f"<svg class='d-wave' viewBox='0 0 {2 * len(waveform)} 32' preserveAspectRatio='none' aria-hidden='true'>"
        f"<path d='{strokes}'/></svg>"
        if waveform
        else ""
    )


def _apart(stereo: dict[str, float]) -> str:
    """How many sounds have two channels that differ, and how loud their sides are."""
    return f"{stereo['sounds']} ({stereo['least_db']:.0f} to {stereo['greatest_db']:.0f} dB)"


def _channels_of(report: FileReport) -> str:
    if report.channels != 2:
        return _channels(report.channels)
    return "stereo, both alike" if report.side_db is None else f"stereo, side {report.side_db:.0f} dB"


def _channels(number: int) -> str:
    return {1: "mono", 2: "stereo"}.get(number, f"{number} channels")


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
