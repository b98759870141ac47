"""How the handlers of controls are called, and what they return."""

from typing import Any

# How many calls of a handler that takes its time are worked on at once, for all tabs and browsers together.
AT_ONCE = 8
QUIET: dict[str, Any] = {"show_progress": "hidden"}

# By component.
Updates = dict[Any, Any]
