"""The generation flow: new sounds from a model file or a registered model."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from pydantic import Field

from distill.errors import DistillError, UsageError
from distill.generation import GUIDANCE, TOP_P
from distill.generation.export import ExportSettings
from distill.generation.sampler import HOTTEST
from distill.generation.sound_request import Knob, request_of
from distill.generation.writing import Destination, produce
from distill.projects.project import find_project
from distill.registry.registry import resolve
from flows.lifeline import LocalFlow, end_with_worker
from flows.stages import artifact_key, failed_state

# One value, or one for each level.
Temperature = Annotated[float, Field(ge=0, le=HOTTEST)]
TopK = Annotated[int, Field(ge=0)]
TopP = Annotated[float, Field(gt=0, le=1)]
MinP = Annotated[float, Field(ge=0, le=1)]
KnobName = Literal["length", "attack", "bright", "noisy", "low", "pitch"]


@partial(
    LocalFlow,
    name="generate",
    flow_run_name="{count} sounds from {model}",
    validate_parameters=True,
    persist_result=False,
)
def generate(
    model: str,
    count: int = Field(4, ge=1, le=10_000),
    seconds: float = Field(3.0, gt=0, le=3600),
    seed: int = Field(0, ge=0),
    temperature: Temperature | list[Temperature] = 1.0,
    top_k: TopK | list[TopK] = 0,
    top_p: TopP | list[TopP] = TOP_P,
    min_p: MinP | list[MinP] = 0.0,
    natural: bool = False,
    label: str | None = None,
    knobs: dict[KnobName, Knob] | None = None,
    guidance: float = Field(GUIDANCE, ge=0, le=10),
    best_of: int | None = Field(None, ge=1, le=64),
    channels: Literal[1, 2] | None = None,
    width: float = Field(1.0, ge=0, le=1.5),
    bpm: float | None = Field(None, ge=20, le=999),
    bars: int | None = Field(None, ge=1, le=64),
    loop: bool = False,
    format: Literal["wav", "flac", "ogg", "mp3"] = "wav",
    sample_rate: Literal[44_100, 48_000, 96_000] | None = None,
    bits: Literal["16", "24", "32f"] | None = None,
    output: str = "generated",
    force: bool = False,
) -> list[str] | State[Any]:
    """Make new sounds.

    Args:
        model: a `.distill` file, or NAME/VERSION or NAME@ALIAS in the registry.
        count: number of sounds.
        seconds: duration of each, in s; with `natural` the greatest.
        seed: seed of the first; each further sound has the next.
        temperature: spread of the choice; 0: always the likeliest. This and the next three: one, or one for each level.
        top_k: choose among this many likeliest codes; 0: all.
        top_p: choose among the likeliest codes of this total probability; 1: all.
        min_p: leave out codes below this share of the likeliest one's probability.
        natural: end a sound where the model ends it.
        label: kind of sound, by the labels that the model learned from.
        knobs: length, attack, bright, noisy, low, pitch: from 0 to 1 among the model's sounds, or with a unit.
        guidance: how strongly label and knobs count.
        best_of: draw so many for each sound, and take the nearest; by default 3, up to 12 for a label.
        channels: 1, or 2 where the model learned from stereo sounds, which is the default there.
        width: how far apart the two channels are: from 0, alike, over 1, as learned.
        bpm: with `bars`: the tempo that a sound's duration fits, in place of `seconds`.
        bars: with `bpm`: how many bars of four beats it has.
        loop: whether its end leads into its beginning.
        format: wav, flac, ogg or mp3.
        sample_rate: in Hz; by default the model's own.
        bits: 16 with dither, 24, or 32f in wav; by default 24 where the format has bits.
        output: folder in the project, relative to it.
        force: replace existing files.

    Returns:
        The files.

    Raises:
        DistillError: the model or a setting cannot be used, or a file is in the way.
    """
    end_with_worker()
    project = find_project()
    try:
        folder = inside(project, output)
        path = resolve(model, project)
        request = request_of(
            {
                "seconds": None if bpm is not None and bars is not None else seconds,
                "bpm": bpm,
                "bars": bars,
                "loop": loop,
                "natural": natural,
                "temperature": temperature,
                "top_k": top_k,
                "top_p": top_p,
                "min_p": min_p,
                "label": label,
                "guidance": guidance,
                "best_of": best_of,
                "channels": channels,
                "width": width,
                **{str(name): value for name, value in (knobs or {}).items()},
            }
        )
        destination = Destination(folder, ExportSettings(format, sample_rate, bits), force=force)
        files = [each.path for each in produce(path, request, destination, count=count, seed=seed)]
    except DistillError as error:
        return failed_state(error)
    get_run_logger().info("%d sounds in %s", len(files), folder)
    lines = [f"- [{file.name}]({file.as_uri()})" for file in files]
    key = artifact_key("sounds", model)
    create_markdown_artifact("\n".join(lines), key=key, description=f"{len(files)} sounds from {model}")
    return [str(file) for file in files]


def inside(project: Path, output: str) -> Path:
    """A folder of the project, for what a flow writes: starting a flow must not allow writing anywhere else.

    Raises:
        UsageError: the folder is absolute, has `..` in it, or a link on its way leads out of the project.
    """
    given = Path(output)
    if "\0" not in output and not given.is_absolute() and ".." not in given.parts:
        folder = (project / given).resolve()
        if folder.is_relative_to(project.resolve()):
            return folder
    raise UsageError(f"output: {output!r} leads out of the project: name a folder in it, such as generated/drums")
