"""The documentation as a site: built strictly, complete, and without a request to another host."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
# What a browser fetches of its own accord, and a link to follow by hand does not.
FETCHED = {
    "script": "src",
    "img": "src",
    "audio": "src",
    "source": "src",
    "video": "src",
    "iframe": "src",
    "embed": "src",
}
FETCHED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    # A process of its own: what mkdocs imports warns of what is deprecated.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Fetched(HTMLParser):
    """Addresses that a browser fetches to show a page, and the styles in it."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in FETCHED and FETCHED[tag] in given:
            self.addresses.append(given[FETCHED[tag]])
        if tag == "link" and FETCHED_LINKS & set(given.get("rel", "").split()):
            self.addresses.append(given["href"])
        self.addresses += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        self.addresses += in_styles(given.get("style", ""))


def in_styles(text: str) -> list[str]:
    """Addresses in a style sheet."""
    return re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s;]+)""", text)


def fetched(page: str) -> list[str]:
    parser = Fetched()
    parser.feed(page)
    return parser.addresses + [
        found for style in re.findall(r"<style.*?</style>", page, re.S) for found in in_styles(style)
    ]


def elsewhere(addresses: list[str]) -> list[str]:
    return [each for each in addresses if re.match(r"(?!data:)[a-z][a-z+.-]*:|//", each, re.I)]


def test_what_is_fetched_from_elsewhere_is_noticed() -> None:
    page = (
        '<link rel="preconnect" href="https://a.org"><script src="//b.org/x.js"></script><a href="https://c.org">'
        '<img src="x.png" srcset="https://d.org/y.png 2x"><style>@import "https://e.org/f.css"; '
        'i{background:url(g.png)}</style><p style="background: url(http://h.org)"><img src="data:image/png;base64,AA">'
        '<audio src="i.mp3">'
    )
    assert len(fetched(page)) == 9
    hosts = sorted(re.findall(r"[a-z]\.org", " ".join(elsewhere(fetched(page)))))
    assert hosts == ["a.org", "b.org", "d.org", "e.org", "h.org"]


def test_no_page_asks_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    asked = {str(page): elsewhere(fetched(page.read_text(encoding="utf-8"))) for page in pages}
    asked |= {sheet.name: elsewhere(in_styles(sheet.read_text(encoding="utf-8"))) for sheet in site.rglob("*.css")}
    assert not {name: found for name, found in asked.items() if found}


def test_what_a_page_shows_is_there(site: Path) -> None:
    # Of the page for wrong addresses a server is needed.
    for page in site.rglob("*.html"):
        if page.name != "404.html":
            for address in fetched(page.read_text(encoding="utf-8")):
                path = re.split(r"[?#]", address)[0]
                assert not path or path.startswith("data:") or (page.parent / path).is_file(), f"{page.name}: {address}"


def test_every_page_is_in_the_navigation_and_every_sound_has_a_player(site: Path) -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"[\w/-]+\.md$", config, re.M))
    made = {"how-to/contributing.md", "reference/changelog.md"}
    assert listed == made | {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    pages = "".join(page.read_text(encoding="utf-8") for page in site.rglob("*.html"))
    sounds = list((ROOT / "docs" / "sounds").iterdir())
    assert sounds
    for sound in sounds:
        assert re.search(rf'<audio [^>]*src="[./]*sounds/{sound.name}"', pages), sound.name


def test_pages_out_of_docs_link_within_the_site(site: Path) -> None:
    contributing = (site / "how-to" / "contributing.html").read_text(encoding="utf-8")
    assert 'href="../reference/pipeline.html#layers"' in contributing
    assert 'href="../repository/pyproject.toml.txt"' in contributing
    assert (site / "repository" / "pyproject.toml.txt").read_bytes() == (ROOT / "pyproject.toml").read_bytes()
    assert 'href="../sounds/kit.zip"' in (site / "tutorial" / "first-model.html").read_text(encoding="utf-8")


def test_the_build_goes_where_git_does_not_look() -> None:
    assert "/site/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "site_dir" not in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


@pytest.mark.browser
def test_the_folder_opens_in_a_browser_and_can_be_searched(site: Path, chromium: "Browser") -> None:
    asked: list[str] = []
    for width, scheme in ((1280, "light"), (390, "dark")):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: asked.append(str(error)))
        for name in ("index", "tutorial/first-model", "reference/parameters", "reference/api", "reference/commands"):
            page.goto(f"file://{site}/{name}.html")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert [each for each in asked if not each.startswith(("file:", "data:", "blob:"))] == []
        if width > 1000:
            page.click("input.md-search__input")
            page.keyboard.type("griffin", delay=20)
            page.locator(".md-search-result__item").first.wait_for()
