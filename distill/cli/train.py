"""`distill train` and `distill train-prior`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.cli.console import (
    Json,
    Project,
    Quiet,
    Verbose,
    health_table,
    plain_levels,
    print_result,
    remark,
    set_up_logging,
    stderr,
)
from distill.cli.progress import shown_progress
from distill.errors import UsageError
from distill.live.events import Listeners
from distill.live.stop_request import stop_on_signals

if TYPE_CHECKING:
    from distill.params import Params
    from distill.runs.local import Options

Folder = Annotated[Path, typer.Argument(help="Folder of sounds, or one sound file.", show_default=False)]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Model file to write.")]
Name = Annotated[
    str | None,
    typer.Option(
        "--model-name", help="Name of the model (default: that of its file, or else the folder's name and the time)."
    ),
]
Preset = Annotated[str | None, typer.Option("--preset", help="tuned, sketch, sharp or reference.")]
Plan = Annotated[str | None, typer.Option("--plan", help="sketch (a few minutes) or best (default: best).")]
_PASSES = (
    "full passes over the training set, or with long or many sounds parts of one (full with --set "
    "{}.steps_per_epoch=0)."
)
Seed = Annotated[int | None, typer.Option("--seed", help="Random seed.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Processes = Annotated[
    int | None, typer.Option("--processes", help="Processes that share each batch of a training (default: 1).")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any other parameter; repeatable."),
]
Fresh = Annotated[
    bool, typer.Option("--fresh/--resume", help="Start over, or continue where the same command stopped.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing model file.")]


def train(
    folder: Folder,
    output: Output = None,
    model_name: Name = None,
    codebook_size: Annotated[int | None, typer.Option("--codebook-size", help="Codes in each codebook.")] = None,
    rvq_levels: Annotated[int | None, typer.Option("--rvq-levels", help="Residual levels, 2 to 4.")] = None,
    commitment_weight: Annotated[float | None, typer.Option(help="Weight of the commitment loss.")] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            help=f"Epochs of the VQ-VAE (of the prior: --set prior.epochs=N): {_PASSES.format('vqvae')}",
        ),
    ] = None,
    seed: Seed = None,
    plan: Plan = None,
    preset: Preset = None,
    device: Device = None,
    processes: Processes = None,
    settings: Settings = None,
    fresh: Fresh = False,
    force: Force = False,
    replay: Annotated[
        list[Path] | None,
        typer.Option(
            "--replay", metavar="JOURNAL", help="Repeat the live changes of a journal; one journal per training."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="STAGE", help="Last stage to run (default: assemble, the last).")
    ] = None,
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a model on a folder of sounds.

    The same command resumes an interrupted training.
    """
    set_up_logging(quiet=quiet, verbose=verbose)
    params = _params(
        {
            "--codebook-size": ("vqvae.codebook_size", codebook_size),
            "--rvq-levels": ("vqvae.num_quantizers", rvq_levels),
            "--commitment-weight": ("vqvae.commitment_weight", commitment_weight),
            "--epochs": ("vqvae.epochs", epochs),
        },
        {"seed": seed, "preset": preset, "device": device, "processes": processes},
        settings,
        plan,
    )
    from distill.runs.local import train_folder

    with _options(project, model_name, output, fresh=fresh) as options:
        outcome = train_folder(folder, params, options, force=force, replay=replay or (), until=until)
    _summary(outcome.model, outcome.workspace, outcome.reports, as_json=as_json)


