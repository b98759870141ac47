"""Stage train_prior: the frozen VQ-VAE's codes of whole sounds become a trained prior."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill.artifact.architecture import PriorArchitecture, SpaceArchitecture
from distill.artifact.manifest import Following, PriorHistory, PriorMetadata, SpaceMetadata, TrainAndHeldOut
from distill.artifact.model_file import ModelFile, read_model
from distill.artifact.prior_file import PriorFile, SpacePart, write_prior
from distill.codec.load import build_networks
from distill.configs import STRIDE, PriorConfig
from distill.dataset.store import PreparedDataset
from distill.evenly import evenly
from distill.files import read_json, write_json
from distill.generation.adherence import following
from distill.live.events import Progress, StageStarted
from distill.live.journal import for_model_file
from distill.models.conditions import Conditions
from distill.models.vqvae import ConvVQVAE
from distill.pictures import curves_png
from distill.stages.live_tuning import steering_of
from distill.stages.training_processes import team_of, tell_of_others
from distill.stages.versions import CODE_VERSIONS
from distill.stages.workspace import Call, Workspace, read_config, section, state_key, write_history, write_report
from distill.training.checkpoint import Checkpoints
from distill.training.codes import MEASURED, PriorCodes
from distill.training.codes_file import prior_codes
from distill.training.leader import follow
from distill.training.loop import Trained, train
from distill.training.prior import MEMORIZATION, STAGE, PriorTask
from distill.training.runtime import Runtime
from distill.training.space import SKETCH_STEPS, STEPS, train_space

CONDITIONS = "conditions.json"


def run(call: Call) -> dict[str, Any]:
    """Train, or go on with a training that was interrupted, and write what came of it.

    Raises:
        Interrupted: a stop was requested; the next call resumes.
        TrainingError: the training cannot go on.
        ArtifactError: the VQ-VAE's file cannot be used.
        DataError: the stages before have not run.
    """
    workspace = call.workspace
    values = read_config(workspace, STAGE)
    config: PriorConfig = section(values, "prior", PriorConfig)
    configured = Runtime(**values["runtime"])
    call.emit(StageStarted(STAGE, values))
    dataset = PreparedDataset(workspace.prepared)
    model = read_model(workspace.vqvae)

    def key(runtime: Runtime) -> str:
        inputs = {**values, "runtime": runtime.values()}
        return state_key(CODE_VERSIONS[STAGE], inputs, dataset.digest, model.digest)

    def tell(done: int, count: int) -> None:
        call.stop.check()
        call.emit(Progress(STAGE, done, count, "columns of codes"))

    state = workspace.state(STAGE, key(configured))
    with team_of(call, STAGE, configured) as team:
        runtime = team.runtime
        runtime.apply()
        vqvae = build_networks(model, workspace.vqvae).vqvae
        if not team.first:
            # The first one has made the codes when it comes.
            group = team.meet()
            codes = prior_codes(dataset, vqvae, config, runtime, state, digest=model.digest, made=True)
            return follow(PriorTask(codes, vqvae, config, runtime), config, runtime, group)
        tell_of_others(call, STAGE, configured, key)
        steering = steering_of(call, STAGE, config, state)
        dask = workspace.params().run.dask
        codes = prior_codes(dataset, vqvae, config, runtime, state, digest=model.digest, dask=dask, tell=tell)
        write_conditions(state, codes.conditions)
        group = team.meet()
        task = PriorTask(codes, vqvae, config, runtime)
        checkpoints = Checkpoints(state, keep=config.max_checkpoints)
        trained = train(
            task, config, runtime, checkpoints, emit=call.emit, stop=call.stop, steering=steering, group=group
        )
    found = _following(call, codes, vqvae, trained, task)
    prior = prior_file(config, model, trained, for_model_file(steering.entries), codes.conditions, found)
    space = _space(call, codes, vqvae, runtime, sketch=values["preset"] == "sketch")
    digest = write_prior(workspace.prior, replace(prior, space=space))
    write_history(workspace, STAGE, trained.history)
    _plots(workspace, config, trained)
    report = _report(values, config, trained, prior.metadata, digest)
    if space is not None:
        report["space"] = space.metadata.model_dump(mode="json")
    return write_report(workspace, STAGE, report)


def write_conditions(state: Path, conditions: Conditions | None) -> None:
    """Note in a training's folder what its prior can be asked for."""
    if conditions is not None:
        write_json(state / CONDITIONS, {"schema": 1, **conditions.model_dump(mode="json")})


def read_conditions(state: Path) -> Conditions | None:
    """What the prior of a training can be asked for; None: nothing."""
    path = state / CONDITIONS
    if not path.is_file():
        return None
    return Conditions.model_validate(read_json(path, what="conditions of a prior", schema=1))


