"""What the documentation takes from outside of docs/: pages, the files that pages link to, the bundled sounds as a zip.

MkDocs calls the functions; mkdocs.yml names this file.
"""

import io
import posixpath
import re
import zipfile
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
# Pages that stand where everybody looks for them in a repository, and where they are on the site.
PAGES = {"CONTRIBUTING.md": "how-to/contributing.md", "CHANGELOG.md": "reference/changelog.md"}
SOURCES = {page: source for source, page in PAGES.items()}
# Files that pages link to, as text that every browser shows; of the folder of sounds a zip.
COPIES = "repository"
KEPT_AS_THEY_ARE = (".ipynb", ".md")
SOUNDS, SOUNDS_ZIP = "sounds", "sounds/kit.zip"

LINK = re.compile(r"\]\(([^)\s]+)\)")
SOUND_LINK = re.compile(r'<a href="([^"]+\.mp3)">(.*?)</a>')


def on_files(files: Files, config: Any) -> Files:
    """Add what is outside of docs/ and linked to."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for outside in sorted({path for file in files.documentation_pages() for path in _outside(file)}):
        files.append(File.generated(config, _copy(outside), abs_src_path=str(ROOT / outside)))
    files.append(File.generated(config, SOUNDS_ZIP, content=_sounds()))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Lead links out of docs/ to what stands for their targets on the site."""
    here = page.file.src_uri
    return LINK.sub(lambda match: f"]({_led(match[1], here)})", markdown)


def on_page_content(html: str, page: Page, config: Any, files: Files) -> str:
    """Turn links to sounds into players."""
    player = r'<span class="sound"><audio controls preload="metadata" src="\1"></audio>\2</span>'
    return SOUND_LINK.sub(player, html)


def _outside(file: File) -> list[str]:
    """Files of the repository outside of docs/ that a page links to."""
    targets = [_in_repository(target, file.src_uri) for target in LINK.findall(file.content_string)]
    return [path for path in targets if path and not path.startswith("docs/") and path not in (*PAGES, SOUNDS)]


def _led(target: str, here: str) -> str:
    path = _in_repository(target, here)
    if not path:
        return target
    there = path.removeprefix("docs/") if path.startswith("docs/") else PAGES.get(path) or _copy(path)
    mark = target.partition("#")[1] + target.partition("#")[2]
    return posixpath.relpath(there, posixpath.dirname(here)) + mark


def _in_repository(target: str, here: str) -> str:
    """Path in the repository of a link's target; empty where it is elsewhere or on the same page."""
    path = target.partition("#")[0]
    if not path or "://" in target or target.startswith("mailto:"):
        return ""
    source = SOURCES.get(here, f"docs/{here}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), path))


def _copy(path: str) -> str:
    if path == SOUNDS:
        return SOUNDS_ZIP
    return f"{COPIES}/{path}" if path.endswith(KEPT_AS_THEY_ARE) else f"{COPIES}/{path}.txt"


def _sounds() -> bytes:
    """The bundled sounds in a folder `kit`, the same bytes each time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for sound in sorted((ROOT / "sounds").glob("*.flac")):
            archive.writestr(zipfile.ZipInfo(f"kit/{sound.name}"), sound.read_bytes())
    return packed.getvalue()
