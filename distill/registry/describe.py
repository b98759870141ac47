"""What MLflow's registry shows of a model: tags, figures and a description."""

from distill.artifact.facts import health_of, light_of, perplexity_of, verdict_of
from distill.artifact.manifest import Manifest
from distill.tracking.lookup import LINEAGE

DIGEST = "distill.digest"
# Databases of servers hold no longer ones.
_LONGEST_DESCRIPTION = 5000


def tags_of(manifest: Manifest) -> dict[str, str]:
    """The tags of a registered version."""
    light = light_of(manifest)
    return {
        DIGEST: manifest.tensor_digest,
        LINEAGE: manifest.lineage.id,
        "distill.verdict": verdict_of(manifest),
        "distill.health": f"{light.light}: {light.words}",
        "distill.dataset": manifest.metadata.dataset,
        "distill.preset": manifest.metadata.preset,
    }


def figures_of(manifest: Manifest) -> dict[str, float]:
    """The metrics of a registered model: its figures on held-out sounds, and the use of each codebook."""
    metadata = manifest.metadata
    found = {
        "model/lsd_db": metadata.best_val_lsd_db,
        "model/vqvae_loss": metadata.best_val_loss,
        "model/prior_perplexity": perplexity_of(manifest),
    }
    for level, health in health_of(manifest).items():
        found |= {f"model/{level}/{name}": health[name] for name in ("utilization", "perplexity", "dead_codes")}
    return {name: float(value) for name, value in found.items() if value is not None and value == value}


def description_of(manifest: Manifest) -> str:
    """The description of a registered version, in Markdown."""
    metadata, verdict = manifest.metadata, manifest.memorization
    figures = {
        "held-out distance in dB": metadata.best_val_lsd_db,
        "held-out loss": metadata.best_val_loss,
        "held-out perplexity": perplexity_of(manifest),
    }
    lines = [
        metadata.description,
        f"Trained on {metadata.train_files} of {metadata.file_count} sounds from {metadata.dataset}; "
        f"{manifest.vqvae_config.num_quantizers} levels of {manifest.vqvae_config.codebook_size} codes: "
        f"{light_of(manifest).words}.",
        "; ".join(f"{name} {value:.4g}" for name, value in figures.items() if value is not None),
        f"Memorization: {verdict_of(manifest)}. {'; '.join(verdict.reasons) if verdict else ''}",
        *metadata.warnings,
    ]
    return "\n\n".join(line.strip() for line in lines if line.strip())[:_LONGEST_DESCRIPTION]