def prior_file(
    config: PriorConfig,
    model: ModelFile,
    trained: Trained,
    journal: Sequence[dict[str, Any]],
    conditions: Conditions | None,
    following: Following | None = None,
) -> PriorFile:
    """A prior that was trained on the codes of a model's VQ-VAE, with what is said of its training."""
    vqvae = model.manifest.vqvae_config
    architecture = PriorArchitecture(
        hidden=config.hidden,
        layers=config.layers,
        heads=config.heads,
        dropout=config.dropout,
        codebook_size=vqvae.codebook_size,
        num_quantizers=vqvae.num_quantizers,
        bands=vqvae.n_mels // STRIDE,
        context=config.context,
        conditions=conditions,
    )
    metadata = _metadata(config, vqvae.num_quantizers, trained, following)
    return PriorFile(architecture, metadata, model.digest, trained.state, journal)


def _following(call: Call, codes: PriorCodes, vqvae: ConvVQVAE, trained: Trained, task: PriorTask) -> Following | None:
    """How well the trained prior follows what it is asked for; None where it can be asked for nothing."""
    if codes.conditions is None:
        return None
    task.model.load_state_dict(trained.state)
    sounds = codes.held_out
    positions = evenly(len(sounds), MEASURED).tolist()
    held_out = [(sounds.labels[position], sounds.timbre(position)) for position in positions]
    spectrogram = codes.train.dataset.spectrogram
    return following(vqvae, task.model.eval(), codes.conditions, spectrogram, held_out, call.stop.check)


def _space(call: Call, codes: PriorCodes, vqvae: ConvVQVAE, runtime: Runtime, *, sketch: bool) -> SpacePart | None:
    """Where the sounds lie between two channels, learned beside the prior; None where all of them are mono."""

    def tell(done: int, count: int) -> None:
        call.stop.check()
        call.emit(Progress(STAGE, done, count, "steps of the space"))

    trained = train_space(codes, vqvae, runtime, SKETCH_STEPS if sketch else STEPS, tell)
    if trained is None:
        return None
    perplexity = TrainAndHeldOut(train=trained.train_perplexity, validation=trained.held_out_perplexity)
    metadata = SpaceMetadata(
        stereo_sounds=int(codes.train.dataset.summary["stereo"]["sounds"]),
        perplexity=perplexity,
        utilization=trained.utilization,
        code_perplexity=trained.code_perplexity,
        level_db=trained.level_db,
        coherence=trained.coherence,
    )
    return SpacePart(SpaceArchitecture(hidden=trained.model.hidden), metadata, trained.model.state_dict())


def _metadata(config: PriorConfig, levels: int, trained: Trained, following: Following | None) -> PriorMetadata:
    rows = trained.history
    best = trained.best_row
    return PriorMetadata(
        epochs=rows[-1]["epoch"],
        best_epoch=trained.best_epoch,
        perplexity=TrainAndHeldOut(train=best["train_perplexity"], validation=best["validation_perplexity"]),
        perplexity_per_level={
            f"level_{level}": TrainAndHeldOut(
                train=best[f"train_perplexity_level_{level}"], validation=best[f"validation_perplexity_level_{level}"]
            )
            for level in range(levels)
        },
        perplexity_threshold=config.perplexity_threshold,
        history=PriorHistory(
            train_losses=[row["train_loss"] for row in rows],
            val_losses=[row["validation_loss"] for row in rows],
            train_perplexities=[row["train_perplexity"] for row in rows],
            val_perplexities=[row["validation_perplexity"] for row in rows],
        ),
        memorization_warnings=_memorization_warnings(trained),
        following=following,
    )


def _memorization_warnings(trained: Trained) -> tuple[str, ...]:
    return tuple(message for kind, message in trained.warnings.items() if kind == MEMORIZATION)


def _report(
    values: dict[str, Any], config: PriorConfig, trained: Trained, metadata: PriorMetadata, digest: str
) -> dict[str, Any]:
    best, last = trained.best_row, trained.history[-1]
    shown = ("train_loss", "validation_loss", "train_perplexity", "validation_perplexity")
    return {
        "preset": values["preset"],
        "epochs": last["epoch"],
        "steps": trained.steps,
        "skipped_steps": trained.skipped,
        "best_epoch": trained.best_epoch,
        "best": {key: best[key] for key in shown},
        "final": {key: last[key] for key in shown},
        "perplexity_per_level": metadata.model_dump(mode="json")["perplexity_per_level"],
        "perplexity_threshold": config.perplexity_threshold,
        "memorization_warnings": list(metadata.memorization_warnings),
        "warnings": list(trained.warnings.values()),
        "digest": digest,
        **({} if metadata.following is None else {"following": metadata.following.model_dump(mode="json")}),
    }


def _plots(workspace: Workspace, config: PriorConfig, trained: Trained) -> None:
    rows = trained.history
    curves = {
        "training": [row["train_perplexity"] for row in rows],
        "held-out": [row["validation_perplexity"] for row in rows],
        f"memorization threshold ({config.perplexity_threshold:g})": [config.perplexity_threshold] * len(rows),
    }
    curves_png(workspace.plots(STAGE) / "perplexity.png", curves, ylabel="perplexity", title="Prior")
