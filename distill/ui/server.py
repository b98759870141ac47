"""Serving the page: the application, its assets and its API on one address."""

import os
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp

from distill.errors import StorageError, UsageError
from distill.ui.api import add_api
from distill.ui.app import build_app
from distill.ui.context import Context, context_of
from distill.ui.guard import Guard
from distill.ui.media import add_media
from distill.ui.theme import theme

LOCAL = ("127.0.0.1", "localhost", "::1")
ASSETS = Path(__file__).parent / "assets"
# The largest file that is taken; longer recordings are named as a folder.
MOST_UPLOAD = "512mb"
GRACE_SECONDS = 1
# Between two looks for what is asked, and for what progress there is to tell.
IDLE_SECONDS = 0.02, 0.1


def serve(
    project: Path, *, host: str, port: int, token: str | None, on_up: Callable[[str], None] = lambda _: None
) -> None:
    """Serve the page until somebody interrupts; `on_up` is told its address once it answers.

    Raises:
        UsageError: another address than this machine's own without a token.
        StorageError: the address cannot be listened on.
    """
    local = host in LOCAL
    if not local and not token:
        raise UsageError(f"on {host} others reach the page: give a token with --token, or leave --host out")
    context = context_of(project, local=local)
    os.chdir(context.project)
    config = uvicorn.Config(
        application(context, token),
        host=host,
        port=port,
        log_level="critical",
        # Open pages hold a connection for as long as they are open.
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    server.on_up = lambda: on_up(f"{address}?token={token}" if token else address)
    try:
        server.run()
    except SystemExit as error:
        raise StorageError(f"the page cannot listen on {host}, port {port}") from error


def application(context: Context, token: str | None) -> ASGIApp:
    """The page with everything beside it, behind the guard."""
    files = context.project / ".distill" / "ui"
    # Gradio keeps what is uploaded and what it shows below this folder, and serves nothing else.
    os.environ["GRADIO_TEMP_DIR"] = str(files)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    app = FastAPI(title="distill", openapi_url=None)
    app.mount("/page-assets", StaticFiles(directory=ASSETS), name="page-assets")
    add_api(app, context)
    add_media(app, context)
    styles = [path.name for path in sorted(ASSETS.glob("*.css"))]
    scripts = [path.name for path in sorted(ASSETS.glob("*.js"))]
    head = "".join(f'<link rel="stylesheet" href="/page-assets/{name}">' for name in styles)
    head += "".join(f'<script type="module" src="/page-assets/{name}"></script>' for name in scripts)
    blocks = build_app(context)
    page = gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=theme(),
        head=head,
        show_error=False,
        ssr_mode=False,
        max_file_size=MOST_UPLOAD,
        footer_links=[],
        enable_monitoring=False,
        favicon_path=str(ASSETS / "icon.svg"),
    )
    # Left as they are, they look for work a thousand times a second, at the cost of whatever trains beside them.
    blocks._queue.sleep_when_free, blocks._queue.progress_update_sleep_when_free = IDLE_SECONDS
    return Guard(page, token)


class _Server(uvicorn.Server):
    """A server that says when it answers."""

    on_up: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            self.on_up()
