"""Serving the page: the application, its assets and its API on one address."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from distill.errors import StorageError
from distill.servers.secret import check_token, read_or_create
from distill.servers.token_guard import Guard
from distill.ui.answers import REFUSALS
from distill.ui.api import add_api, add_unknown, finite_text
from distill.ui.context import Context, context_of
from distill.ui.document import ADDRESS, ASSETS, TITLE, opening_document
from distill.ui.generate_api import add_generate
from distill.ui.loading_page import LOADING, Opening
from distill.ui.map_api import add_map
from distill.ui.media import add_media
from distill.ui.server_folder import own_folder
from distill.ui.start_api import add_start
from distill.ui.start_state import standing_of
from distill.ui.takes_api import add_takes

LOCAL = ("127.0.0.1", "localhost", "::1")
# What the page may be called in an address where only this machine reaches it.
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
TOKEN = "DISTILL_TOKEN"
TOKEN_FILE = Path(".distill") / "page" / "token"
GRACE_SECONDS = 1


def serve(project: Path, *, host: str, port: int, on_up: Callable[[str], None] = lambda _: None) -> None:
    """Serve the page until somebody interrupts; `on_up` is told its address, with the token, once it answers.

    Raises:
        UsageError: the token in DISTILL_TOKEN is weak.
        StorageError: the address cannot be listened on, or the project cannot be written.
    """
    context = context_of(project, local=host in LOCAL)
    token = token_of(context.project)
    os.chdir(context.project)
    with own_folder(context):
        opening = Opening(lambda: _page(context), lambda: _opened(context))
        _serve(application(context, opening, token, port), opening, host, port, token, on_up)


def token_of(project: Path) -> str:
    """What lets people in to a project's page: DISTILL_TOKEN, or else a random one that the project remembers.

    Raises:
        UsageError: the given one is weak.
        StorageError: the remembered one cannot be read or written.
    """
    # Trainings that the page starts need not know it.
    given = os.environ.pop(TOKEN, None)
    return read_or_create(project / TOKEN_FILE) if given is None else check_token(given, TOKEN)


def _page(context: Context) -> FastAPI:
    # Importing Gradio and torch takes most of the time.
    with LOADING:
        from distill.ui.app import page

    return page(context)


def _opened(context: Context) -> str:
    return opening_document(context.project.name, standing_of(context.project).kind)


def _serve(app: ASGIApp, opening: Opening, host: str, port: int, token: str, on_up: Callable[[str], None]) -> None:
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="critical",
        # Open pages hold a connection for as long as they are open.
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    server.opening = opening
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    server.on_up = lambda: on_up(f"{address}?token={token}")
    try:
        server.run()
    except SystemExit as error:
        raise StorageError(f"the page cannot listen on {host}, port {port}") from error
    if opening.failure is not None:
        raise opening.failure


def application(context: Context, opening: Opening, token: str, port: int) -> ASGIApp:
    """The page with everything beside it, behind the guard; to be made within `own_folder`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with opening.loading():
            yield

    # The pages with which FastAPI shows the description fetch their scripts from elsewhere.
    app = FastAPI(
        title=TITLE,
        docs_url=None,
        redoc_url=None,
        responses=REFUSALS,
        dependencies=[Depends(finite_text)],
        lifespan=lifespan,
    )
    app.mount(ADDRESS, StaticFiles(directory=ASSETS), name="page-assets")

    @app.get("/api/ready")
    async def ready() -> dict[str, bool]:
        await opening.ready()
        return {"ready": True}

    add_api(app, context)
    add_start(app, context)
    add_takes(app, context)
    add_map(app, context)
    add_generate(app, context)
    add_media(app, context)
    add_unknown(app, context)
    app.mount("/", opening)
    guarded = Guard(app, token, port)
    return TrustedHostMiddleware(guarded, LOCAL_NAMES, www_redirect=False) if context.local else guarded


class _Server(uvicorn.Server):
    """A server that says when it answers, and ends where the page cannot be loaded."""

    opening: Opening
    on_up: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            self.on_up()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self.opening.failure is not None
