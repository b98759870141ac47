"""`distill generate`."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.cli.console import Json, Project, Quiet, Verbose, loading, print_result, remark, set_up_logging
from distill.cli.grids import Channels, Width, resolved
from distill.cli.progress import shown_progress
from distill.errors import UsageError
from distill.generation import GUIDANCE, TOP_P
from distill.live.events import Progress

if TYPE_CHECKING:
    from distill.generation.sound_request import Request
    from distill.generation.writing import Written

DEFAULT_SECONDS = 3.0
DEFAULT_DRAWN = 4
FROM_SIDECAR = frozenset(
    {"reference", "file", "other", "output", "sidecar", "force", "device", "project", "as_json", "quiet", "verbose"}
)

NEW = frozenset({"bpm", "bars", "loop", "keep_best", "drawn"})
ASKED = frozenset({"label", "length", "attack", "bright", "noisy", "low", "pitch"})
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
    bpm: Annotated[
        float | None,
        typer.Option(help="With --bars: tempo in beats per minute.", min=20, max=999, show_default=False),
    ] = None,
    bars: Annotated[
        int | None,
        typer.Option(help="With --bpm: number of bars of four beats.", min=1, max=64, show_default=False),
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Make new sounds that loop seamlessly.")] = False,
    keep_best: Annotated[
        int | None,
        typer.Option(
            "--keep-best",
            help="Keep this many of the sounds drawn: near the request, unlike the training sounds and each other.",
            min=1,
            show_default=False,
        ),
    ] = None,
    drawn: Annotated[
        int | None,
        typer.Option(
            "--of", help="With --keep-best: sounds to draw (default: four times as many).", min=2, show_default=False
        ),
    ] = None,
    natural: Annotated[
        bool | None,
        typer.Option(
            "--natural/--chain",
            help="End each sound where the model ends it, within the duration; or fill the duration with one sound "
            "after another (default: --natural if the training sounds end by themselves).",
            show_default=False,
        ),
    ] = None,
    as_made: Annotated[
        bool,
        typer.Option("--as-made", help="Do not trim, fade in or level new sounds."),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the first sound; further sounds count up (default: after the existing files, or 0).",
            show_default=False,
        ),
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
    label: Annotated[
        str | None,
        typer.Option(help="Kind of sound: one of the labels that the model learned.", show_default=False),
    ] = None,
    length: Annotated[str | None, typer.Option(help=f"How long: {KNOB}, such as 0.3s.", show_default=False)] = None,
    attack: Annotated[
        str | None, typer.Option(help=f"How slowly it begins: {KNOB}, such as 20ms.", show_default=False)
    ] = None,
    bright: Annotated[str | None, typer.Option(help=f"How bright: {KNOB}, such as 2kHz.", show_default=False)] = None,
    noisy: Annotated[
        str | None, typer.Option(help="How noisy: 0 to 1, as a rank among the training sounds.", show_default=False)
    ] = None,
    low: Annotated[
        str | None,
        typer.Option(help=f"How much of the sound is below 150 Hz: {KNOB}, such as -12dB.", show_default=False),
    ] = None,
    pitch: Annotated[
        str | None,
        typer.Option(help=f"How high: {KNOB}, such as 55Hz, or a note, such as A1.", show_default=False),
    ] = None,
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
        typer.Option(
            "--best-of",
            help="Draw this many candidates for each sound, and take the one nearest to the request "
            "(default: 3, up to 12 for a label).",
            min=1,
            max=64,
            show_default=False,
        ),
    ] = None,
    channels: Channels = None,
    width: Width = 1.0,
    continued: Annotated[
        Path | None, typer.Option("--continue", help="Continue this sound, which stays unchanged.", show_default=False)
    ] = None,
    fill: Annotated[
        str | None,
        typer.Option("--fill", metavar="START:END", help="Make this part of --file again, in s.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Sound to fill; or new place of a sidecar's given sound.", show_default=False),
    ] = None,
    other: Annotated[
        Path | None,
        typer.Option("--other", help="The new place of the second sound that a sidecar names.", show_default=False),
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            "--levels", help="With --fill: change only these levels, by name or number from 0.", show_default=False
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the sounds.")] = Path("generated"),
    format: Annotated[str, typer.Option("--format", help="wav, flac, ogg or mp3.")] = "wav",
    sample_rate: Annotated[
        int | None,
        typer.Option("--sample-rate", help="44100, 48000 or 96000 Hz (default: the sound's own).", show_default=False),
    ] = None,
    bits: Annotated[
        str | None,
        typer.Option("--bits", help="16 with dither, 24, or 32f in wav (default: 24).", show_default=False),
    ] = None,
    sidecar: Annotated[
        bool,
        typer.Option("--sidecar/--no-sidecar", help="Write a JSON file beside each sound, for --from-sidecar."),
    ] = True,
    from_sidecar: Annotated[
        Path | None, typer.Option("--from-sidecar", help="Make the sound of this JSON file again.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make new sounds, continue a sound, or make a part of it again."""
    set_up_logging(quiet=quiet, verbose=verbose)
    given = {name for name in context.params if _is_given(context, name)}
    if from_sidecar is not None:
        _refuse(given - FROM_SIDECAR - {"from_sidecar"}, context, "--from-sidecar has all settings: omit {}")
        model = None if reference is None else resolved(reference, project)
        _remake(
            from_sidecar, model, file, other, output, sidecar, force, device if "device" in given else None, as_json
        )
        return
    _refuse(given & {"other"}, context, "{} needs --from-sidecar")
    if continued is not None and fill is not None:
        raise UsageError("--continue and --fill do not work together: fill first, then continue the result")
    if (fill is None) != (file is None):
        raise UsageError("--fill START:END and --file FILE belong together")
    if fill is None:
        _refuse(given & {"levels"}, context, "{} needs --fill")
    else:
        _refuse(
            given & {"duration", "natural", "as_made"}, context, "--fill takes its duration from START:END: omit {}"
        )
    with loading():
        from distill.generation.export import ExportSettings
        from distill.generation.sound_request import request_of
        from distill.generation.writing import Destination, free_seeds, produce

    model = resolved(reference, project)
    settings = ExportSettings(format, sample_rate, bits)
    numbers = {
        "temperature": _per_level("--temperature", temperature, float),
        "top_k": _per_level("--top-k", top_k, int),
        "top_p": _per_level("--top-p", top_p, float),
        "min_p": _per_level("--min-p", min_p, float),
    }
    if fill is not None or continued is not None:
        _refuse(given & NEW, context, "{} is only for new sounds")
        _refuse(given & (ASKED | {"guidance", "best_of"}), context, "{} is only for new sounds")
        _refuse(
            given & {"channels"}, context, "{} is only for new sounds: the result has the channels of the given sound"
        )
    if not given & ASKED:
        _refuse(given & {"guidance", "best_of"}, context, "{} needs a label or a knob")
    if fill is not None:
        start, end = _part(fill)
        where = {"start": start, "end": end, "levels": _levels(levels, model)}
        request = request_of({"action": "fill", "width": width, **where, **numbers})
    else:
        action = "generate" if continued is None else "continue"
        if continued is not None:
            _refuse(given & {"as_made"}, context, "{} is only for new sounds")
        finish = continued is None and not as_made
        if bpm is not None and bars is not None:
            _refuse(given & {"duration"}, context, "--bpm and --bars set the duration: omit {}")
        exact = loop or bpm is not None
        if exact and natural:
            raise UsageError("--natural does not work with --bpm, --bars or --loop")
        asked = {"length": length, "attack": attack, "bright": bright, "noisy": noisy, "low": low, "pitch": pitch}
        request = request_of(
            {
                "action": action,
                "seconds": None if bpm is not None and bars is not None else duration,
                "bpm": bpm,
                "bars": bars,
                "loop": loop,
                "natural": bool(natural),
                "finish": finish,
                "label": label,
                "guidance": guidance,
                "best_of": best_of,
                "channels": channels,
                "width": width,
                **{name: _knob(name, text) for name, text in asked.items()},
                **numbers,
            }
        )
        if natural is None and continued is None and not exact:
            # What is wrong with the call is told before what is wrong with the model.
            request.check(count=count, seed=seed or 0)
            request = request.model_copy(update={"natural": _ends_by_itself(model)})
    destination = Destination(output, settings, sidecar, force)
    seeds = None
    if keep_best is not None:
        _refuse(given & {"count"}, context, "--keep-best sets the number of sounds: omit {}")
        drawn = drawn or DEFAULT_DRAWN * keep_best
        request.check(count=drawn, seed=seed or 0)
        first = free_seeds(model.stem, destination, count=drawn, seed=seed)[0]
        seeds = _best(model, request, keep_best, drawn, first, device, project)
        count = len(seeds)
    elif drawn is not None:
        raise UsageError("--of needs --keep-best")
    sounds = produce(
        model, request, destination, count=count, seed=seed, seeds=seeds, source=continued or file, device=device
    )
    make_and_print("generate", model, sounds, count, as_json=as_json)


