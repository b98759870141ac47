"""The generation flow: new sounds from a model file or a registered model."""

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from pydantic import Field

from distill.errors import DistillError
from distill.generation.render import generate as render
from distill.generation.render import write_sounds
from distill.generation.sampling import SamplingConfig
from distill.library.registry import resolve
from distill.projects.project import find_project
from flows.lifeline import end_with_worker
from flows.stages import failed


@flow(name="generate", flow_run_name="{count} sounds from {model}", validate_parameters=True, persist_result=False)
def generate(
    model: str,
    count: int = Field(4, ge=1, le=10_000),
    seconds: float = Field(3.0, gt=0, le=3600),
    seed: int = Field(0, ge=0),
    temperature: float = Field(1.0, ge=0, le=10),
    top_k: int = Field(0, ge=0),
    top_p: float = Field(1.0, gt=0, le=1),
    format: str = Field("wav", pattern="^(wav|flac|ogg|mp3)$"),
    output: str = "generated",
    force: bool = False,
) -> list[str] | State[Any]:
    """Make new sounds.

    Args:
        model: a `.distill` file, or NAME/VERSION or NAME@ALIAS in the registry.
        count: number of sounds.
        seconds: duration of each, in s.
        seed: seed of the first; each further sound has the next.
        temperature: spread of the choice; 0: always the likeliest.
        top_k: choose among this many likeliest codes; 0: all.
        top_p: choose among the likeliest codes of this total probability.
        format: wav, flac, ogg or mp3.
        output: folder, relative to the project.
        force: replace existing files.

    Returns:
        The files.

    Raises:
        DistillError: the model or a setting cannot be used, or a file is in the way.
    """
    end_with_worker()
    project = find_project()
    try:
        path = resolve(model, project)
        config = SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p)
        sounds = render(path, count=count, seconds=seconds, seed=seed, config=config)
        files = write_sounds(project / output, sounds, stem=path.stem, format=format, force=force)
    except DistillError as error:
        return failed(error)
    get_run_logger().info("%d sounds in %s", len(files), project / output)
    lines = [f"- [{file.name}]({file.as_uri()})" for file in files]
    create_markdown_artifact("\n".join(lines), key="sounds", description=f"{len(files)} sounds from {model}")
    return [str(file) for file in files]
