"""Checking a finished model for memorization, against the prepared sounds that it learned from."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.artifact.manifest import Manifest
from distill.artifact.model_file import read_manifest
from distill.configs import MemorizationConfig
from distill.dataset.layout import SUMMARY
from distill.dataset.store import PreparedDataset
from distill.errors import DataError, DistillError, UsageError
from distill.files import require_folder, storage_errors, write_json
from distill.generation.generator import Generator
from distill.instructions import in_force
from distill.memorization.of_model import CheckSettings, figures_of, findings_of
from distill.memorization.page import write_page
from distill.memorization.verdict import Verdict, judge
from distill.params import resolve
from distill.projects.models import named_file
from distill.registry.registry import RegisteredVersion, file_of, find_version
from distill.training.runtime import Runtime, resolve_device

SCHEMA = 1
REPORT, PAGE = "report.json", "report.html"
MOST_SEED = 2**31 - 1

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class CheckResult:
    """The verdict on a model, and where its report and its page are."""

    verdict: Verdict
    report: Path
    page: Path


def check(
    reference: str,
    project: Path,
    *,
    output: Path | None = None,
    workspace: Path | None = None,
    settings: dict[str, Any] | None = None,
    seed: int | None = None,
    device: str = "cpu",
    tell: Tell = lambda _done, _count: None,
) -> CheckResult:
    """Generate sounds with a model, hold them against the sounds that it learned from, and write report and page.

    Without other settings it does what the stage did: the same sounds and, where threads and precision of the training
    are to be had, the same figures.

    Args:
        reference: a model file, or NAME/VERSION, NAME@ALIAS or NAME in the registry.
        project: the project folder.
        output: folder for `report.json` and `report.html`; by default beside the model, or in `models/` of the project
            for a registered one.
        workspace: where the prepared sounds are; by default they are looked for around the model and in the project.
        settings: `sounds`, `seconds` and `temperature`, by default those of the model's training.
        seed: seed of the first sound, by default that of the training.
        device: auto, cpu, cuda, cuda:N or mps.
        tell: called with what is done and the total; it may raise to end the check.

    Raises:
        UsageError: there is no such model or device, or a setting is out of its range.
        ArtifactError: the model cannot be used, or has no prior.
        DataError: the sounds that it learned from are not there.
        StorageError: the result cannot be written.
    """
    path, folder = _place(reference, project)
    folder = output or folder
    # Whether the result can be written shows before the work is done.
    require_folder(folder)
    with storage_errors(folder, "write into"):
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        tempfile.TemporaryFile(dir=there).close()
    manifest = read_manifest(path)
    config, seed = _settings(manifest, settings or {}, seed)
    environment = manifest.lineage.environment
    device = resolve_device(device)
    Runtime(device, environment.precision, environment.threads, seed, in_force()).apply()
    generator = Generator.load(path, device)
    dataset = find_dataset(manifest, path, project, workspace)
    generation = CheckSettings(config.sounds, config.seconds, config.temperature, seed)
    findings = findings_of(generator, dataset, generation, tell=tell)
    known = manifest.prior_metadata
    verdict = judge(
        findings,
        file_count=dataset.usable_files,
        perplexity=None if known is None else figures_of(known),
        memorization_warnings=() if known is None else known.memorization_warnings,
    )
    result = CheckResult(verdict, folder / REPORT, folder / PAGE)
    write_page(result.page, findings, verdict, title=manifest.metadata.name, step=lambda: tell(1, 1))
    write_json(result.report, _document(manifest, verdict, {**config.model_dump(mode="json"), "seed": seed}))
    return result


def find_dataset(manifest: Manifest, path: Path, project: Path, workspace: Path | None = None) -> PreparedDataset:
    """The prepared sounds that a model's prior learned from.

    Raises:
        DataError: they are not in `workspace` or, without it, around the model file or in the project.
    """
    wanted = manifest.lineage.data_digest
    roots = [workspace] if workspace is not None else list(_roots(path, project))
    for root in roots:
        for folder in (root / "prepared", root):
            if not (folder / SUMMARY).is_file():
                continue
            try:
                dataset = PreparedDataset(folder)
            except DistillError:
                # A damaged one is no reason to overlook the next.
                continue
            if dataset.digest == wanted:
                return dataset
    searched = str(workspace) if workspace is not None else f"{project} and its runs"
    raise DataError(
        f"the prepared sounds that {manifest.metadata.name} learned from (data {wanted[:12]}) are not in {searched}: "
        "name the workspace of its training with --workspace, or train it again"
    )


def _settings(manifest: Manifest, given: dict[str, Any], seed: int | None) -> tuple[MemorizationConfig, int]:
    """What is given, and for the rest what the model's training was given; with the seed of the first sound."""
    trained = manifest.lineage.parameters.get("memorization")
    values = {**(trained if isinstance(trained, dict) else {}), **given}
    seed = manifest.lineage.seed if seed is None else seed
    if not 0 <= seed <= MOST_SEED:
        raise UsageError(f"--seed {seed}: choose one from 0 to {MOST_SEED}")
    return resolve(MemorizationConfig, values, where="check"), seed


def _document(manifest: Manifest, verdict: Verdict, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "model": manifest.metadata.name,
        "digest": manifest.tensor_digest,
        "lineage": manifest.lineage.id,
        "settings": settings,
        **verdict.document(),
    }


def report_folder(model: Path | RegisteredVersion, project: Path) -> Path:
    """Where the report on a model lies by default: beside its file, that on a registered one in `models/`."""
    if isinstance(model, Path):
        return model.with_name(f"{model.stem}-check")
    return project / "models" / f"{model.name}-{model.version}-check"


def _place(reference: str, project: Path) -> tuple[Path, Path]:
    """The model file that a reference means, and the folder for its report."""
    path = named_file(reference, project)
    if path is not None:
        return path, report_folder(path, project)
    version = find_version(reference, project)
    return file_of(version, project), report_folder(version, project)


def _roots(path: Path, project: Path) -> Iterator[Path]:
    """Where the workspace of a model may be: around its file, the project, the project's runs."""
    yield from path.resolve().parents[:2]
    yield project
    yield from sorted((project / "runs").glob("*"))
