"""A browser for the tests of the page: Debian's Chromium, driven by Playwright."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest

from page_util import Served

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox",
    # A page's scripts take most of its time: compile them soon, and beside nothing. There is nothing to draw on.
    "--js-flags=--always-sparkplug --no-lazy-feedback-allocation --single-threaded",
    "--disable-gpu",
    "--in-process-gpu",
)
# More controls than a tab of the page has.
MOST_TABS = 200
# What a page complains of within so many s before another one takes its place, it was asking for when it was left.
LEAVING_SECONDS = 1.0
# Until nothing was put into the page for 150 ms. What shows progress does not end; 3 s are enough for all else.
SETTLED = """() => new Promise(done => {
  let last = performance.now();
  const until = last + 3000;
  const seen = new MutationObserver(() => { last = performance.now(); });
  seen.observe(document.body, { childList: true, subtree: true });
  const look = setInterval(() => {
    const now = performance.now();
    if (now - last < 150 && now < until) return;
    clearInterval(look);
    seen.disconnect();
    done();
  }, 30);
})"""


@contextmanager
def browser() -> Iterator["playwright.Browser"]:
    """A running Chromium; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


def settle(page: "playwright.Page") -> None:
    """Wait until what was opened is there: Gradio makes it in steps, and what is typed into the first is lost."""
    page.evaluate(SETTLED)


def unfold(page: "playwright.Page", name: str) -> None:
    """Open the fold with that name."""
    page.get_by_role("button", name=name).click()
    settle(page)


@cache
def usual(running: "playwright.Browser") -> "playwright.BrowserContext":
    """Where pages open as tabs of one browser: what the page consists of is fetched once from a server."""
    return running.new_context()


class Watched:
    """A page in a browser with what went wrong in it: requests elsewhere, errors of scripts, complaints of the log.

    Args:
        apart: whether it is in a browser that no other page is in, as it is with `options`, too.
    """

    def __init__(
        self, running: "playwright.Browser", server: Served, *, apart: bool = False, **options: object
    ) -> None:
        self.server, self.url = server, server.url
        self.context = running.new_context(**options) if apart or options else usual(running)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.elsewhere: list[str] = []
        self._complaints: list[tuple[float, str]] = []
        self.page.on("request", self._request)
        self.page.on("framenavigated", lambda frame: frame == self.page.main_frame and self._left())
        self.page.on("pageerror", lambda error: self._error(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self._error(message.text))

    def _request(self, request: "playwright.Request") -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def _error(self, text: str) -> None:
        # A page that is left breaks off what it was asking for.
        if not any(words in text for words in ("AbortError", "errored out")):
            self._complaints.append((time.monotonic(), text))

    def _left(self) -> None:
        kept = time.monotonic() - LEAVING_SECONDS
        self._complaints = [(at, text) for at, text in self._complaints if at < kept]

    @property
    def errors(self) -> list[str]:
        """What the log complains of, and errors of scripts."""
        return [text for _, text in self._complaints]

    def open(self, tab: str = "Data", query: str = "") -> "playwright.Page":
        """The page with a tab in front, as by the address that the command prints."""
        self.page.goto(f"{self.url}/{query}{'&' if query else '?'}token={self.server.token}")
        self.show(tab)
        return self.page

    def open_bare(self) -> "playwright.Page":
        """An address of the server without the page on it, for a test of a script alone."""
        self.page.goto(f"{self.url}/api/ready?token={self.server.token}")
        return self.page

    def press(self, control: "playwright.Locator", key: str = "Enter") -> None:
        """Go to a control by the Tab key alone, which it must be reached by, and press a key there."""
        for _ in range(MOST_TABS):
            if control.evaluate("control => control === document.activeElement"):
                break
            self.page.keyboard.press("Tab")
        else:
            raise AssertionError(f"{control} is not reached by the Tab key")
        self.page.keyboard.press(key)

    def show(self, tab: str) -> None:
        """Bring a tab to the front."""
        self.page.get_by_role("tab", name=tab, exact=True).click()
        settle(self.page)
