"""The tab Data: drop sounds or name a folder, see and hear what is in it, keep it as a dataset."""

import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import gradio as gr

from distill.audio.sound import EXTENSIONS
from distill.dataset.overview import overview
from distill.dataset.scan import FIRST_FILES, FileReport, scanned
from distill.errors import DistillError, UsageError
from distill.ui.context import Context, path_in
from distill.ui.desk import Desk
from distill.ui.failures import shows_errors, shows_errors_while
from distill.ui.handlers import AT_ONCE, QUIET, Updates
from distill.ui.sounds_table import MOST_ROWS, left_out_words, nothing_yet, summary_of, table_of
from distill.ui.studio import Studio
from distill.ui.training_choice import dataset_choices, message
from distill.versions.datasets import gather, keep_dataset

# Between two moves of the bar; after the first of them, or the files that come first, what is judged so far is listed.
PROGRESS_SECONDS = 0.4
# Once a page is closed, work ends with the next answer to it.
ANSWER_SECONDS = 5.0
DROPPED = "What you dropped"


def build(context: Context, studio: Studio, training_sounds: gr.Dropdown) -> None:
    """Put the tab's controls into the open tab; what is kept becomes the choice of sounds in the tab Train."""
    DataTab(context, training_sounds, studio.tabs).connect(studio)


@dataclass(frozen=True)
class Source:
    """Where the sounds come from: dropped files, or a folder that is checked on request."""

    files: gr.File
    folder: gr.Dropdown
    check: gr.Button

    @classmethod
    def build(cls) -> "Source":
        """Put them into the open tab."""
        with gr.Row(equal_height=True):
            with gr.Column(scale=1, min_width=280):
                files = gr.File(
                    label="Drop sounds here", file_count="multiple", file_types=list(EXTENSIONS), height=150,
                    elem_id="data-files",
                )  # fmt: skip
            with gr.Column(scale=1, min_width=280):
                folder = gr.Dropdown(
                    choices=[], value=None, label="or name a folder", allow_custom_value=True, elem_id="data-folder",
                    info="A dataset of this project, or any folder; all folders below it count.",
                )  # fmt: skip
                check = gr.Button("Check", variant="primary", elem_id="data-check")
        return cls(files, folder, check)


@dataclass(frozen=True)
class Keeping:
    """What can be done with judged sounds: keep them as a dataset, and train on them."""

    row: gr.Row
    name: gr.Textbox
    keep: gr.Button
    train: gr.Button

    @classmethod
    def build(cls) -> "Keeping":
        """Put them into the open tab."""
        with gr.Row(visible=False) as row:
            name = gr.Textbox(
                value="", label="Keep it as a dataset called", info="A folder below data/; versioned with DVC.",
                max_lines=1, elem_id="data-name",
            )  # fmt: skip
            keep = gr.Button("Keep this version", elem_id="data-keep", size="md", scale=0, min_width=190)
            train = gr.Button(
                "Train on these", variant="primary", elem_id="data-train", size="md", scale=0, min_width=160
            )
        return cls(row, name, keep, train)


