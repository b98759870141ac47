"""`distill model`: what a model file says of itself."""

from pathlib import Path
from typing import Annotated

import typer

from distill.cli.console import Json, health_table, print_result, stdout_console

app = typer.Typer(help="Look at models.", no_args_is_help=True)


@app.callback()
def _model() -> None:
    pass


@app.command()
def info(
    model: Annotated[Path, typer.Argument(help="Model file.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show what a model file says of itself, without reading its weights."""
    from rich.table import Table

    from distill.artifact.model_file import read_manifest
    from distill.models.health import Health, judge

    manifest = read_manifest(model)
    document = manifest.document()
    health: Health = document["codebook_health_snapshot"]
    if as_json:
        print_result([], document, as_json=True)
        return
    metadata, lineage, prior = manifest.metadata, manifest.lineage, manifest.prior_metadata
    table = Table(show_header=False, box=None)
    rows = {
        "name": metadata.name,
        "description": metadata.description,
        "dataset": f"{metadata.dataset}: {metadata.file_count} sounds, {metadata.seconds or 0:.1f} s, "
        f"{metadata.train_files} to learn from, {metadata.validation_files} held out",
        "data digest": lineage.data_digest,
        "preset": metadata.preset,
        "VQ-VAE": f"epoch {metadata.best_epoch} of {metadata.epochs}, "
        f"training loss {_figure(metadata.best_train_loss)}, held-out loss {_figure(metadata.best_val_loss)}",
        "prior": "none"
        if prior is None
        else f"epoch {prior.best_epoch} of {prior.epochs}, training perplexity {_figure(prior.perplexity.train)}, "
        f"held-out perplexity {_figure(prior.perplexity.validation)}",
        "memorization": "not checked"
        if manifest.memorization is None
        else f"{manifest.memorization.verdict}: {'; '.join(manifest.memorization.reasons)}",
        "codebooks": judge(health).words,
        "warnings": "\n".join(metadata.warnings),
        "weights": manifest.tensor_digest,
        "lineage": lineage.id,
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    stdout = stdout_console()
    stdout.print(table)
    stdout.print(health_table(health))


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
