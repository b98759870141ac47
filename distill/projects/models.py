"""Model files by their path or their name, from any folder."""

from contextlib import suppress
from pathlib import Path

from distill.artifact.model_file import EXTENSION, MODEL_FILES
from distill.errors import DistillError, UsageError
from distill.projects.project import home

MODELS = "models"


def model_places(project: Path) -> list[Path]:
    """The folders in which a model is looked for by its name: the project's, then the user's own."""
    return list(dict.fromkeys([project / MODELS, home() / MODELS]))


def named_file(reference: str, project: Path) -> Path | None:
    """The model file that a path or a plain name means; None: only the registry can know it."""
    path = Path(reference)
    # A text too long for a file's name is no name.
    with suppress(OSError, ValueError):
        if path.is_file() or path.suffix == EXTENSION:
            return path
        if reference and path.name == reference and "@" not in reference:
            named = [folder / f"{reference}{EXTENSION}" for folder in model_places(project)]
            return next((each for each in named if each.is_file()), None)
    return None


def default_file(project: Path) -> Path:
    """The model that is meant where none is named: that of params.yaml, or else the only one.

    Raises:
        UsageError: there is none, or there are several.
    """
    # A command that is given its model needs no parameters.
    from distill.params import read_params

    folder = project / MODELS
    found = sorted(folder.glob(MODEL_FILES))
    with suppress(DistillError):
        own = folder / f"{read_params(project / 'params.yaml').model.name}{EXTENSION}"
        found = [own] if own in found else found
    if len(found) == 1:
        return found[0]
    known = found or sorted((home() / MODELS).glob(MODEL_FILES))
    named = f"{', '.join(path.stem for path in known[:5])}{', ...' if len(known) > 5 else ''}"
    place = f"{folder} has none" if not known else f"{named} in {known[0].parent}"
    raise UsageError(f"name a model: {place}")
