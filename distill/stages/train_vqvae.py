"""Stage train_vqvae: prepared sounds become a trained VQ-VAE, with its history, report, plots and previews."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from distill.artifact.architecture import VQVAEArchitecture
from distill.artifact.manifest import LossCurves, Manifest, Metadata
from distill.artifact.model_file import write_model
from distill.configs import SpectrogramConfig, VQVAEConfig
from distill.dataset.store import PreparedDataset
from distill.files import replacing
from distill.live.events import StageStarted
from distill.live.journal import for_model_file
from distill.models.health import health_of_counts, rate
from distill.models.levels import level_labels
from distill.pictures import curves_png, usage_heatmap_png
from distill.stages import lineage
from distill.stages.base import base_weights
from distill.stages.live_tuning import steering_of
from distill.stages.training_processes import team_of, tell_of_others
from distill.stages.versions import CODE_VERSIONS
from distill.stages.workspace import Call, Workspace, read_config, section, state_key, write_history, write_report
from distill.training.checkpoint import Checkpoints
from distill.training.leader import follow
from distill.training.loop import Trained, train
from distill.training.runtime import Runtime
from distill.training.vqvae import STAGE, VQVAETask


def run(call: Call) -> dict[str, Any]:
    """Train, or go on with a training that was interrupted, and write what came of it.

    Raises:
        Interrupted: a stop was requested; the next call resumes.
        TrainingError: the training cannot go on.
        DataError: the stages before have not run, or the base has changed since.
        ArtifactError: the base cannot be used.
    """
    workspace = call.workspace
    values = read_config(workspace, STAGE)
    config: VQVAEConfig = section(values, "vqvae", VQVAEConfig)
    configured = Runtime(**values["runtime"])
    call.emit(StageStarted(STAGE, values))
    dataset = PreparedDataset(workspace.prepared)
    spectrogram = dataset.spectrogram

    def key(runtime: Runtime) -> str:
        return state_key(CODE_VERSIONS[STAGE], {**values, "runtime": runtime.values()}, dataset.digest)

    state = workspace.state(STAGE, key(configured))
    with team_of(call, STAGE, configured) as team:
        runtime = team.runtime
        runtime.apply()
        base = base_weights(workspace.params(), workspace.root, values.get("base"))
        task = VQVAETask(dataset, config, spectrogram, runtime, state / "previews", base)
        if not team.first:
            return follow(task, config, runtime, team.meet())
        tell_of_others(call, STAGE, configured, key)
        steering = steering_of(call, STAGE, config, state)
        checkpoints = Checkpoints(state, keep=config.max_checkpoints)
        trained = train(
            task,
            config,
            runtime,
            checkpoints,
            emit=call.emit,
            stop=call.stop,
            steering=steering,
            group=team.meet(),
        )
    task.model.load_state_dict(trained.state)
    counts = task.usage()
    journal = for_model_file(steering.entries)
    manifest = _manifest(workspace, values, config, dataset, spectrogram, trained, counts, journal)
    digest = write_model(workspace.vqvae, manifest, trained.state)
    write_history(workspace, STAGE, trained.history)
    _plots(workspace, trained, counts)
    _publish_previews(state / "previews", workspace.previews)
    return write_report(workspace, STAGE, _report(values, config, trained, counts, digest))


def _report(
    values: dict[str, Any], config: VQVAEConfig, trained: Trained, counts: np.ndarray, digest: str
) -> dict[str, Any]:
    best, last = trained.best_row, trained.history[-1]
    health = health_of_counts(counts)
    verdict = rate(health)
    return {
        "preset": values["preset"],
        **({"base": values["base"]} if "base" in values else {}),
        "epochs": last["epoch"],
        "steps": trained.steps,
        "skipped_steps": trained.skipped,
        "best_epoch": trained.best_epoch,
        "best": {key: best[key] for key in ("train_loss", "validation_loss", "validation_lsd_db", "overfitting_gap")},
        "final": {key: last[key] for key in ("train_loss", "validation_loss", "validation_lsd_db", "overfitting_gap")},
        "terms": {name: best[f"validation_{name}"] for name in (*config.spectral_weights, "commitment")},
        "codebook": health,
        "health": {"light": verdict.light, "words": verdict.words},
        "warnings": list(trained.warnings.values()),
        "digest": digest,
    }


def _manifest(
    workspace: Workspace,
    values: dict[str, Any],
    config: VQVAEConfig,
    dataset: PreparedDataset,
    spectrogram: SpectrogramConfig,
    trained: Trained,
    counts: np.ndarray,
    journal: list[dict[str, Any]],
) -> Manifest:
    rows = trained.history
    best, last = trained.best_row, rows[-1]
    names = VQVAEArchitecture.model_fields.keys() & config.model_dump().keys()
    return Manifest(
        vqvae_config=VQVAEArchitecture(n_mels=spectrogram.n_mels, **{name: getattr(config, name) for name in names}),
        spectrogram_config=spectrogram,
        training_config=config.model_dump(mode="json"),
        codebook_health_snapshot=health_of_counts(counts),
        loss_curve_history=LossCurves(
            train_losses=[row["train_loss"] for row in rows],
            val_losses=[row["validation_loss"] for row in rows],
            recon_losses=[_spectral_loss(row, config.spectral_weights) for row in rows],
            commit_losses=[row["train_commitment"] for row in rows],
        ),
        metadata=Metadata(
            name="vqvae",
            epochs=last["epoch"],
            best_epoch=trained.best_epoch,
            final_train_loss=last["train_loss"],
            final_val_loss=last["validation_loss"],
            best_train_loss=best["train_loss"],
            best_val_loss=best["validation_loss"],
            best_val_lsd_db=best["validation_lsd_db"],
            preset=values["preset"],
            warnings=list(trained.warnings.values()),
            **lineage.dataset_facts(dataset),
        ),
        lineage=lineage.of_vqvae(workspace, dataset, values, journal),
        journal=journal or None,
    )


def _spectral_loss(row: dict[str, Any], weights: dict[str, float]) -> float | None:
    """The spectral part of an epoch's training loss; None where a term was not finite."""
    terms = [(weight, row[f"train_{name}"]) for name, weight in weights.items()]
    return None if any(term is None for _, term in terms) else sum(weight * term for weight, term in terms)