def make_and_print(stage: str, model: Path, sounds: Iterable["Written"], count: int, *, as_json: bool) -> None:
    """Make sounds one after the other, and print where they are, also of those before one that cannot be made."""
    # Not the sounds themselves: thousands of them would keep all their codes.
    paths: list[str] = []
    made: list[dict[str, Any]] = []
    try:
        with shown_progress() as tell:
            for each in sounds:
                paths.append(str(each.path))
                made.append(_values(each))
                tell(Progress(stage, len(made), count, "sounds"))
    finally:
        if made:
            print_result(paths, {"model": str(model), "sounds": made}, as_json=as_json)


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


def _remake(
    path: Path,
    model: Path | None,
    file: Path | None,
    other: Path | None,
    output: Path,
    sidecar: bool,
    force: bool,
    device: str | None,
    as_json: bool,
) -> None:
    from distill.generation.remaking import remake

    done = remake(
        path, folder=output, model=model, source=file, other=other, sidecars=sidecar, force=force, device=device
    )
    values = {"sidecar": str(path), "identical": done.identical, "sounds": [_values(done.written)]}
    print_result([str(done.written.path)], values, as_json=as_json)


def _values(written: "Written") -> dict[str, Any]:
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


def _ends_by_itself(model: Path) -> bool:
    """Whether a model's sounds do."""
    from distill.artifact.model_file import read_manifest
    from distill.generation.ending import ends_by_itself

    return ends_by_itself(read_manifest(model))


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")


def _refuse(names: set[str], context: typer.Context, words: str) -> None:
    if names:
        options = {each.name: max(each.opts, key=len) for each in context.command.params}
        raise UsageError(words.format(", ".join(sorted(options[name] for name in names))))


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
