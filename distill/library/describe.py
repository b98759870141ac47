"""What lists, tags and pages say of a model: its light, its verdict, a description."""

from distill.artifact.manifest import Manifest
from distill.models.health import Health, Verdict, judge
from distill.tracking.lookup import LINEAGE

NOT_CHECKED = "not checked"
DIGEST = "distill.digest"

# Databases of servers hold no longer ones.
_LONGEST_DESCRIPTION = 5000


def health_of(manifest: Manifest) -> Health:
    """Codebook health by level; a figure that was not finite counts as 0."""
    return {
        name: {
            "utilization": level.utilization or 0.0,
            "perplexity": level.perplexity or 0.0,
            "dead_codes": level.dead_codes,
        }
        for name, level in manifest.codebook_health_snapshot.items()
    }


def light_of(manifest: Manifest) -> Verdict:
    """The light of the codebooks, and what it means in words."""
    return judge(health_of(manifest))


def verdict_of(manifest: Manifest) -> str:
    """Memorization verdict: pass, warn, fail, or that there is none."""
    return manifest.memorization.verdict if manifest.memorization else NOT_CHECKED


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


def description_of(manifest: Manifest) -> str:
    """The description of a registered version, in Markdown."""
    metadata, verdict, prior = manifest.metadata, manifest.memorization, manifest.prior_metadata
    figures = {
        "held-out distance in dB": metadata.best_val_lsd_db,
        "held-out loss": metadata.best_val_loss,
        "held-out perplexity": prior.perplexity.validation if prior else None,
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
