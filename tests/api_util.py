"""The page and its JSON API within the process of the tests: no server is started."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

pytest.importorskip("gradio")

from fastapi import FastAPI
from starlette.testclient import TestClient

from distill.ui.context import Context
from distill.ui.first_takes import FirstTakes
from distill.ui.loading_page import Opening
from distill.ui.server import application
from distill.ui.server_folder import own_folder

T = TypeVar("T")
TOKEN = "let-me-in-if-you-please"


@contextmanager
def client_of(project: Path) -> Iterator[TestClient]:
    """Somebody who asks the API of a project, and has its token."""
    context = Context(project)
    with own_folder(context), pytest.MonkeyPatch.context() as patch:
        # The sounds of the tab Start would be made in a thread that outlives the tests.
        patch.setattr(FirstTakes, "keep_making", lambda _: None)
        page = application(context, Opening(FastAPI, lambda: ""), TOKEN, 5050)
        yield TestClient(page, "http://127.0.0.1:5050", headers={"authorization": f"Bearer {TOKEN}"})


def within_loop(build: Callable[[], T]) -> T:
    """What `build` gives; where no loop runs, Gradio leaves one of its own open."""

    async def built() -> T:
        return build()

    return asyncio.run(built())
