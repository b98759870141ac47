"""What the commands that make sounds share: where the sounds go, and what is printed about them."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.cli.console import print_result
from distill.cli.progress import shown_progress
from distill.live.events import Progress

if TYPE_CHECKING:
    from distill.generation.writing import Written

Folder = Annotated[Path, typer.Option("--output", "-o", help="Folder for the sounds.")]
Format = Annotated[str, typer.Option("--format", help="wav, flac, ogg or mp3.")]
Sidecars = Annotated[
    bool,
    typer.Option(
        "--sidecar/--no-sidecar",
        help="Write a JSON file beside each sound, from which generate --from-sidecar makes it again.",
    ),
]


def make_and_print(stage: str, model: Path, sounds: Iterable["Written"], count: int, *, as_json: bool) -> None:
    """Make sounds one after the other, and print where they are, also if a later one cannot be made."""
    # Not the sounds themselves: thousands of them would keep all their codes.
    paths: list[str] = []
    made: list[dict[str, Any]] = []
    try:
        with shown_progress() as tell:
            for each in sounds:
                paths.append(str(each.path))
                made.append(facts_of(each))
                tell(Progress(stage, len(made), count, "sounds"))
    finally:
        if made:
            print_result(paths, {"model": str(model), "sounds": made}, as_json=as_json)


def facts_of(written: "Written") -> dict[str, Any]:
    """A written sound as `--json` prints it."""
    exported = written.exported
    return {
        "path": str(written.path),
        "sidecar": None if written.sidecar is None else str(written.sidecar),
        "seed": written.seed,
        "seconds": written.seconds,
        "sample_rate": exported.sample_rate,
        "gain_db": exported.gain_db,
        "peak_db": exported.peak_db,
        **({} if written.got is None else written.got.model_dump()),
    }
