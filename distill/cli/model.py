"""`distill model`: model files and the registry."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.cli.console import (
    Fit,
    Json,
    Project,
    Quiet,
    Verbose,
    answer,
    health_table,
    lines_of,
    print_list,
    print_result,
    remark,
    set_up_logging,
    stdout_console,
)
from distill.cli.options import Force, Model
from distill.errors import UsageError
from distill.words import visible

if TYPE_CHECKING:
    from distill.artifact.manifest import Manifest
    from distill.registry.registry import RegisteredVersion

Sort = Annotated[str, typer.Option(help="name, distance, loss, perplexity, dataset or sounds.")]
Verdict = Annotated[str | None, typer.Option(help="pass, warn, fail or 'not checked'.")]
Dataset = Annotated[str | None, typer.Option(help="Name of the dataset.")]
Despite = Annotated[bool, typer.Option("--force", help="Do it despite the objections.")]
FilesOnly = Annotated[bool, typer.Option("--files-only", help="Skip the registry, which takes seconds to query.")]
Folders = Annotated[list[Path] | None, typer.Option("--folder", help="Another folder with model files; repeatable.")]

COLUMNS: dict[str, Fit] = {
    "name": "broken",
    "dataset": "broken",
    "codes": "wide",
    "distance dB": "broken",
    "perplexity": "broken",
    "codebooks": "wide",
    "memorization": "broken",
    "where": "broken",
}

app = typer.Typer(help="Manage model files and the registry.", no_args_is_help=True)


@app.command()
def info(
    model: Model,
    project: Project = None,
    run: Annotated[bool, typer.Option("--run", help="Also show the recorded run that made the model.")] = False,
    as_json: Json = False,
) -> None:
    """Show facts about a model, without reading its weights."""
    from distill.artifact.model_file import read_manifest
    from distill.projects.models import named_file

    root, version = project_for(project), None
    path = named_file(model, root)
    # A file is read at once; the registry takes seconds to load.
    if path is not None:
        from distill.registry.signing import signature_state_of

        manifest, signature = read_manifest(path), signature_state_of(path, root)
    else:
        from distill.registry.registry import find_version, manifest_of, signature_state_of_version

        version = find_version(model, root)
        manifest, signature = manifest_of(version, root), signature_state_of_version(version, root)
    recorded = _runs(root, manifest.lineage.id) if run or version is not None else None
    if as_json:
        more: dict[str, Any] = {} if recorded is None else {"runs": recorded}
        if version is not None:
            more["registered"] = _values(version)
        print_result([], {**manifest.document(), "signature": vars(signature), **more}, as_json=True)
        return
    _print_facts(manifest, "" if version is None else version.with_aliases, signature.words, recorded or [])


@app.command("list")
def list_models(
    sort: Sort = "name",
    verdict: Verdict = None,
    dataset: Dataset = None,
    files_only: FilesOnly = False,
    folder: Folders = None,
    project: Project = None,
    as_json: Json = False,
) -> None:
    """List the models of a project: files and registered versions, each set of weights once."""
    _show([], sort, verdict, dataset, files_only, folder or [], project, as_json)


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help="Words to find in name, description, dataset, tags or aliases.")],
    sort: Sort = "name",
    verdict: Verdict = None,
    dataset: Dataset = None,
    files_only: FilesOnly = False,
    folder: Folders = None,
    project: Project = None,
    as_json: Json = False,
) -> None:
    """List the models that match all words."""
    _show(words, sort, verdict, dataset, files_only, folder or [], project, as_json)


@app.command()
def compare(
    models: Annotated[list[str], typer.Argument(help="Two or more models.", show_default=False)],
    project: Project = None,
    as_json: Json = False,
) -> None:
    """Show how models differ: figures, parameters, environment."""
    from rich.table import Table

    from distill.registry.catalogue import compare as differences

    rows = differences(models, project_for(project))
    if as_json:
        print_result([], rows, as_json=True)
        return
    table = Table("", *models)
    for name, values in rows.items():
        table.add_row(name, *(_text(values[model]) for model in models))
    stdout_console().print(table if rows else "No differences.")


@app.command()
def register(
    model: Annotated[str, typer.Argument(help="Model file, or NAME of one in models/.", show_default=False)],
    name: Annotated[
        str | None, typer.Option("--name", help="Name in the registry (default: that of the model).")
    ] = None,
    project: Project = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Register a model file as a candidate; each set of weights is registered only once."""
    set_up_logging(quiet=quiet, verbose=verbose)
    from distill.projects.models import named_file
    from distill.registry.registration import register as put

    root = project_for(project)
    version = put(named_file(model, root) or Path(model), root, name=name)
    line = version.reference if version.created else f"{version.reference} (already registered)"
    print_result([line], _values(version), as_json=as_json)


@app.command()
def promote(
    model: Annotated[str, typer.Argument(help="NAME/VERSION, NAME@ALIAS or NAME.", show_default=False)],
    force: Despite = False,
    project: Project = None,
    as_json: Json = False,
) -> None:
    """Make a registered version the champion, unless it memorized sounds or is worse than the champion."""
    from distill.registry.promotion import promote as make_champion

    version = make_champion(model, project_for(project), force=force)
    print_result([f"{version.name}@champion is {version.reference}"], _values(version), as_json=as_json)


@app.command()
def export(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.", show_default=False)],
    force: Force = False,
    project: Project = None,
    as_json: Json = False,
) -> None:
    """Copy a model to a file."""
    from distill.registry.catalogue import export as copy

    path = copy(model, output, project_for(project), force=force)
    print_result([str(path)], {"path": str(path)}, as_json=as_json)


