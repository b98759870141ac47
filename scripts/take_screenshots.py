"""Take the pictures of the page that README and docs show, in Chromium, on a project with a sketch of bundled sounds.

    python scripts/take_screenshots.py                          # into docs/images
    python scripts/take_screenshots.py --project P --output O --dark --width 390

The sketch is trained through the page, as a newcomer would, unless the project has one: that takes some minutes.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
SOUNDS = ROOT / "sounds"
# Learning takes its time on a machine that has other work; in ms.
LONG = 3_600_000
# What is shown of each tab, as the greatest height in pixels.
HEIGHTS = {"start": 1020, "train": 1000, "monitor": 1160, "generate": 1300, "takes": 860, "codes": 860}
SETTLED_MS = 1500


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--project", type=Path, help="folder that the page is opened on [default: a temporary one]")
    options.add_argument("--output", type=Path, default=ROOT / "docs" / "images", help="folder of the pictures")
    options.add_argument("--dark", action="store_true", help="the dark theme")
    options.add_argument("--width", type=int, default=1120, help="of the window, in pixels")
    args = options.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as temporary,
        # Its name is in the pictures.
        served(args.project or Path(temporary) / "drums") as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": args.width, "height": 900}, color_scheme="dark" if args.dark else "light"
        )
        page.set_default_timeout(LONG)
        page.goto(address)
        for name, show in SHOWN.items():
            page.get_by_role("tab", name=name.capitalize(), exact=True).click()
            show(page)
            page.wait_for_timeout(SETTLED_MS)
            take(page, args.output / f"page-{name}.png", HEIGHTS[name])
        browser.close()


@contextmanager
def served(project: Path) -> Iterator[str]:
    """The page on the bundled sounds in a process of its own; its address."""
    sounds = project / "data" / "bundled"
    if not sounds.exists():
        shutil.copytree(SOUNDS, sounds)
    begun = (project / "runs").exists()
    command = [sys.executable, "-m", "distill", "start", "--no-browser", "--port", "5077", "--project", str(project)]
    process = subprocess.Popen(
        [*command, *([] if begun else [str(sounds)])],
        env={**os.environ, "DISTILL_TRACKING": "off"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def start(page: Page) -> None:
    wall = page.get_by_text(re.compile("^16 new sounds of"))
    page.locator("#start-go").or_(wall).locator("visible=true").first.wait_for()
    if not wall.is_visible():
        page.get_by_label(re.compile("Sketch")).check()
        page.locator("#start-go").click()
        wall.wait_for()
    page.locator("#start-live .d-wall").first.locator(".d-card").nth(15).wait_for()


def train(page: Page) -> None:
    page.locator(".d-live svg, distill-live svg").locator("visible=true").first.wait_for()
    sounds = page.locator("#train-sounds input")
    sounds.click()
    page.get_by_role("option").first.click()


def monitor(page: Page) -> None:
    page.get_by_label("Rebuilding").check()
    page.locator(".d-segment").locator("visible=true").first.wait_for()


def generate(page: Page) -> None:
    page.get_by_label("Number of sounds").first.fill("3")
    page.locator("#generate-go").click()
    page.locator("#generate-status").get_by_text("3 sounds in").wait_for()


def takes(page: Page) -> None:
    page.locator("#takes-list .d-entry").first.wait_for()


def codes(page: Page) -> None:
    page.get_by_role("tab", name="Start", exact=True).click()
    page.locator("#start-live .d-wall").first.get_by_text("To the codes").nth(5).click()
    cells = page.locator("#codes-grid .cells")
    cells.wait_for()
    cells.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowDown"):
        page.keyboard.press(key)


SHOWN: dict[str, Callable[[Page], None]] = {
    "start": start,
    "train": train,
    "monitor": monitor,
    "generate": generate,
    "takes": takes,
    "codes": codes,
}


def take(page: Page, path: Path, height: int) -> None:
    """A picture of the top of the page, in few colours: that is enough, and small."""
    page.mouse.move(0, 0)
    size = page.viewport_size
    assert size is not None
    tall = page.evaluate("document.documentElement.scrollHeight")
    shown = min(height, tall)
    page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": size["width"], "height": shown})
    Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
