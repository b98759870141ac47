"""What answers at the page's address while the page is being loaded, which takes several seconds."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# Held while modules are loaded that set up logging, as Gradio, MLflow and torch do: two at a time disturb each other.
LOADING = threading.Lock()


class Opening:
    """ASGI application that answers with a document at `/` until another one is loaded; whatever else is asked waits.

    Args:
        load: gives that other application; called once, in a thread of its own.
        document: gives the document.

    Attributes:
        failure: why the other application cannot be loaded, once that is known.
    """

    def __init__(self, load: Callable[[], FastAPI], document: Callable[[], str]) -> None:
        self._load, self._document = load, document
        self._page: ASGIApp | None = None
        self._loaded = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._page is None and scope["type"] == "http" and scope["path"] == "/":
            await HTMLResponse(self._document(), headers={"cache-control": "no-store"})(scope, receive, send)
            return
        await self.ready()
        assert self._page is not None
        await self._page(scope, receive, send)

    async def ready(self) -> None:
        """Wait until the other application is loaded."""
        await self._loaded.wait()

    @asynccontextmanager
    async def loading(self) -> AsyncIterator[None]:
        """Load the other application and have it up as long as the block runs."""
        task = asyncio.create_task(self._keep_up())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep_up(self) -> None:
        try:
            page = await _in_daemon(self._load)
            async with page.router.lifespan_context(page):
                self._page = page
                self._loaded.set()
                await asyncio.Event().wait()
        except Exception as error:  # noqa: BLE001, told by who serves
            self.failure = error


async def _in_daemon(call: Callable[[], FastAPI]) -> FastAPI:
    """What a call gives, made in a thread that nobody waits for who ends meanwhile."""
    answer: Future[FastAPI] = Future()
    answer.set_running_or_notify_cancel()

    def run() -> None:
        try:
            answer.set_result(call())
        except Exception as error:  # noqa: BLE001, raised where it is awaited
            answer.set_exception(error)

    threading.Thread(target=run, name="page", daemon=True).start()
    return await asyncio.wrap_future(answer)