@app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(help="Model file.", show_default=False)],
    name: Annotated[
        str | None, typer.Option("--name", help="Name for the file in models/ (default: that of the model).")
    ] = None,
    force: Force = False,
    project: Project = None,
    as_json: Json = False,
) -> None:
    """Verify a model file and copy it to models/."""
    from distill.registry.catalogue import import_file

    path = import_file(file, project_for(project), name=name, force=force)
    print_result([str(path)], {"path": str(path)}, as_json=as_json)


@app.command()
def delete(
    model: Annotated[str, typer.Argument(help="Model file, or NAME/VERSION.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    force: Despite = False,
    project: Project = None,
    as_json: Json = False,
) -> None:
    """Delete a model file, or a version from the registry."""
    from distill.registry.catalogue import deletable
    from distill.registry.catalogue import delete as remove

    root = project_for(project)
    if not yes:
        found = deletable(model, root, force=force)
        _ask(f"Delete {found if isinstance(found, Path) else found.with_aliases} permanently?")
    removed = remove(model, root, force=force)
    print_result([f"deleted {removed}"], {"deleted": removed}, as_json=as_json)


def _ask(question: str) -> None:
    nobody = "nothing was deleted: nobody answered; use --yes to skip the question"
    if not answer(lambda: typer.confirm(visible(question), err=True), nobody):
        raise UsageError("nothing was deleted")


def project_for(given: Path | None) -> Path:
    """The project that a command is about."""
    from distill.projects.project import current_project

    return current_project(given)


def _values(version: "RegisteredVersion") -> dict[str, Any]:
    return {**vars(version), "aliases": list(version.aliases), "reference": version.reference}


def _relative(file: str, project: Path) -> str:
    path, root = Path(file).resolve(), project.resolve()
    return str(path.relative_to(root)) if path.is_relative_to(root) else file


def _print_facts(manifest: "Manifest", registered: str, signature: str, runs: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from distill.artifact import facts

    metadata, lineage = manifest.metadata, manifest.lineage
    rows: dict[str, str | Text] = {
        "name": metadata.name,
        "registered": registered,
        "description": metadata.description,
        "dataset": facts.dataset_words(manifest),
        "data digest": lineage.data_digest,
        "preset": metadata.preset,
        "base": str(lineage.parameters.get("base", "none")),
        "VQ-VAE": facts.vqvae_words(manifest),
        "prior": facts.prior_words(manifest),
        **facts.asked_words(manifest),
        "stereo": facts.space_words(manifest),
        "memorization": facts.memorization_words(manifest),
        "codebooks": facts.light_of(manifest).words,
        "warnings": lines_of(list(metadata.warnings)),
        "weights": manifest.tensor_digest,
        "lineage": lineage.id,
        "signature": signature,
    }
    for each in runs:
        dirty = ", with uncommitted changes" if each["dirty"] else ""
        rows[f"run {each['run_id'][:8]}"] = (
            f"{each['started']} to {each['ended'] or 'now'} on {each['host'] or 'an unknown host'}, "
            f"started by {each['started_by']}, commit {each['commit'][:12] or 'none'}{dirty}"
        )
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    for each_table in (table, health_table(facts.health_of(manifest))):
        stdout_console().print(each_table)


def _runs(project: Path, lineage: str) -> list[dict[str, Any]]:
    from distill.tracking.lookup import find_runs

    return [
        {
            "run_id": run.run_id,
            "name": run.name,
            "status": run.status,
            "started": run.started,
            "ended": run.ended,
            "host": run.tags.get("distill.host", ""),
            "started_by": run.tags.get("distill.started_by", ""),
            "version": run.tags.get("distill.version", ""),
            "commit": run.tags.get("distill.commit", ""),
            "project_commit": run.tags.get("distill.project_commit", ""),
            "dirty": run.tags.get("distill.dirty") == "true",
        }
        for run in find_runs(project, lineage)
    ]


def _show(
    words: list[str],
    sort: str,
    verdict: str | None,
    dataset: str | None,
    files_only: bool,
    folders: list[Path],
    project: Path | None,
    as_json: bool,
) -> None:
    from distill.artifact.facts import figure
    from distill.projects.models import model_places
    from distill.registry.catalogue import PLACES, catalogue, select
    from distill.tracking.address import registry_address, without_password

    root = project_for(project)
    entries, unreadable = catalogue(root, registry=not files_only, folders=folders)
    shown = [entry.summary() for entry in select(entries, words=words, verdict=verdict, dataset=dataset, sort=sort)]
    for each in unreadable:
        remark("Skipped", each.reason)
    if as_json:
        print_result([], {"models": shown, "unreadable": [vars(each) for each in unreadable]}, as_json=True)
        return
    rows = [
        (
            row["name"],
            f"{row['dataset']} ({row['sounds']})",
            f"{row['levels']} x {row['codebook_size']}",
            figure(row["held_out_distance_db"]),
            figure(row["held_out_perplexity"]),
            row["health"],
            row["verdict"],
            lines_of([*(_relative(file, root) for file in row["files"]), *_registered(row)]),
        )
        for row in shown
    ]
    if rows:
        print_list(COLUMNS, rows)
    else:
        stdout_console().print("No models.")
    looked = [*(f"{root}/{place}" for place in PLACES), *map(str, [*model_places(root)[1:], *folders])]
    looked += [] if files_only else [f"the registry at {without_password(registry_address(root))}"]
    remark("Looked in", ", ".join(looked))


def _registered(row: dict[str, Any]) -> list[str]:
    """Where a model is in the registry, as one line."""
    found = [*row["registered"], *(f"@{alias}" for alias in row["aliases"])]
    return [" ".join(found)] if found else []


def _text(value: Any) -> str:
    from distill.artifact.facts import figure

    return figure(value) if isinstance(value, float) else str(value)
