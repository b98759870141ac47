"""What goes wrong behind a control, or went well, becomes one line on the page."""

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import ParamSpec, TypeVar

import gradio as gr

from distill.errors import DistillError
from distill.ui.messages import in_words_of_page

logger = logging.getLogger(__name__)

# How long an error stays to be read.
SECONDS = 12.0
P = ParamSpec("P")
R = TypeVar("R")


def shows_errors(handler: Callable[P, R]) -> Callable[P, R]:
    """A handler whose errors the page shows as one line, without a traceback."""

    @functools.wraps(handler)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with _in_one_line():
            return handler(*args, **kwargs)

    return wrapped


def shows_errors_while(handler: Callable[P, Iterator[R]]) -> Callable[P, Iterator[R]]:
    """The same for a handler that gives one result after the other."""

    @functools.wraps(handler)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        with _in_one_line():
            yield from handler(*args, **kwargs)

    return wrapped


def notice(text: str, seconds: float = 6) -> None:
    """Tell what was done; names of files in it are never taken for HTML."""
    gr.Info(escape(text, quote=False), duration=seconds)


@contextmanager
def _in_one_line() -> Iterator[None]:
    title = "That did not work"
    try:
        yield
    except gr.Error:
        raise
    except DistillError as error:
        # The page takes the message for HTML, and there are names of files in it.
        text = escape(in_words_of_page(str(error)), quote=False)
        raise gr.Error(text, duration=SECONDS, print_exception=False, title=title) from None
    except Exception as error:
        logger.exception("unexpected error behind the page")
        text = escape(f"unexpected {type(error).__name__}: {' '.join(str(error).split())}", quote=False)
        raise gr.Error(text, duration=SECONDS, print_exception=False, title=title) from None
