"""The files that make a folder a project: this repository's own, which the wheel carries."""

from collections.abc import Iterator
from pathlib import Path
from string import Template

import distill
from distill import __version__

# What a project is made of; of a folder its sources.
DVC = (".dvc/.gitignore", ".dvc/config", ".dvcignore")
FILES = (*DVC, ".gitignore", "dvc.yaml", "flows", "prefect.toml", "prefect.yaml")
PARAMS, REQUIREMENTS = "params.yaml", "requirements.txt"
JOURNALS = ("journal/train_prior.jsonl", "journal/train_vqvae.jsonl")
CI = {"ci/train.sh": "train.sh", ".github/workflows/distill.yml": "workflow.yml"}
_PACKAGE = Path(distill.__file__).parent
_SHIPPED = _PACKAGE / "shipped" / "project"


def template_files(*, ci: bool) -> dict[str, bytes]:
    """The files of a project that belong to a version of distill, by their paths in it."""
    files = {path: _bytes(_template() / path) for name in FILES for path in _sources(name)}
    files[REQUIREMENTS] = f"distill-audio=={__version__}\n".encode()
    return dict(sorted({**files, **(_ci_files() if ci else {})}.items()))


def first_params() -> bytes:
    """The params.yaml that a project begins with, which is its own from then on."""
    return _bytes(_template() / PARAMS)


def readme(name: str, sounds: str) -> bytes:
    """The README that a project begins with, which is its own from then on."""
    text = (_SHIPPED / "README.md").read_text(encoding="utf-8")
    return Template(text).substitute(name=name, sounds=sounds).encode()


def _template() -> Path:
    """Where the files are: in an installed package, or around the package of a clone."""
    installed = _PACKAGE / "template"
    return installed if installed.is_dir() else _PACKAGE.parent


def _sources(name: str) -> Iterator[str]:
    path = _template() / name
    if not path.is_dir():
        yield name
        return
    for each in sorted(path.glob("*.py")):
        yield f"{name}/{each.name}"


def _ci_files() -> dict[str, bytes]:
    return {path: _bytes(_SHIPPED / name) for path, name in CI.items()}


def _bytes(path: Path) -> bytes:
    # The same bytes wherever it was checked out.
    return path.read_bytes().replace(b"\r\n", b"\n")
