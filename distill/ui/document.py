"""The page's HTML documents: the one that opens it, and Gradio's own with scripts that run before those of Gradio."""

from html import escape
from pathlib import Path

TITLE = "distill"
ASSETS = Path(__file__).parent / "assets"
ADDRESS = "/page-assets"
TEMPLATE = Path("frontend") / "index.html"
FIRST = "".join(f'<script src="{ADDRESS}/first/{name}.js"></script>' for name in ("frames", "inert"))
# A browser asks for it without the cookie that lets in, and complains of the answer; nobody installs the page.
NEEDLESS = '<link rel="manifest" href="/manifest.json" />'


def header(project: str) -> str:
    """The line at the top: what the page is, and of which project."""
    return f'<header class="d-top"><h1>{TITLE}</h1><p>{escape(project)}</p></header>'


def styles() -> str:
    """The elements of a document's head that bring all styles."""
    names = sorted(path.name for path in ASSETS.glob("*.css"))
    return "".join(f'<link rel="stylesheet" href="{ADDRESS}/{name}">' for name in names)


def scripts() -> str:
    """The elements of a document's head that bring all scripts."""
    names = sorted(path.name for path in ASSETS.glob("*.js"))
    return "".join(f'<script type="module" src="{ADDRESS}/{name}"></script>' for name in names)


def opening_document(project: str, kind: str) -> str:
    """The page until Gradio is loaded, of a project that stands at a `kind` (see `distill.ui.start_state`)."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="{ADDRESS}/icon.svg">{styles()}'
        f'<link rel="stylesheet" href="{ADDRESS}/opening/opening.css">'
        f'<script type="module" src="{ADDRESS}/opening/opening.js"></script></head>'
        f'<body><main class="gradio-container">{header(project)}'
        '<p class="d-said" role="status">The page is opening. It takes a few seconds.</p>'
        f'<distill-start kind="{kind}"></distill-start></main></body></html>'
    )


def with_first_scripts() -> None:
    """Put the scripts into the document that Gradio serves in this process; they are there once."""
    from gradio.routes import templates
    from jinja2 import BaseLoader, ChoiceLoader, DictLoader

    loader, name = templates.env.loader, TEMPLATE.as_posix()
    assert isinstance(loader, BaseLoader)
    source, _, _ = loader.get_source(templates.env, name)
    if FIRST not in source:
        changed = source.replace("<head>", f"<head>{FIRST}", 1).replace(NEEDLESS, "")
        templates.env.loader = ChoiceLoader([DictLoader({name: changed}), loader])
