"""Names that try to be more than names, and what a page about datasets may be made of."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

HOSTILE = (
    "<img src=x onerror=alert(1)>.wav",
    "</script><script>alert(1)<∕script>.wav",
    "a\"b'c&amp;.wav",
    "javascript:alert(1).wav",
    "$body ${title} #part?query%41.wav",
    "left\u202egnp.wav",
    "line\nbreak.wav",
)
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "script", "h1", "h2", "p", "ul", "li", "div", "table", "tbody"),
    *("tr", "th", "td", "a", "bdi", "b", "button", "span", "figure", "figcaption", "svg", "rect", "line", "path"),
}


class Reader(HTMLParser):
    """What a page is made of."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text, self.script = "", ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script" and not self.script:
            self.script = data
        elif self.tags and self.tags[-1] not in ("style", "script"):
            self.text += data

    def of(self, name: str) -> list[str]:
        return [value for each, value in self.attributes if each == name]


def harmless(page: Reader) -> None:
    """A page has nothing but its own parts: no address elsewhere, one script, which its policy names."""
    assert set(page.tags) - {"title"} <= TAGS
    assert page.tags.count("script") == 1
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]
    assert not [address for address in page.of("href") + page.of("data-sound") if re.search(r"[:\"'<>?#]|^//", address)]
    digest = b64encode(sha256(page.script.encode()).digest()).decode()
    assert any("default-src 'none'; " in each and f"'sha256-{digest}'" in each for each in page.of("content"))
