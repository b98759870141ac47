"""`distill generate`."""

from pathlib import Path
from typing import Annotated

import typer

from distill.cli.console import Json, Quiet, Verbose, print_result, set_up_logging


def generate(
    model: Annotated[Path, typer.Argument(help="Model file.", show_default=False)],
    count: Annotated[int, typer.Option("-n", "--count", help="Number of sounds.")] = 1,
    duration: Annotated[float, typer.Option("--duration", "-d", help="Duration of each sound, in s.")] = 3.0,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the sounds.")] = Path("generated"),
    temperature: Annotated[float, typer.Option(help="Spread of the choice; 0: always the likeliest.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Choose among this many likeliest codes; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Choose among the likeliest codes of this total probability.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the first sound; each further sound has the next.")] = 0,
    format: Annotated[str, typer.Option("--format", help="wav, flac, ogg or mp3.")] = "wav",
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Generate new sounds."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.generation.render import generate as render
    from distill.generation.render import write_sounds
    from distill.generation.sampling import SamplingConfig

    config = SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p)
    sounds = render(model, count=count, seconds=duration, seed=seed, config=config, device=device)
    paths = write_sounds(output, sounds, stem=model.stem, format=format, force=force)
    values = {
        "model": str(model),
        "sounds": [
            {"path": str(path), "seed": sound.seed, "seconds": len(sound.samples) / sound.sample_rate}
            for path, sound in zip(paths, sounds, strict=True)
        ],
    }
    print_result([str(path) for path in paths], values, as_json=as_json)
