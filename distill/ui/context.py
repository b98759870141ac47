"""What every tab of the page knows: the project, who can reach the page, and how files get to the browser."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from distill.errors import UsageError
from distill.projects.project import find_project

MEDIA = "/media"


@dataclass(frozen=True)
class Context:
    """The page's surroundings; the same for everybody who opens it.

    Whoever reaches a tab may write: the server asks for the token before (see `distill.servers.token_guard`).

    Attributes:
        project: folder with `models/`, `runs/` and `data/`; absolute.
        local: only this machine reaches the page, so folders outside of the project may be named.
        key: signs the links to files; another one after each start.
        name: of this server, among those of the project.
    """

    project: Path
    local: bool = True
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    name: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def files(self) -> Path:
        """The folder of what this server keeps while it runs (see `distill.ui.server_folder`)."""
        return self.project / ".distill" / "ui" / self.name

    @property
    def desks(self) -> Path:
        """The folder of what lies on the desks of tabs, which the next server finds again (see `distill.ui.desks`)."""
        return self.project / ".distill" / "desks"

    @property
    def uploads(self) -> Path:
        """The folder of what was uploaded to this page."""
        return self.files / "uploads"

    @property
    def workspaces(self) -> Path:
        """The folder of the trainings' workspaces."""
        return self.project / "runs"

    @property
    def models(self) -> Path:
        """The folder of the model files."""
        return self.project / "models"

    @property
    def generated(self) -> Path:
        """The folder for generated sounds."""
        return self.project / "generated"

    def link(self, path: Path) -> str:
        """The address under which the page serves a sound or a picture.

        Only files that were linked are served: nobody else can make the signature in it.
        """
        absolute = path.resolve()
        return f"{MEDIA}/{self.signature(absolute)}{quote(os.fsencode(absolute))}"

    def signature(self, path: Path) -> str:
        """What the link to an absolute path is recognized by."""
        return hmac.new(self.key, os.fsencode(path), hashlib.sha256).hexdigest()

    def is_linked(self, path: Path, signature: str) -> bool:
        """Whether the page linked to an absolute path with this signature."""
        return hmac.compare_digest(signature.encode(), self.signature(path).encode())

    def uploaded(self, path: str) -> Path:
        """A file that came from a browser, which also sends what was never uploaded.

        Raises:
            UsageError: it was not uploaded to this page, or is not there any more.
        """
        found = Path(path).resolve()
        if not found.is_relative_to(self.uploads.resolve()) or not found.is_file():
            raise UsageError(f"{Path(path).name} is not among what was uploaded to this page: drop it again")
        return found

    def named(self, text: str) -> Path:
        """A file or folder that somebody named on the page: absolute, or below the project.

        Raises:
            UsageError: nothing is named, or it lies outside of the project and the page is not this machine's alone.
        """
        if not text.strip() or "\0" in text:
            raise UsageError("name a folder")
        try:
            path = (self.project / Path(text.strip()).expanduser()).resolve()
        except (RuntimeError, OSError) as error:
            raise UsageError(f"{text.strip()} is not a usable folder: {error}") from error
        if not self.local and not path.is_relative_to(self.project):
            raise UsageError(f"{text.strip()} is outside the project: drop the files instead")
        return path


def context_of(folder: Path, *, local: bool) -> Context:
    """The context of the project that a folder belongs to; without a project, of the folder itself."""
    try:
        return Context(find_project(folder), local)
    except UsageError:
        return Context(folder.resolve(), local)


def path_in(project: Path, path: Path) -> str:
    """A path as the page shows and names it: below the project, or as a whole where it lies elsewhere."""
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)
