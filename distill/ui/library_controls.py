"""The controls of the tab Library, in panels."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from distill.artifact.model_file import EXTENSION
from distill.registry.catalogue import SORTS, VERDICTS

ANY = "any"
# Lets the browser save what a text names.
SAVE = """(text) => {
  const { address, name } = JSON.parse(text);
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}"""
_SORTED = {
    "name": "name",
    "distance": "distance on sounds kept aside (held-out)",
    "loss": "error on sounds kept aside (held-out loss)",
    "perplexity": "choices left open (held-out perplexity)",
    "dataset": "dataset",
    "sounds": "number of sounds",
}


@dataclass(frozen=True)
class Filters:
    """Which models are listed, and in which order."""

    words: gr.Textbox
    verdict: gr.Dropdown
    dataset: gr.Dropdown
    sort: gr.Dropdown

    @classmethod
    def build(cls) -> "Filters":
        """Put them into the open tab."""
        with gr.Row():
            return cls(
                gr.Textbox(
                    "", label="Search", placeholder="name, dataset, tag, alias …", scale=3, elem_id="library-search"
                ),
                gr.Dropdown([ANY, *VERDICTS], value=ANY, label="Copies (memorization)", min_width=120),
                gr.Dropdown([ANY], value=ANY, label="Dataset", min_width=120),
                gr.Dropdown([(_SORTED[each], each) for each in SORTS], value="name", label="Sorted by", min_width=140),
            )

    @property
    def inputs(self) -> dict[str, Any]:
        """Their values by name."""
        return {"words": self.words, "verdict": self.verdict, "dataset": self.dataset, "sort": self.sort}


@dataclass(frozen=True)
class Comparison:
    """How two models differ, and their sounds by the same seeds."""

    differences: gr.HTML
    hear: gr.Button
    heard: gr.HTML

    @classmethod
    def build(cls) -> "Comparison":
        """Put them into the open tab."""
        return cls(
            gr.HTML(apply_default_css=False, elem_id="library-differences"),
            gr.Button("Hear both, by the same seeds", size="md", visible=False, elem_id="library-hear-both"),
            gr.HTML(apply_default_css=False, elem_id="library-heard-both"),
        )


@dataclass(frozen=True)
class Details:
    """The model whose details are open.

    Attributes:
        column: everything; hidden while no details are open.
        place: which of the files and versions with these weights is meant.
        question: the row with a question, its words, and Yes and No.
        hear: makes sounds of it, which `heard` shows.
        text: the details.
    """

    column: gr.Column
    place: gr.Dropdown
    use: gr.Button
    register: gr.Button
    promote: gr.Button
    save: gr.Button
    delete: gr.Button
    question: gr.Row
    asked: gr.HTML
    yes: gr.Button
    no: gr.Button
    hear: gr.Button
    heard: gr.HTML
    text: gr.HTML

    @classmethod
    def build(cls) -> "Details":
        """Put them into the open tab."""
        with gr.Column(visible=False, elem_id="library-details") as column:
            with gr.Row(elem_classes="d-line"):
                place = gr.Dropdown(
                    [], label="Where", info="Files and versions in the registry with these weights.", scale=3,
                    min_width=260,
                )  # fmt: skip
                use = gr.Button("Make sounds", size="md", variant="primary", min_width=120, elem_id="library-use")
                register, promote, save, delete = (
                    gr.Button(words, size="md", min_width=100, elem_id=f"library-{words.split()[0].lower()}")
                    for words in ("Register", "Promote", "Download", "Delete …")
                )
            with gr.Row(visible=False, elem_classes="d-line", elem_id="library-question") as question:
                asked = gr.HTML(apply_default_css=False)
                yes = gr.Button("Yes", variant="stop", scale=0, min_width=120, elem_id="library-yes")
                no = gr.Button("No, leave it", scale=0, min_width=120, elem_id="library-no")
            hear = gr.Button("Hear eight sounds of it", size="md", elem_id="library-hear")
            heard = gr.HTML(apply_default_css=False, elem_id="library-heard")
            text = gr.HTML(apply_default_css=False)
        buttons = use, register, promote, save, delete
        return cls(column, place, *buttons, question, asked, yes, no, hear, heard, text)


@dataclass(frozen=True)
class Import:
    """A model file from elsewhere."""

    file: gr.File
    name: gr.Textbox
    go: gr.Button

    @classmethod
    def build(cls) -> "Import":
        """Put them into the open tab."""
        with gr.Accordion("Import a model file", open=False), gr.Row():
            return cls(
                gr.File(
                    label="Model file", file_types=[EXTENSION], height=130, elem_id="library-file", scale=3,
                    min_width=260,
                ),
                gr.Textbox(
                    "", label="Name", info="Empty: the model's own.", max_length=100, scale=2, elem_id="library-name"
                ),
                gr.Button("Import", size="md", interactive=False, scale=0, min_width=120, elem_id="library-import"),
            )  # fmt: skip
