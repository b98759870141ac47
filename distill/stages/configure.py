"""Stage configure: parameters and the dataset's size become one resolved file a stage."""

from typing import Any

from distill.adaptive import get_adaptive_prior_config, get_adaptive_vqvae_config, tuned_prior, tuned_vqvae
from distill.configs import STRIDE, PriorConfig, VQVAEConfig
from distill.dataset.store import PreparedDataset
from distill.models.sequences import pass_windows
from distill.params import overrides, resolve
from distill.stages.workspace import Call, write_config, write_report
from distill.training.runtime import resolve_runtime

STAGE = "configure"


def run(call: Call) -> dict[str, Any]:
    """Write `config/<stage>.json` for each stage that follows.

    Raises:
        UsageError: the parameters do not fit together.
    """
    workspace = call.workspace
    params = workspace.params()
    dataset = PreparedDataset(workspace.prepared)
    files = dataset.usable_files
    chunks = len(dataset.chunks("train"))
    vqvae = get_adaptive_vqvae_config(files).model_dump()
    prior = get_adaptive_prior_config(files).model_dump()
    vqvae_given, prior_given = overrides(params.vqvae), overrides(params.prior)
    if params.run.preset == "tuned":
        columns, bands = -(-dataset.chunk_frames // STRIDE), dataset.spectrogram.n_mels // STRIDE
        vqvae |= tuned_vqvae(
            VQVAEConfig.model_validate(vqvae),
            file_count=files,
            train_chunks=chunks,
            chunk_vectors=columns * bands,
            given=vqvae_given,
        )
        variants = prior_given.get("augmented_variants", prior["augmented_variants"])
        rows = dataset.segments_of("train", variants=variants)
        lengths = -(-dataset.segments["frames"].to_numpy()[rows] // STRIDE)
        levels = {**vqvae, **vqvae_given}["num_quantizers"]
        context = max(1, prior_given.get("context", prior["context"]) // (bands * levels))
        windows = int(pass_windows(lengths, context).sum())
        prior |= tuned_prior(
            PriorConfig.model_validate(prior),
            file_count=files,
            windows=windows,
            window_codes=bands * levels * float(lengths.sum()) / windows,
            given=prior_given,
        )
    vqvae = resolve(VQVAEConfig, vqvae | vqvae_given, where="params.yaml, section vqvae").model_dump(mode="json")
    prior = resolve(PriorConfig, prior | prior_given, where="params.yaml, section prior").model_dump(mode="json")
    runtime = vars(resolve_runtime(params.run))
    preset = params.run.preset
    write_config(workspace, "train_vqvae", {"vqvae": vqvae, "runtime": runtime, "preset": preset})
    write_config(workspace, "train_prior", {"prior": prior, "runtime": runtime, "preset": preset})
    write_config(
        workspace,
        "check_memorization",
        {"memorization": params.memorization.model_dump(mode="json"), "runtime": runtime},
    )
    return write_report(
        workspace,
        STAGE,
        {"preset": preset, "files": files, "train_chunks": chunks, "vqvae": vqvae, "prior": prior, "runtime": runtime},
    )
