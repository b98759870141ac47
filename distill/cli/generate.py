"""`distill generate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.cli.console import Json, Project, Quiet, Verbose, loading, print_result, remark, set_up_logging
from distill.cli.options import Channels, Device, Force, Width, given_options, model_file, option, refuse
from distill.cli.progress import shown_progress
from distill.cli.sounds import Folder, Format, Sidecars, facts_of, make_and_print
from distill.errors import UsageError
from distill.generation import GUIDANCE, TOP_P
from distill.live.events import Progress

if TYPE_CHECKING:
    from distill.generation.sound_request import Request

DEFAULT_SECONDS = 3.0
DEFAULT_DRAWN = 4
# The options that go with --from-sidecar; those for new sounds only; the label and the knobs.
FROM_SIDECAR = frozenset(
    {"reference", "file", "other", "output", "sidecar", "force", "device", "project", "as_json", "quiet", "verbose"}
)
NEW = frozenset({"bpm", "bars", "loop", "keep_best", "drawn"})
KNOBS = ("length", "attack", "bright", "noisy", "low", "pitch")
ASKED = frozenset({"label", *KNOBS})
KNOB = "0 to 1, as a rank among the training sounds, or with a unit"
PER_LEVEL = "one value, or one per level, separated by commas"


def generate(
    context: typer.Context,
    reference: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Model: a file, a name, or NAME/VERSION or NAME@ALIAS in the registry (default: the model of the "
            "project, or of the sidecar).",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", help="Number of sounds.")] = 1,
    duration: Annotated[
        float, typer.Option("--duration", "-d", help="Duration of each sound, or of its new part, in s.")
    ] = DEFAULT_SECONDS,
    bpm: Annotated[float | None, option(help="With --bars: tempo in beats per minute.", min=20, max=999)] = None,
    bars: Annotated[int | None, option(help="With --bpm: number of bars of four beats.", min=1, max=64)] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Make new sounds that loop seamlessly.")] = False,
    keep_best: Annotated[
        int | None,
        option(
            help="Keep this many of the sounds drawn: near the request, unlike the training sounds and each other.",
            min=1,
        ),
    ] = None,
    drawn: Annotated[
        int | None,
        option("--of", help="With --keep-best: sounds to draw, at most 512 (default: four times as many).", min=2),
    ] = None,
    natural: Annotated[
        bool | None,
        option(
            "--natural/--chain",
            help="End each sound where the model ends it, within the duration; or fill the duration with one sound "
            "after another (default: --natural if the training sounds end by themselves).",
        ),
    ] = None,
    as_made: Annotated[bool, typer.Option("--as-made", help="Do not trim, fade in or level new sounds.")] = False,
    seed: Annotated[
        int | None,
        option(help="Seed of the first sound; further sounds count up (default: after the existing files, or 0)."),
    ] = None,
    temperature: Annotated[
        str, typer.Option(help=f"Sampling temperature, 0 (always the likeliest code) to 10; {PER_LEVEL}.")
    ] = "1",
    top_k: Annotated[str, typer.Option(help=f"Choose among this many likeliest codes; 0: all; {PER_LEVEL}.")] = "0",
    top_p: Annotated[
        str, typer.Option(help=f"Choose among the likeliest codes with this total probability; 1: all; {PER_LEVEL}.")
    ] = str(TOP_P),
    min_p: Annotated[
        str, typer.Option(help=f"Drop codes below this share of the likeliest code's probability; {PER_LEVEL}.")
    ] = "0",
    label: Annotated[str | None, option(help="Kind of sound: one of the labels that the model learned.")] = None,
    length: Annotated[str | None, option(help=f"How long: {KNOB}, such as 0.3s.")] = None,
    attack: Annotated[str | None, option(help=f"How slowly it begins: {KNOB}, such as 20ms.")] = None,
    bright: Annotated[str | None, option(help=f"How bright: {KNOB}, such as 2kHz.")] = None,
    noisy: Annotated[str | None, option(help="How noisy: 0 to 1, as a rank among the training sounds.")] = None,
    low: Annotated[str | None, option(help=f"How much of the sound is below 150 Hz: {KNOB}, such as -12dB.")] = None,
    pitch: Annotated[str | None, option(help=f"How high: {KNOB}, such as 55Hz, or a note, such as A1.")] = None,
    guidance: Annotated[
        float,
        typer.Option(
            help="How much more label and knobs count than the prior alone makes of them; 0: no more, twice as fast.",
            min=0.0,
            max=10.0,
        ),
    ] = GUIDANCE,
    best_of: Annotated[
        int | None,
        option(
            help="Draw this many candidates for each sound, and take the one nearest to the request "
            "(default: 3, up to 12 for a label).",
            min=1,
            max=64,
        ),
    ] = None,
    channels: Channels = None,
    width: Width = 1.0,
    continued: Annotated[Path | None, option("--continue", help="Continue this sound, which stays unchanged.")] = None,
    fill: Annotated[str | None, option(metavar="START:END", help="Make this part of --file again, in s.")] = None,
    file: Annotated[Path | None, option(help="Sound to fill; or new place of a sidecar's given sound.")] = None,
    other: Annotated[Path | None, option(help="The new place of the second sound that a sidecar names.")] = None,
    levels: Annotated[
        str | None, option(help="With --fill: change only these levels, by name or number from 0.")
    ] = None,
    output: Folder = Path("generated"),
    format: Format = "wav",
    sample_rate: Annotated[int | None, option(help="44100, 48000 or 96000 Hz (default: the sound's own).")] = None,
    bits: Annotated[str | None, option(help="16 with dither, 24, or 32f in wav (default: 24).")] = None,
    sidecar: Sidecars = True,
    from_sidecar: Annotated[Path | None, option(help="Make the sound of this JSON file again.")] = None,
    force: Force = False,
    device: Device = "cpu",
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make new sounds, continue a sound, or make a part of it again."""
    set_up_logging(quiet=quiet, verbose=verbose)
    given = given_options(context)
    if from_sidecar is not None:
        refuse(given - FROM_SIDECAR - {"from_sidecar"}, context, "--from-sidecar has all settings: omit {}")
        from distill.generation.remaking import remake

        done = remake(
            from_sidecar,
            folder=output,
            model=None if reference is None else model_file(reference, project),
            source=file,
            other=other,
            sidecars=sidecar,
            force=force,
            device=device if "device" in given else None,
        )
        facts = {"sidecar": str(from_sidecar), "identical": done.identical, "sounds": [facts_of(done.written)]}
        print_result([str(done.written.path)], facts, as_json=as_json)
        return
    _check(context, given)
    with loading():
        from distill.generation.export import ExportSettings
        from distill.generation.writing import Destination, free_seeds, produce

    model = model_file(reference, project)
    destination = Destination(output, ExportSettings(format, sample_rate, bits), sidecar, force)
    request = _request(context.params, model)
    if natural is None and request.action == "generate" and not (loop or bpm is not None):
        # What is wrong with the call is reported before what is wrong with the model.
        request.check(count=count, seed=seed or 0)
        request = request.model_copy(update={"natural": _ends_by_itself(model)})
    seeds = None
    if keep_best is not None:
        of = drawn or DEFAULT_DRAWN * keep_best
        request.check(count=of, seed=seed or 0)
        first = free_seeds(model.stem, destination, count=of, seed=seed)[0]
        seeds = _best(model, request, keep_best, of, first, device, project)
        count = len(seeds)
    sounds = produce(
        model, request, destination, count=count, seed=seed, seeds=seeds, source=continued or file, device=device
    )
    make_and_print("generate", model, sounds, count, as_json=as_json)


