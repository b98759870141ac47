"""What models sound like: a few sounds of each by the same seeds, made once and found again."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from distill.artifact.model_file import read_manifest
from distill.generation.ending import ends_by_itself
from distill.generation.sound_request import Request
from distill.generation.writing import Destination, produce
from distill.library.takes import Take, Takes
from distill.ui.cards import render_template, sound_values
from distill.ui.context import Context
from distill.ui.results import HEARD

COUNT, SECONDS = 8, 2.0


def audition(models: Sequence[tuple[str, Path]], context: Context) -> Iterator[str]:
    """The sounds of models as rows, of the same seeds below each other; a new text whenever there is one more.

    Args:
        models: what people call each, and its file.
        context: the page's surroundings.

    Raises:
        ArtifactError: a model cannot be used, or generates nothing.
        StorageError: a file cannot be read or written.
    """
    manifests = [read_manifest(path) for _, path in models]
    places = [f"{HEARD}{manifest.tensor_digest[:16]}" for manifest in manifests]

    def rows() -> str:
        every = Takes(context.project).all()
        found = (sorted((take for take in every if take.id.startswith(f"{place}/")), key=_seed) for place in places)
        return "".join(_row(name, takes, context) for (name, _), takes in zip(models, found, strict=True))

    for (_, path), manifest, place in zip(models, manifests, places, strict=True):
        folder = context.generated / place
        request = Request(seconds=SECONDS, natural=ends_by_itself(manifest), finish=True)
        for seed in range(COUNT):
            if any(folder.glob(f"*_{seed:04d}.wav")):
                continue
            # Each by itself, so that what was begun is gone on with. Of a sound that is gone a sidecar may be left.
            list(produce(path, request, Destination(folder, force=True), seed=seed))
            yield rows()
    yield rows()


def _seed(take: Take) -> str:
    return take.path.stem.rpartition("_")[2]


def _row(name: str, takes: Sequence[Take], context: Context) -> str:
    sounds = "".join(
        render_template(
            "heard",
            name=f"{name}, seed {int(_seed(take))}",
            **sound_values(take.path, context),
        )
        for take in takes
    )
    left = COUNT - len(takes)
    more = f'<p class="d-hint">{left} more are being made …</p>' if left > 0 else ""
    return f'<section class="d-heard-row"><h4>{escape(name)}</h4><div>{sounds}</div>{more}</section>'
