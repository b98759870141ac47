"""Stage assemble: the trained networks and the verdict become the finished model file and its card."""

from typing import Any

from distill.artifact.facts import health_of, light_of
from distill.artifact.manifest import Manifest, Memorization, Metadata
from distill.artifact.model_file import read_model, write_model
from distill.artifact.prior_file import read_prior
from distill.artifact.vocoder_file import read_vocoder
from distill.dataset.store import PreparedDataset
from distill.files import write_bytes
from distill.stages import lineage
from distill.stages.workspace import Call, read_report, write_report

STAGE = "assemble"


def run(call: Call) -> dict[str, Any]:
    """Write `models/<name>.distill` and its card `models/<name>.md`.

    Raises:
        ArtifactError: the trained networks are damaged or do not belong together.
    """
    workspace = call.workspace
    params = workspace.params()
    model = read_model(workspace.vqvae)
    prior = read_prior(workspace.prior, vqvae_digest=model.digest)
    vocoder = read_vocoder(workspace.vocoder, vqvae_digest=model.digest)
    dataset = PreparedDataset(workspace.prepared)
    check = read_report(workspace, "check_memorization")
    known, base = model.manifest.metadata, None if vocoder is None else vocoder.metadata.base
    metadata: dict[str, Any] = {
        **known.model_dump(),
        "name": params.model.name,
        "description": params.model.description,
        "tags": params.model.tags,
        "warnings": [*known.warnings, *prior.metadata.memorization_warnings],
    }
    changes: dict[str, Any] = {
        "metadata": Metadata(**metadata),
        "prior_config": prior.config,
        "prior_metadata": prior.metadata,
        "memorization": Memorization(**{key: check[key] for key in ("verdict", "reasons", "evidence")}),
        "lineage": lineage.of_model(workspace, dataset, model.manifest.lineage, prior.journal, base),
        "journal": [*(model.manifest.journal or ()), *prior.journal] or None,
    }
    if vocoder is not None:
        changes |= {"inverse": vocoder.inverse, "vocoder_config": vocoder.config, "vocoder_metadata": vocoder.metadata}
    if prior.space is not None:
        changes |= {"space_config": prior.space.config, "space_metadata": prior.space.metadata}
    manifest = Manifest(**{**dict(model.manifest), **changes})
    states = [None if part is None else part.state for part in (vocoder, prior.space)]
    digest = write_model(workspace.model(params.model.name), manifest, model.vqvae_state, prior.state, *states)
    write_bytes(workspace.model(params.model.name).with_suffix(".md"), _card(manifest, digest).encode())
    return write_report(
        workspace,
        STAGE,
        {
            "model": f"models/{params.model.name}.distill",
            "digest": digest,
            "lineage": manifest.lineage.id,
            "verdict": check["verdict"],
        },
    )


def _card(manifest: Manifest, digest: str) -> str:
    metadata, prior = manifest.metadata, manifest.prior_metadata
    lines = [
        f"# {metadata.name}",
        "",
        metadata.description or "A generative audio model.",
        "",
        f"- trained on {metadata.train_files} of {metadata.file_count} sounds from `{metadata.dataset}` "
        f"({metadata.seconds or 0:.1f} s), {metadata.validation_files} held out",
        f"- VQ-VAE: epoch {metadata.best_epoch} of {metadata.epochs}, held-out loss {metadata.best_val_loss}",
        f"- codebooks: {light_of(manifest).words}",
    ]
    if prior is not None:
        lines.append(
            f"- prior: epoch {prior.best_epoch} of {prior.epochs}, "
            f"held-out perplexity {prior.perplexity.validation}, training perplexity {prior.perplexity.train}"
        )
    if manifest.vocoder_metadata is not None:
        trained = manifest.vocoder_metadata
        lines.append(
            f"- vocoder: epoch {trained.best_epoch} of {trained.epochs}; sounds are made by {manifest.inverse}"
        )
    if manifest.space_metadata is not None:
        lines.append(f"- stereo: learned from {manifest.space_metadata.stereo_sounds} sounds")
    if manifest.memorization is not None:
        lines.append(f"- memorization check: {manifest.memorization.verdict}")
        lines += [f"  - {reason}" for reason in manifest.memorization.reasons]
    lines += [
        "",
        "| level | utilization | perplexity | dead codes |",
        "|---|---|---|---|",
        *(
            f"| {name} | {level['utilization']:.0%} | {level['perplexity']:.1f} | {level['dead_codes']} |"
            for name, level in health_of(manifest).items()
        ),
        "",
        *(f"- warning: {warning}" for warning in metadata.warnings),
        "",
        f"Weights `{digest}`  ",
        f"Lineage `{manifest.lineage.id}`",
    ]
    return "\n".join(lines) + "\n"
