"""Stage train_vocoder, off by default: sounds and the VQ-VAE's reconstructions of them become a trained vocoder."""

import shutil
from typing import TYPE_CHECKING, Any

from distill.artifact.architecture import VocoderArchitecture
from distill.artifact.manifest import VocoderMetadata
from distill.artifact.model_file import check_state, layout, read_model
from distill.artifact.vocoder_file import VocoderFile, write_vocoder
from distill.configs import Inverse, VocoderConfig
from distill.dataset.split import TRAIN, VALIDATION
from distill.dataset.store import PreparedDataset
from distill.live.events import Progress, StageStarted
from distill.stages.base import vocoder_base, vocoder_weights
from distill.stages.versions import CODE_VERSIONS
from distill.stages.workspace import Call, Workspace, read_config, state_key, write_history, write_report

if TYPE_CHECKING:
    from distill.training.loop import Trained

STAGE = "train_vocoder"


def run(call: Call) -> dict[str, Any]:
    """Train a vocoder and decide which inverse the model uses; where it is switched off, say so and nothing else.

    Raises:
        Interrupted: a stop was requested; the next call resumes.
        TrainingError: the training cannot go on.
        ArtifactError: the VQ-VAE's file, the base or a checkpoint of this training cannot be used.
        UsageError: the base is for other spectrograms or code vectors.
        DataError: the stages before have not run, or a sound has gone.
    """
    workspace = call.workspace
    config = workspace.params().vocoder
    call.emit(StageStarted(STAGE, {"vocoder": config.model_dump(mode="json")}))
    if config.enabled:
        return _train(call, config)
    write_vocoder(workspace.vocoder, None)
    write_history(workspace, STAGE, [])
    return write_report(workspace, STAGE, {"enabled": False, "inverse": "griffin-lim"})


def _train(call: Call, config: VocoderConfig) -> dict[str, Any]:
    # Imported late, so that the stage takes no time where it is switched off.
    from distill.codec.load import build_networks
    from distill.dataset.waveforms import waveforms
    from distill.stages.training_processes import team_of, tell_of_others
    from distill.training.checkpoint import Checkpoints
    from distill.training.inverses import best_inverse, compare_inverses
    from distill.training.leader import follow
    from distill.training.loop import train
    from distill.training.runtime import Runtime
    from distill.training.vocoder import VocoderTask

    workspace: Workspace = call.workspace
    params = workspace.params()
    configured = Runtime(**read_config(workspace, "train_vqvae")["runtime"])
    dataset = PreparedDataset(workspace.prepared)
    model = read_model(workspace.vqvae)
    source = workspace.source(params)
    base = vocoder_base(params, workspace.root)
    # The training does not depend on which inverse the model uses.
    values = {**config.model_dump(mode="json", exclude={"inverse"}), "base": base and base[1]}

    def key(runtime: Runtime) -> str:
        return state_key(CODE_VERSIONS[STAGE], values, runtime.values(), dataset.digest, model.digest)

    state = workspace.state(STAGE, key(configured))
    waveform_folder = state / "waveforms"

    def tell(done: int, count: int) -> None:
        call.stop.check()
        call.emit(Progress(STAGE, done, count, "waveforms"))

    with team_of(call, STAGE, configured) as team:
        runtime = team.runtime
        runtime.apply()
        vqvae = build_networks(model, workspace.vqvae).vqvae
        # Other processes wait until the first one has made the waveforms.
        group = None if team.first else team.meet()
        training = waveforms(dataset, source, TRAIN, waveform_folder, variants=True, tell=tell)
        held_out = waveforms(dataset, source, VALIDATION, waveform_folder, tell=tell)
        weights = vocoder_weights(*base) if base else None
        task = VocoderTask(training, held_out, vqvae, config, dataset.spectrogram, runtime, weights)
        if base and weights is not None:
            check_state(layout(task.model.state_dict()), weights, base[0])
        if group is not None:
            return follow(task, config, runtime, group)
        tell_of_others(call, STAGE, configured, key)
        checkpoints = Checkpoints(state, keep=config.max_checkpoints)
        trained = train(task, config, runtime, checkpoints, emit=call.emit, stop=call.stop, group=team.meet())
    task.model.load_state_dict(trained.state)
    figures = compare_inverses(held_out, task.vqvae, dataset.spectrogram, task.model.eval())
    inverse: Inverse = best_inverse(figures) if config.inverse == "auto" else config.inverse
    metadata = VocoderMetadata.model_validate(
        {
            "epochs": len(trained.history),
            "best_epoch": trained.best_epoch,
            "inverses": figures,
            "base": base and base[1],
        }
    )
    architecture = VocoderArchitecture(hidden=config.hidden, blocks=config.blocks)
    digest = write_vocoder(workspace.vocoder, VocoderFile(architecture, metadata, inverse, model.digest, trained.state))
    write_history(workspace, STAGE, trained.history)
    shutil.rmtree(waveform_folder, ignore_errors=True)
    return write_report(workspace, STAGE, _report(trained, metadata, inverse, digest))


def _report(trained: "Trained", metadata: VocoderMetadata, inverse: Inverse, digest: str) -> dict[str, Any]:
    best = trained.history[trained.best_epoch - 1]
    return {
        "enabled": True,
        **({"base": metadata.base} if metadata.base else {}),
        "inverse": inverse,
        "epochs": len(trained.history),
        "steps": trained.steps,
        "skipped_steps": trained.skipped,
        "best_epoch": trained.best_epoch,
        "best": {name: best[name] for name in ("train_loss", "validation_loss")},
        "inverses": metadata.model_dump(mode="json")["inverses"],
        "warnings": list(trained.warnings.values()),
        "digest": digest,
    }
