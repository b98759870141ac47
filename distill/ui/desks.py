"""The desks of a page's server: a browser's tab that is loaded anew finds its own again, also after a restart."""

import logging
import re
import shutil
import threading
import time
from collections.abc import Callable

from distill.codes.model import CodesModel
from distill.errors import DistillError
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.desk_file import FILE, Content, restore

# What a tab calls itself, as it is kept in the browser until the tab is closed.
_NAME = re.compile(r"[0-9a-f]{32}")
# Run by the browser before it asks for its desk.
OWN_NAME = """async (desk, name, ...others) => {
  const key = "distill-tab";
  const fresh = () => [...crypto.getRandomValues(new Uint8Array(16))]
    .map((each) => each.toString(16).padStart(2, "0")).join("");
  // A duplicated tab has the name of the tab that it is a copy of, which holds it for as long as it is open.
  const held = (own) => !navigator.locks ? true : new Promise((resolve) => {
    navigator.locks.request(`${key} ${own}`, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock && new Promise(() => {});
    });
  });
  window.distillTab ??= (async () => {
    let own = sessionStorage.getItem(key) ?? fresh();
    while (!await held(own)) own = fresh();
    sessionStorage.setItem(key, own);
    return own;
  })();
  return [desk, await window.distillTab, ...others];
}"""
# Between two looks for what is not on the disk yet, in s.
SAVE_SECONDS = 0.5
# Tabs that were open when their server ended and did not come back for so many s are closed for good.
MOST_SECONDS = 14 * 24 * 3600
# A tab whose sessions have all ended may be loaded anew for so many s: a machine that sleeps is no closed tab.
LEFT_SECONDS = 3 * 24 * 3600.0

logger = logging.getLogger(__name__)


class Desks:
    """Desks by the names of the tabs that work on them. Methods may be called from several threads.

    Args:
        context: the page's surroundings.
        load: gives a model by what the page calls it.
    """

    def __init__(self, context: Context, load: Callable[[str], CodesModel]) -> None:
        self._folder, self._load = context.desks, load
        self._lock = threading.Lock()
        self._known: dict[str, Desk] = {}
        self._written: dict[str, Content] = {}

    def keep_saving(self) -> None:
        """Write what changes on the desks from now on, half a second later at most, until this process ends."""
        self.forget_old()
        threading.Thread(target=self._save_on, name="desks", daemon=True).start()

    def take(self, name: str | None, fresh: Desk) -> Desk:
        """The desk of a tab, which one more session has now; `fresh`, if the tab has none yet."""
        if name is None or not _NAME.fullmatch(name):
            return fresh
        with self._lock:
            for each in [each for each, desk in self._known.items() if desk.closed]:
                del self._known[each]
                self._written.pop(each, None)
            if name not in self._known:
                fresh.home = self._folder / name
                try:
                    restore(fresh, fresh.home, self._load)
                except DistillError as error:
                    logger.warning("a tab begins anew: %s", error)
                self._written[name] = Content.of(fresh)
                self._known[name] = fresh
            else:
                self._known[name].left = self._known[name].forms
            desk = self._known[name]
            desk.sessions, desk.left_at = max(0, desk.sessions) + 1, None
            return desk

    def open(self, name: str) -> Desk | None:
        """The desk of a tab as long as a session has it; without it, the tab must be loaded anew."""
        with self._lock:
            desk = self._known.get(name)
            return desk if desk is not None and desk.sessions > 0 else None

    def save(self) -> None:
        """Write the desks that changed since they were written."""
        with self._lock:
            known = {name: desk for name, desk in self._known.items() if not desk.closed}
        for name, desk in known.items():
            content = Content.of(desk)
            if content == self._written.get(name) or desk.home is None:
                continue
            try:
                content.write(desk.home)
            except DistillError as error:
                logger.warning("an open tab is not kept: %s", error)
            self._written[name] = content
            if desk.closed:
                shutil.rmtree(desk.home, ignore_errors=True)

    def forget_left(self, seconds: float = LEFT_SECONDS) -> None:
        """Remove the desks whose last session ended more than so many s ago."""
        with self._lock:
            for desk in self._known.values():
                if desk.left_at is not None and not desk.closed and time.monotonic() - desk.left_at >= seconds:
                    desk.remove()

    def forget_old(self) -> None:
        """Remove what is left of tabs that did not come back."""
        for folder in self._folder.glob("*"):
            note = folder / FILE
            written = (note if note.is_file() else folder).stat().st_mtime
            if time.time() - written > MOST_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)

    def _save_on(self) -> None:
        while True:
            time.sleep(SAVE_SECONDS)
            try:
                self.save()
                self.forget_left()
            except Exception:
                logger.exception("open tabs are not kept")
