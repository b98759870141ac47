"""The page in Chromium: how soon it is there, what it costs a training that it shows, how it bears much to show.

`first paint` is first contentful paint after the address was opened, `usable` the time until another tab can be
brought to the front; `first visit` is the first of all after the server's start. One training goes on in turns alone,
`read` (its state is asked for every 2 s, as for a browser elsewhere) and `watched` (a browser on this machine shows the
Monitor of it); steps per second follow from the status that the training writes. The table of 500 files and the grid of
60 s are shown in the browser; `scrolling` is the longest that a frame took while they were scrolled from end to end.
Sounds are synthetic, the model's weights random.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from common import timed
from distill.dataset.scan import scan
from distill.live.status import read_status, status_file
from distill.runs import background
from distill.runs.folder import Order
from distill.runs.progress import alive
from distill.runs.stopping import stop
from memory import synthesize
from output import Report, parser
from startup import write_example

import numpy as np
import psutil
import soundfile
from playwright.sync_api import Browser, Locator, Page, sync_playwright

STAGE = "train_vqvae"
WAYS = ("alone", "read", "watched")
POLL_SECONDS = 2.0
# Scrolls an element from end to end, a step a frame; the longest frame in ms.
SCROLL = """(element, across) => new Promise((done) => {
  const frames = 120, [room, place] = across
    ? [element.scrollWidth - element.clientWidth, "scrollLeft"]
    : [element.scrollHeight - element.clientHeight, "scrollTop"];
  let frame = 0, last = performance.now(), longest = 0;
  const step = (now) => {
    if (frame) longest = Math.max(longest, now - last);
    last = now;
    element[place] = room * frame / frames;
    frame++ < frames ? requestAnimationFrame(step) : done(longest);
  };
  requestAnimationFrame(step);
})"""


def main() -> None:
    options = parser(__doc__, rounds=7)
    options.add_argument("--files", type=int, default=500, help="rows of the table")
    options.add_argument("--seconds", type=float, default=60.0, help="duration of the grid")
    options.add_argument("--turn", type=float, default=30.0, help="seconds of each turn of the training")
    args = options.parse_args()
    if args.quick:
        args.rounds, args.files, args.seconds, args.turn = 2, 20, 5.0, 6.0
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is not installed")
    report = Report(args)
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        project = Path(folder)
        synthesize(project / "many", args.files)
        synthesize(project / "kit", 20)
        write_example(project / "models" / "large.distill", layers=1)
        sound(project / "long.wav", args.seconds)
        with served(project) as (address, server):
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            rows += opening(browser, address, args.rounds)
            rows += table(browser, address, project, args)
            rows += grid(browser, address, project, args)
            cost = training(browser, address, project, server, args)
            browser.close()
    columns = ["what", "median ms", "longest ms"]
    report.show(columns, rows, training=cost)


def opening(browser: Browser, address: str, rounds: int) -> list[list[Any]]:
    """How soon the page is there, in contexts without anything kept."""
    paints, usable = [], []
    for _ in range(rounds + 1):
        with opened(browser) as page:
            begun = time.perf_counter()
            page.goto(address, wait_until="commit")
            tab(page, "Data").click(trial=True)
            usable.append(1000 * (time.perf_counter() - begun))
            paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    return [
        ["first visit: first paint", paints[0], paints[0]],
        ["first visit: usable", usable[0], usable[0]],
        row("first paint", paints[1:]),
        row("usable", usable[1:]),
    ]


def table(browser: Browser, address: str, project: Path, args: Any) -> list[list[Any]]:
    """A table of many files: from Check to the last row, and the scan of the same files alone."""
    shown, scanned, frames = [], [], []
    for _ in range(max(2, args.rounds // 2)):
        scanned.append(1000 * timed(lambda: scan(project / "many")))
        with opened(browser) as page:
            page.goto(address)
            tab(page, "Data").click()
            name = page.locator("#data-folder input")
            name.fill("many")
            name.press("Enter")
            begun = time.perf_counter()
            page.locator("#data-check").click()
            page.locator(".d-sounds tbody tr").nth(args.files - 1).wait_for(state="attached")
            shown.append(1000 * (time.perf_counter() - begun))
            frames.append(page.locator(".d-tall").evaluate(SCROLL, False))
    what = f"table of {args.files} files"
    return [row(f"{what}: shown", shown), row(f"{what}: scan alone", scanned), row(f"{what}: scrolling", frames)]


def grid(browser: Browser, address: str, project: Path, args: Any) -> list[list[Any]]:
    """A long grid: from the file to its picture, and from a key to the sound of the edited cell."""
    with opened(browser) as page:
        page.goto(address)
        tab(page, "Codes").click()
        page.locator("#codes-model input").click()
        page.get_by_role("option").first.click()
        begun = time.perf_counter()
        page.set_input_files("#codes-file input[type=file]", project / "long.wav")
        page.locator("#codes-grid .cells").wait_for()
        shown = 1000 * (time.perf_counter() - begun)
        cells = page.locator("#codes-grid .cells")
        cells.focus()
        heard = [edit(page) for _ in range(args.rounds + 2)]
        frames = [page.locator("#codes-grid .scroll").evaluate(SCROLL, True) for _ in range(2)]
    what = f"grid of {args.seconds:g} s"
    return [[f"{what}: shown", shown, shown], row(f"{what}: edit heard", heard[2:]), row(f"{what}: scrolling", frames)]


def edit(page: Page) -> float:
    """ms from a key that changes a cell until the browser has what is heard of it."""
    grid = "document.querySelector('#codes-grid distill-grid')"
    version, code = page.evaluate(f"[{grid}.view.version, {grid}.view.codes[0]]")
    begun = time.perf_counter()
    page.keyboard.press("-" if code else "+")
    page.wait_for_function(f"{grid}.view.version > {version} && {grid}.view.clip", polling=5)
    return 1000 * (time.perf_counter() - begun)


def training(
    browser: Browser, address: str, project: Path, server: psutil.Process, args: Any
) -> dict[str, dict[str, float]]:
    """One training, in turns alone, read and watched: its speed, and the server's share of a processor meanwhile."""
    settings = ["vqvae.epochs=10000", "vqvae.preview_interval=10000", f"run.threads={args.threads}"]
    settings += ["vqvae.batch_size=4"] if args.quick else []
    root = background.start(project, Order(str(project / "kit"), tuple(settings), "watched", STAGE))
    speeds: dict[str, list[float]] = {way: [] for way in WAYS}
    shares: dict[str, list[float]] = {way: [] for way in WAYS}
    try:
        until(lambda: step_of(root)[0] > 0)
        for _ in range(args.rounds):
            for way in WAYS:
                with looked_at(way, browser, address):
                    before, (step, moment) = server.cpu_times(), step_of(root)
                    time.sleep(args.turn)
                    later, (last, end) = server.cpu_times(), step_of(root)
                speeds[way].append((last - step) / (end - moment))
                spent = later.user + later.system - before.user - before.system
                shares[way].append(spent / args.turn)
    finally:
        stop(root)
        until(lambda: not alive(root))
    return {
        way: {
            "steps_per_second": median(speeds[way]),
            "speed_over_alone": median(a / b for a, b in zip(speeds[way], speeds["alone"], strict=True)),
            "server_processor_share": median(shares[way]),
        }
        for way in WAYS
    }