def train_prior(
    model: Annotated[
        str, typer.Argument(help="Model whose codes the prior learns: a file, or NAME of one.", show_default=False)
    ],
    folder: Folder,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Model file to write (default: MODEL is replaced).")
    ] = None,
    model_name: Annotated[str | None, typer.Option("--model-name", help="New name for the model.")] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help=f"Epochs of the prior: {_PASSES.format('prior')}")
    ] = None,
    seed: Seed = None,
    preset: Preset = None,
    device: Device = None,
    processes: Processes = None,
    settings: Settings = None,
    fresh: Fresh = False,
    force: Force = False,
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train another prior for a model on a folder of sounds."""
    set_up_logging(quiet=quiet, verbose=verbose)
    params = _params(
        {
            "--epochs": ("prior.epochs", epochs),
        },
        {"seed": seed, "preset": preset, "device": device, "processes": processes},
        settings,
        of_model=("spectrogram", "vqvae"),
    )
    from distill.projects.models import named_file
    from distill.runs.local import train_prior_for

    with _options(project, model_name, output, fresh=fresh) as options:
        path = named_file(model, options.project) or Path(model)
        outcome = train_prior_for(path, folder, params, options, force=force)
    _summary(outcome.model, outcome.workspace, outcome.reports, as_json=as_json)


@contextmanager
def _options(project: Path | None, name: str | None, output: Path | None, *, fresh: bool) -> Iterator["Options"]:
    from distill.projects.project import current_project
    from distill.runs.local import Options

    with stop_on_signals() as stop, shown_progress() as listener:
        yield Options(current_project(project), name, output, fresh, Listeners([listener]), stop)


def _params(
    flags: dict[str, tuple[str, Any]],
    run: dict[str, Any],
    settings: list[str] | None,
    plan: str | None = None,
    *,
    of_model: Sequence[str] = (),
) -> "Params":
    """The parameters of a plan, with those that flags and settings give; the sections `of_model` are a model's own.

    From then on this process computes with their arithmetic.
    """
    from distill.instructions import use
    from distill.params import Params, with_settings
    from distill.runs.plans import BEST, plan_named

    params = with_settings(Params(), plan_named(plan or BEST.name).settings, where="--plan")
    flags |= {f"--{name}": (f"run.{name}", value) for name, value in run.items()}
    for flag, (name, value) in flags.items():
        if value is not None:
            params = with_settings(params, [f"{name}={value}"], where=flag)
    for name in (setting.partition("=")[0].strip() for setting in settings or []):
        if name == "data.path":
            raise UsageError("--set data.path: the sounds are those of the folder that the command names")
        if name == "model.name":
            raise UsageError("--set model.name: name the model with --model-name")
        if name.partition(".")[0] in of_model:
            raise UsageError(f"--set {name}: it is fixed by the model")
    params = with_settings(params, settings or [])
    # Before what loads numpy and torch.
    use(params.run.arithmetic)
    if params.run.device not in ("auto", "cpu"):
        # Before a run's folder is made, and sounds are prepared in it.
        from distill.training.runtime import require_device

        require_device(params.run.device)
    return params


def _figure(value: float | None, form: str = ".4g") -> str:
    return "not finite" if value is None else format(value, form)


def _summary(model: Path | None, workspace: Path, reports: dict[str, dict[str, Any]], *, as_json: bool) -> None:
    vqvae, prior, check = (reports.get(name) for name in ("train_vqvae", "train_prior", "check_memorization"))
    if vqvae is not None:
        stderr.print(health_table(vqvae["codebook"], title=f"Codebooks: {vqvae['health']['words']}"))
        best = vqvae["best"]
        stderr.print(
            f"VQ-VAE: best epoch {vqvae['best_epoch']} of {vqvae['epochs']}, "
            f"training loss {_figure(best['train_loss'])}, held-out loss {_figure(best['validation_loss'])}, "
            f"held-out distance {_figure(best['validation_lsd_db'], '.2f')} dB"
        )
    if prior is not None:
        stderr.print(
            f"Prior: best epoch {prior['best_epoch']} of {prior['epochs']}, "
            f"training perplexity {_figure(prior['best']['train_perplexity'], '.2f')}, "
            f"held-out perplexity {_figure(prior['best']['validation_perplexity'], '.2f')}"
        )
    if check is not None:
        stderr.print(f"Memorization: {check['verdict']}")
        for reason in check["reasons"]:
            stderr.print(f"  {reason}")
    warnings = []
    for stage, report in reports.items():
        for warning in report.get("warnings", ()):
            # Those of trainings are of the last epoch, the tables above of the best.
            remark("Warning" if stage == "prepare" else "Warning at the last epoch", plain_levels(warning))
            warnings.append(warning)
    values = {
        "model": None if model is None else str(model),
        "workspace": str(workspace),
        "digest": reports["assemble"]["digest"] if "assemble" in reports else None,
        "verdict": check["verdict"] if check else None,
        "memorization_warnings": prior["memorization_warnings"] if prior else [],
        "warnings": warnings,
        "reports": reports,
    }
    stderr.print("The workspace:" if model is None else "The model:")
    print_result([str(workspace if model is None else model)], values, as_json=as_json)
