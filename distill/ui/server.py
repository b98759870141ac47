"""Serving the page: the application, its assets and its API on one address."""

import os
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from distill.errors import StorageError
from distill.servers.guard import Guard
from distill.servers.secret import checked, remembered
from distill.ui.api import add_api
from distill.ui.app import build_app
from distill.ui.context import Context, context_of
from distill.ui.document import with_first_script
from distill.ui.kept import kept
from distill.ui.media import add_media
from distill.ui.start_api import add_start
from distill.ui.takes_api import add_takes
from distill.ui.theme import theme

LOCAL = ("127.0.0.1", "localhost", "::1")
# What the page may be called in an address where only this machine reaches it.
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
TOKEN = "DISTILL_TOKEN"
TOKEN_FILE = Path(".distill") / "page" / "token"
ASSETS = Path(__file__).parent / "assets"
# The largest file that is taken; longer recordings are named as a folder.
MOST_UPLOAD = "512mb"
GRACE_SECONDS = 1
# Between two looks for what is asked, and for what progress there is to tell.
IDLE_SECONDS = 0.02, 0.1


def serve(project: Path, *, host: str, port: int, on_up: Callable[[str], None] = lambda _: None) -> None:
    """Serve the page until somebody interrupts; `on_up` is told its address, with the token, once it answers.

    Raises:
        UsageError: the token in DISTILL_TOKEN is weak.
        StorageError: the address cannot be listened on, or the project cannot be written.
    """
    context = context_of(project, local=host in LOCAL)
    token = token_of(context.project)
    os.chdir(context.project)
    with kept(context):
        _serve(application(context, token, port), host, port, token, on_up)


def token_of(project: Path) -> str:
    """What lets people in to a project's page: DISTILL_TOKEN, or else a random one that the project remembers.

    Raises:
        UsageError: the given one is weak.
        StorageError: the remembered one cannot be read or written.
    """
    # Trainings that the page starts need not know it.
    given = os.environ.pop(TOKEN, None)
    return remembered(project / TOKEN_FILE) if given is None else checked(given, TOKEN)


def _serve(app: ASGIApp, host: str, port: int, token: str, on_up: Callable[[str], None]) -> None:
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="critical",
        # Open pages hold a connection for as long as they are open.
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    server.on_up = lambda: on_up(f"{address}?token={token}")
    try:
        server.run()
    except SystemExit as error:
        raise StorageError(f"the page cannot listen on {host}, port {port}") from error


def application(context: Context, token: str, port: int) -> ASGIApp:
    """The page with everything beside it, behind the guard; to be made within `kept`."""
    # Gradio keeps what is uploaded and what it shows below this folder, and serves nothing else.
    os.environ["GRADIO_TEMP_DIR"] = str(context.uploads)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    app = FastAPI(title="distill", openapi_url=None)
    app.mount("/page-assets", StaticFiles(directory=ASSETS), name="page-assets")
    add_api(app, context)
    add_start(app, context)
    add_takes(app, context)
    add_media(app, context)
    styles = [path.name for path in sorted(ASSETS.glob("*.css"))]
    scripts = [path.name for path in sorted(ASSETS.glob("*.js"))]
    head = "".join(f'<link rel="stylesheet" href="/page-assets/{name}">' for name in styles)
    head += "".join(f'<script type="module" src="/page-assets/{name}"></script>' for name in scripts)
    with_first_script()
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
    # Only then it refuses files that were not uploaded; mounted, it would never know by itself.
    blocks.has_launched = True
    guarded = Guard(page, token, port)
    return TrustedHostMiddleware(guarded, LOCAL_NAMES, www_redirect=False) if context.local else guarded


class _Server(uvicorn.Server):
    """A server that says when it answers."""

    on_up: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            self.on_up()