@contextmanager
def looked_at(way: str, browser: Browser, address: str) -> Iterator[None]:
    """Somebody looks at the training, or nobody."""
    if way == "watched":
        with opened(browser) as page:
            page.goto(address)
            tab(page, "Monitor").click()
            page.locator(".d-segment").first.wait_for()
            yield
        return
    over = threading.Event()
    url, _, token = address.partition("?token=")
    request = urllib.request.Request(f"{url}api/state", headers={"Authorization": f"Bearer {token}"})

    def read() -> None:
        while not over.wait(POLL_SECONDS):
            urllib.request.urlopen(request).read()

    reader = threading.Thread(target=read)
    if way == "read":
        reader.start()
    yield
    over.set()
    if way == "read":
        reader.join()


def step_of(root: Path) -> tuple[int, float]:
    """The step that the training last wrote down, and when."""
    status = read_status(root, STAGE)
    return (status or {}).get("done") or 0, status_file(root, STAGE).stat().st_mtime if status else 0.0


def until(done: Callable[[], bool]) -> None:
    while not done():
        time.sleep(0.1)


def sound(path: Path, seconds: float) -> None:
    """Tones one after the other."""
    folder = path.parent / "parts"
    synthesize(folder, max(1, round(seconds / 2)))
    parts = [soundfile.read(part, dtype="float32") for part in sorted(folder.iterdir())]
    soundfile.write(path, np.concatenate([samples for samples, _ in parts]), parts[0][1])
    shutil.rmtree(folder)


@contextmanager
def served(project: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The page in a process of its own: its address, once it answers, and the process."""
    command = [sys.executable, "-m", "distill", "ui", "--port", str(free_port()), "--project", str(project)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def opened(browser: Browser) -> Iterator[Page]:
    """A page in a context of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(300_000)
    try:
        yield context.new_page()
    finally:
        context.close()


def tab(page: Page, name: str) -> Locator:
    """The control that brings a tab to the front."""
    return page.get_by_role("tab", name=name, exact=True)


def row(what: str, milliseconds: list[float]) -> list[Any]:
    return [what, median(milliseconds), max(milliseconds)]


if __name__ == "__main__":
    main()
