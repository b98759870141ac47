"""All that a page shows of a training, gathered from the files that it writes."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distill.configs import SPECTRAL_TERMS, PriorConfig, TrainingConfig, VQVAEConfig
from distill.errors import DistillError
from distill.files import read_json
from distill.live.activity_zones import peak_of
from distill.live.folder import RunFolder
from distill.live.journal import read_entries
from distill.live.status import read_rows, read_status
from distill.memorization.plain_words import in_plain_words
from distill.models.health import Health, rate
from distill.models.levels import level_labels, with_labels
from distill.runs.progress import RunProgress, newest_status, progress_of
from distill.runs.trainings import in_force, training_of, trainings_in, where_it_stands
from distill.stages.titles import TITLES
from distill.stages.workspace import CONFIG_SCHEMA, Workspace, read_report
from distill.ui.answers import Number
from distill.ui.messages import in_words_of_page
from distill.ui.training_answers import (
    Change,
    CodebookHealth,
    Expected,
    Level,
    Memorization,
    Peak,
    Plateau,
    Preview,
    Stage,
    Term,
    Training,
    TrainingState,
    Work,
)

CONFIGS: dict[str, type[TrainingConfig]] = {"train_vqvae": VQVAEConfig, "train_prior": PriorConfig}
# More points than a chart has room for are left out evenly.
MOST_POINTS = 400
CURVES = (
    "train_loss",
    "validation_loss",
    "train_commitment",
    "validation_commitment",
    "train_perplexity",
    "validation_perplexity",
)
_PREVIEW = re.compile(r"epoch-(\d+)-(\d+)\.png")


def state_of(root: Path, stage: str | None = None) -> TrainingState:
    """A workspace's run, and one of its trainings with everything that is shown of it.

    Args:
        root: the workspace.
        stage: `train_vqvae` or `train_prior`; by default the one that runs, or ran last.

    Raises:
        UsageError: there is no such training.
    """
    progress = progress_of(root)
    status = newest_status(root, progress)
    expected = status.get("expected") if progress.state in ("running", "paused") else None
    trainings = [folder.stage for folder in trainings_in(root)]
    return TrainingState(
        run=progress.run,
        state=progress.state,
        stage=progress.stage,
        stages=stages_of(progress),
        reason=in_words_of_page(progress.reason),
        model=written_model(root),
        expected=expected and Expected(**expected),
        work=Work(done=status.get("done"), total=status.get("total"), unit=status.get("unit")),
        trainings=trainings,
        training=_training(training_of(root, stage)) if trainings else None,
        memorization=_memorization(root),
    )


def stages_of(progress: RunProgress) -> list[Stage]:
    """The stages that a run is to have, in their order."""
    return [Stage.model_validate({"name": name, "title": TITLES[name], "state": at}) for name, at in progress.stages]


def _training(folder: RunFolder) -> Training:
    root, stage = folder.workspace, folder.stage
    status = read_status(root, stage) or {}
    settings = in_force(folder)
    health: Health = status.get("health") or {}
    peak = peak_of(status.get("activity") or {})
    # What the newest evaluation warns of; earlier warnings may no longer hold.
    of_row = with_labels((status.get("row") or {}).get("warnings") or "", len(health))
    warnings = [each for each in of_row.split("; ") if each]
    at = where_it_stands(folder)
    return Training(
        **at | {"plateau": at["plateau"] and Plateau(**at["plateau"])},
        steps_per_second=status.get("steps_per_second"),
        memory_mb=status.get("memory_mb"),
        learning_rate=status.get("learning_rate"),
        gradient_clip=settings.get("gradient_clip"),
        terms=_terms(settings, status.get("terms") or {}),
        levels=_levels(health),
        verdict=_verdict(health) if health else None,
        peak=Peak(**asdict(peak)) if peak else None,
        activity=status.get("activity") or {},
        warnings=[*warnings, *([peak.warning] if peak and peak.warning else [])],
        threshold=_threshold(root, stage),
        history=_curves(read_rows(root, stage)),
        previews=_previews(folder),
        usage=_existing(Workspace(root).plots(stage) / "codebook_usage.csv"),
        journal=_journal(root, stage),
    )


def _terms(settings: Mapping[str, Any], terms: Mapping[str, float | None]) -> list[Term]:
    """Each loss term: its weight, its value in the last step, and its shares of the weights and of the weighted loss.

    A loss with a single term has no weight of its own: it counts once.
    """
    known = [name for name in SPECTRAL_TERMS if name in terms]
    terms = {name: terms[name] for name in (*known, *(terms.keys() - {*known}))}
    weights = {
        name: settings.get("commitment_weight" if name == "commitment" else f"weight_{name}", 1.0) for name in terms
    }
    weighted = {name: weights[name] * (value or 0.0) for name, value in terms.items()}
    every, whole = sum(weights.values()) or 1.0, sum(weighted.values()) or 1.0
    return [
        Term(
            name=name,
            weight=weights[name],
            value=value,
            weight_share=weights[name] / every,
            share=weighted[name] / whole,
        )
        for name, value in terms.items()
    ]


def _verdict(health: Health) -> CodebookHealth:
    return CodebookHealth(**asdict(rate(health)))


def _levels(health: Health) -> list[Level]:
    if not 2 <= len(health) <= 4:
        return []
    return [
        Level(label=label, **asdict(rate({name: health[name]})), **health[name])
        for label, name in zip(level_labels(len(health)), sorted(health), strict=True)
    ]


def _threshold(root: Path, stage: str) -> float | None:
    if stage != "train_prior":
        return None
    with suppress(DistillError, KeyError):
        values = read_json(Workspace(root).config(stage), what="configuration", schema=CONFIG_SCHEMA)
        return float(values["prior"]["perplexity_threshold"])
    return None


def _curves(rows: list[dict[str, Any]]) -> dict[str, list[Number]]:
    """The history by column, thinned out evenly; the last evaluation is always in it."""
    every = max(1, -(-len(rows) // MOST_POINTS))
    kept = rows[(len(rows) - 1) % every :: every] if rows else []
    columns = [name for name in CURVES if any(name in row for row in kept)]
    return {name: [row.get(name) for row in kept] for name in ("epoch", "step", *columns)}


def _previews(folder: RunFolder) -> list[Preview]:
    """The newest previews: each a held-out sound and its reconstruction, with a picture of both."""
    try:
        pictures = {
            path: _PREVIEW.fullmatch(path.name) for path in (folder.noted()[0] / "previews").glob("epoch-*.png")
        }
    except DistillError:
        return []
    found = sorted((int(match[1]), int(match[2]), path) for path, match in pictures.items() if match)
    last = found[-1][0] if found else None
    return [
        Preview(
            epoch=epoch,
            number=number,
            picture=path,
            original=path.with_name(f"{path.stem}-original.flac"),
            reconstruction=path.with_name(f"{path.stem}-reconstruction.flac"),
        )
        for epoch, number, path in found
        if epoch == last
    ]


def _journal(root: Path, stage: str) -> list[Change]:
    with suppress(DistillError):
        entries = read_entries(root / "journal" / f"{stage}.jsonl")
        return [Change(seq=each.seq, step=each.step, who=each.who, change=each.change) for each in entries]
    return []


def _memorization(root: Path) -> Memorization | None:
    workspace = Workspace(root)
    path = workspace.report("check_memorization")
    if not path.is_file():
        return None
    with suppress(DistillError, KeyError):
        report = read_report(workspace, "check_memorization")
        page = _existing(workspace.page("check_memorization"))
        words = in_plain_words(report["verdict"], report["evidence"])
        return Memorization(verdict=report["verdict"], words=words, reasons=report["reasons"], page=page)
    return None


def written_model(root: Path) -> str | None:
    """The name of the model that a run has written; None before."""
    with suppress(DistillError, KeyError):
        return Path(read_report(Workspace(root), "assemble")["model"]).stem
    return None


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
