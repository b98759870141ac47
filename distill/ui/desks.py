"""The desks of a page's server: a browser's tab that is loaded anew finds its own again."""

import re
import threading

from distill.ui.desk import Desk

# What a tab calls itself, as it is kept in the browser until the tab is closed.
_NAME = re.compile(r"[0-9a-f]{32}")
# Run by the browser before it asks for its desk.
OWN_NAME = """(desk, name, ...others) => {
  const key = "distill-tab";
  if (!sessionStorage.getItem(key)) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    sessionStorage.setItem(key, [...bytes].map((each) => each.toString(16).padStart(2, "0")).join(""));
  }
  return [desk, sessionStorage.getItem(key), ...others];
}"""


class Desks:
    """Desks by the names of the tabs that work on them. Methods may be called from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Desk] = {}

    def taken(self, name: str | None, fresh: Desk) -> Desk:
        """The desk of a tab, which one more session has now; `fresh`, if the tab has none yet."""
        if name is None or not _NAME.fullmatch(name):
            return fresh
        with self._lock:
            for each in [each for each, desk in self._known.items() if desk.closed]:
                del self._known[each]
            desk = self._known.setdefault(name, fresh)
            desk.sessions += 1
            return desk