def _plots(workspace: Workspace, trained: Trained, counts: np.ndarray) -> None:
    import pandas as pd

    rows, folder = trained.history, workspace.plots(STAGE)
    curves = {
        "training": [row["train_loss"] for row in rows],
        "held-out": [row["validation_loss"] for row in rows],
        "commitment (held-out)": [row["validation_commitment"] for row in rows],
    }
    curves_png(folder / "loss.png", curves, ylabel="loss", title="VQ-VAE")
    usage_heatmap_png(folder / "codebook_usage.png", counts, level_labels(len(counts)))
    levels, codes = np.indices(counts.shape)
    table = pd.DataFrame({"level": levels.ravel(), "code": codes.ravel(), "uses": counts.ravel()})
    with replacing(folder / "codebook_usage.csv") as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    _write_utilization(folder / "utilization", rows)


def _write_utilization(folder: Path, rows: list[dict[str, Any]]) -> None:
    """A table a level: DVC draws each file of a folder, however many there are."""
    import pandas as pd

    levels = [name for name in rows[0] if name.endswith("_utilization")]
    labels = level_labels(len(levels))
    named = zip(labels, sorted(levels), strict=True)
    names = {f"{number}_{label.lower()}.csv": level for number, (label, level) in enumerate(named)}
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
    for name, level in names.items():
        table = pd.DataFrame({"epoch": [row["epoch"] for row in rows], "utilization": [row[level] for row in rows]})
        with replacing(folder / name) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")


def _publish_previews(source: Path, target: Path) -> None:
    """Copy the previews, which lie with the resumable state, to the tracked output."""
    target.mkdir(parents=True, exist_ok=True)
    names = {path.name for path in source.glob("epoch-*")} if source.is_dir() else set()
    for path in target.iterdir():
        if path.name not in names:
            path.unlink()
    for name in sorted(names):
        with replacing(target / name) as temporary:
            shutil.copyfile(source / name, temporary)