class DataTab:
    """The tab's controls in the open tab, and what they do; handlers return updates by component."""

    def __init__(self, context: Context, training_sounds: gr.Dropdown, tabs: gr.Tabs) -> None:
        self.context, self.training_sounds, self.tabs = context, training_sounds, tabs
        self.source = Source.build()
        self.summary = gr.HTML(nothing_yet(), elem_id="data-summary", apply_default_css=False)
        self.table = gr.HTML(elem_id="data-table", elem_classes="d-answer", apply_default_css=False)
        self.keeping = Keeping.build()
        self.answer = gr.HTML(elem_id="data-answer", elem_classes="d-answer", apply_default_css=False)
        # The folder that was judged last.
        self.path = gr.State(None)

    def connect(self, studio: Studio) -> None:
        """Let the controls act."""
        source, keeping, desk = self.source, self.keeping, studio.desk
        outputs = [self.path, self.summary, self.table, keeping.row, self.answer]
        gr.on(None, self.list_datasets, None, source.folder, **QUIET)
        # Only the summary shows the progress: five circles would be too many. What is judged next does not wait.
        judging: dict[str, Any] = {
            "show_progress_on": self.summary, "concurrency_limit": AT_ONCE, "trigger_mode": "multiple"
        }  # fmt: skip
        source.folder.focus(self.list_datasets, None, source.folder, **QUIET)
        source.files.change(self.judge_files, [source.files, desk], outputs, **judging)
        source.check.click(self.judge_folder, [source.folder, desk], outputs, **judging)
        studio.returned.change(self.come_back, desk, outputs, **judging)
        kept = [self.answer, source.folder, self.training_sounds]
        keeping.keep.click(self.keep, [self.path, keeping.name], kept, show_progress_on=self.answer)
        keeping.train.click(
            self.train, [self.path, keeping.name, desk], [*kept, self.tabs], show_progress_on=self.answer
        )

    def list_datasets(self) -> gr.Dropdown:
        """The project's datasets to choose from; what is chosen, or typed meanwhile, stays."""
        return gr.Dropdown(choices=dataset_choices(self.context))

    @shows_errors_while
    def judge_files(
        self,
        paths: list[str] | None,
        desk: Desk,
        progress: gr.Progress = gr.Progress(),  # noqa: B008, Gradio's way
    ) -> Iterator[Updates]:
        """Judge dropped files; without any, what was dropped before is gone."""
        mine = desk.gathering = object()
        if not paths:
            desk.judging = None
            self._hold(desk, None)
            yield {
                self.path: None,
                self.summary: nothing_yet(),
                self.table: "",
                self.keeping.row: gr.update(visible=False),
                self.answer: "",
            }
            return
        gathered = desk.lasting() / "dropped" / uuid.uuid4().hex
        try:
            left_out = gather(map(self.context.uploaded, paths), gathered)
        except DistillError:
            shutil.rmtree(gathered, ignore_errors=True)
            raise
        if desk.gathering is not mine:
            # Others were dropped while these were copied.
            shutil.rmtree(gathered, ignore_errors=True)
            yield self._as_it_is
            return
        desk.judging = mine
        self._hold(desk, gathered)
        text = left_out_words(left_out) if left_out else ""
        yield from self._judge(gathered, DROPPED, desk, mine, progress, message(text))

    @shows_errors_while
    def judge_folder(
        self,
        folder: str | None,
        desk: Desk,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[Updates]:
        """Judge the sounds of a folder; without one, the dropped files again."""
        if not folder and desk.dropped is None:
            raise UsageError("drop sounds, or name a folder first")
        if not folder:
            yield from self.come_back(desk, progress)
            return
        path = self.context.named(folder)
        mine = desk.judging = object()
        yield from self._judge(path, path.name or folder, desk, mine, progress)

    @shows_errors_while
    def come_back(
        self,
        desk: Desk,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[Updates]:
        """Judge what was dropped before the tab was reloaded."""
        if desk.dropped is None:
            yield self._as_it_is
        else:
            mine = desk.judging = object()
            yield from self._judge(desk.dropped, DROPPED, desk, mine, progress)

    @property
    def _as_it_is(self) -> Updates:
        # When a generator ends, Gradio shows once more what came last, and of one that gave nothing, nothing.
        return {self.summary: gr.skip()}

    @staticmethod
    def _hold(desk: Desk, dropped: Path | None) -> None:
        """Put dropped sounds on the desk, in place of those that lie there."""
        before, desk.dropped = desk.dropped, dropped
        if before is not None:
            shutil.rmtree(before, ignore_errors=True)

    def _judge(
        self, path: Path, title: str, desk: Desk, mine: object, progress: gr.Progress, answer: str = ""
    ) -> Iterator[Updates]:
        """The first files as soon as they are judged, and all of them in the end, unless others are judged by then."""
        reports: list[FileReport] = []
        moved = answered = 0.0
        for report, total in scanned(path):
            if desk.judging is not mine:
                break
            reports.append(report)
            now = time.monotonic()
            moved = moved or now
            due = now - moved >= PROGRESS_SECONDS
            if due:
                progress((len(reports), total), desc="Listening")
                moved = now
            if not answered and len(reports) < total and (due or len(reports) >= FIRST_FILES):
                answered = now
                table = self._table(path, reports, total)
                row = gr.update(visible=False)
                yield {self.path: None, self.table: table, self.keeping.row: row, self.answer: answer}
            elif answered and now - answered >= ANSWER_SECONDS:
                answered = now
                yield self._as_it_is
        if desk.judging is not mine:
            yield self._as_it_is
            return
        values = overview(title, reports)
        yield {
            self.path: str(path),
            self.summary: summary_of(values),
            self.table: self._table(path, reports, len(reports)),
            self.keeping.row: gr.update(visible=bool(values["usable"])),
            self.answer: answer,
        }

    def _table(self, path: Path, reports: list[FileReport], total: int) -> str:
        base = path if path.is_dir() else path.parent
        files = [base / report.path for report in reports[:MOST_ROWS]]
        return table_of(reports, [self.context.link(file) if file.is_file() else None for file in files], total)

    @shows_errors
    def keep(self, path: str | None, name: str) -> Updates:
        """Keep the judged sounds as a dataset."""
        if path is None:
            raise UsageError("check the sounds first")
        if not name.strip():
            raise UsageError("give the dataset a name first")
        added = keep_dataset(Path(path), self.context.project, name.strip())
        how = f"versioned as {added.pointer}" if added.pointer else "not versioned: this folder is no project of DVC"
        text = f"{added.path}: {added.usable} usable sounds, {how}. The tab Train has it now."
        choices = dataset_choices(self.context)
        return {
            self.answer: message(text),
            self.source.folder: gr.Dropdown(choices=choices),
            self.training_sounds: gr.Dropdown(choices=choices, value=added.path),
        }

    @shows_errors
    def train(self, path: str | None, name: str, desk: Desk) -> Updates:
        """Go to the tab Train with sounds of a folder where they are; those that were dropped are kept first."""
        if path is None:
            raise UsageError("check the sounds first")
        tabs = {self.tabs: gr.Tabs(selected="train")}
        choices = dataset_choices(self.context)
        if desk.dropped is not None and Path(path) == desk.dropped:
            return {**self.keep(path, name.strip() or _free_name(choices)), **tabs}
        value = path_in(self.context.project, Path(path))
        return {self.answer: message(""), self.training_sounds: gr.update(choices=choices, value=value), **tabs}


def _free_name(choices: list[tuple[str, str]]) -> str:
    """A name for a dataset that none of these has."""
    taken = {Path(path).name for _, path in choices}
    return next(name for number in count(1) if (name := f"sounds-{number}") not in taken)
