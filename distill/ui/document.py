"""The page's HTML document: Gradio's own, with scripts that run before those of Gradio."""

from pathlib import Path

from gradio.routes import templates
from jinja2 import BaseLoader, ChoiceLoader, DictLoader

TEMPLATE = Path("frontend") / "index.html"
FIRST = "".join(f'<script src="/page-assets/first/{name}.js"></script>' for name in ("frames", "inert"))
# A browser asks for it without the cookie that lets in, and complains of the answer; nobody installs the page.
NEEDLESS = '<link rel="manifest" href="/manifest.json" />'


def with_first_script() -> None:
    """Put the scripts into the document that Gradio serves in this process; they are there once."""
    loader, name = templates.env.loader, TEMPLATE.as_posix()
    assert isinstance(loader, BaseLoader)
    source, _, _ = loader.get_source(templates.env, name)
    if FIRST not in source:
        changed = source.replace("<head>", f"<head>{FIRST}", 1).replace(NEEDLESS, "")
        templates.env.loader = ChoiceLoader([DictLoader({name: changed}), loader])