def _check(context: typer.Context, given: set[str]) -> None:
    """Refuse options that do not go together."""
    continues, fills = "continued" in given, "fill" in given
    refuse(given & {"other"}, context, "{} needs --from-sidecar")
    if continues and fills:
        raise UsageError("--continue and --fill do not work together: fill first, then continue the result")
    if fills != ("file" in given):
        raise UsageError("--fill START:END and --file FILE belong together")
    if fills:
        refuse(given & {"duration", "natural", "as_made"}, context, "--fill takes its duration from START:END: omit {}")
    else:
        refuse(given & {"levels"}, context, "{} needs --fill")
    if continues or fills:
        refuse(given & (NEW | ASKED | {"guidance", "best_of", "as_made"}), context, "{} is only for new sounds")
        refuse(
            given & {"channels"}, context, "{} is only for new sounds: the result has the channels of the given sound"
        )
    if not given & ASKED:
        refuse(given & {"guidance", "best_of"}, context, "{} needs a label or a knob")
    if ("bpm" in given) != ("bars" in given):
        raise UsageError("--bpm and --bars belong together")
    if {"bpm", "bars"} <= given:
        refuse(given & {"duration"}, context, "--bpm and --bars set the duration: omit {}")
    if context.params["natural"] and (context.params["loop"] or "bpm" in given):
        raise UsageError("--natural does not work with --bpm, --bars or --loop")
    if "keep_best" in given:
        refuse(given & {"count"}, context, "--keep-best sets the number of sounds: omit {}")
    elif "drawn" in given:
        raise UsageError("--of needs --keep-best")


