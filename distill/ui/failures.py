"""What goes wrong behind a control becomes one line on the page."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr

from distill.errors import DistillError

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


def told(handler: Callable[P, R]) -> Callable[P, R]:
    """A handler whose errors the page shows as one line, without a traceback."""

    @functools.wraps(handler)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except gr.Error:
            raise
        except DistillError as error:
            raise gr.Error(str(error), duration=None, print_exception=False, title="That did not work") from None
        except Exception as error:
            logger.exception("unexpected error behind the page")
            text = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
            raise gr.Error(text, duration=None, print_exception=False, title="That did not work") from None

    return wrapped