def _request(values: dict[str, Any], model: Path) -> "Request":
    """What the options ask of the model."""
    from distill.generation.sound_request import request_of

    sampling = {
        "temperature": _per_level("--temperature", values["temperature"], float),
        "top_k": _per_level("--top-k", values["top_k"], int),
        "top_p": _per_level("--top-p", values["top_p"], float),
        "min_p": _per_level("--min-p", values["min_p"], float),
        "width": values["width"],
    }
    if values["fill"] is not None:
        start, end = _part(values["fill"])
        return request_of(
            {"action": "fill", "start": start, "end": end, "levels": _levels(values["levels"], model), **sampling}
        )
    is_new, in_bars = values["continued"] is None, values["bpm"] is not None and values["bars"] is not None
    return request_of(
        {
            "action": "generate" if is_new else "continue",
            "seconds": None if in_bars else values["duration"],
            "natural": bool(values["natural"]),
            "finish": is_new and not values["as_made"],
            **{name: values[name] for name in ("bpm", "bars", "loop", "label", "guidance", "best_of", "channels")},
            **{name: _knob(name, values[name]) for name in KNOBS},
            **sampling,
        }
    )


def _best(
    model: Path, request: "Request", keep: int, of: int, seed: int, device: str, project: Path | None
) -> tuple[int, ...]:
    """The seeds of the best of many sounds."""
    from distill.library.best import best_seeds
    from distill.projects.project import current_project

    with shown_progress() as tell:
        best = best_seeds(
            model,
            request,
            keep=keep,
            of=of,
            seed=seed,
            project=current_project(project),
            device=device,
            tell=lambda done, count: tell(Progress("draw", done, count, "sounds")),
        )
    if not best.compared:
        remark("Note", "the training sounds of the model are not available here: nothing was compared with them")
    return best.seeds


def _ends_by_itself(model: Path) -> bool:
    """Whether a model's sounds do."""
    from distill.artifact.model_file import read_manifest
    from distill.generation.ending import ends_by_itself

    return ends_by_itself(read_manifest(model))


def _per_level(option: str, text: str, kind: type) -> Any:
    """A number, or a tuple of them where there are commas."""
    try:
        numbers = tuple(kind(word) for word in text.split(","))
    except ValueError as error:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"{option} {text}: expected {what}, or one per level, separated by commas") from error
    return numbers[0] if len(numbers) == 1 else numbers


def _knob(name: str, text: str | None) -> float | str | None:
    """A number, or the text where a unit or a note stands in it."""
    try:
        number = None if text is None else float(text)
    except ValueError:
        return text
    if number is not None and not 0.0 <= number <= 1.0:
        raise UsageError(f"--{name} {text}: without a unit, it must be between 0 and 1")
    return number


def _part(text: str) -> tuple[float, float]:
    try:
        start, end = map(float, text.split(":"))
    except ValueError as error:
        raise UsageError(f"--fill {text}: expected START:END in seconds, such as 0.5:1.25") from error
    return start, end


def _levels(text: str | None, model: Path) -> tuple[int, ...] | None:
    if text is None:
        return None
    from distill.artifact.model_file import read_manifest
    from distill.models.levels import parse_levels

    return parse_levels(text, read_manifest(model).level_labels)
