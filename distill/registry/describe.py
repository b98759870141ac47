"""What lists, tags and pages say of a model: its light, its verdict, a description."""

from distill.artifact.manifest import Manifest
from distill.models.health import Health, Rating, rate
from distill.tracking.lookup import LINEAGE

NOT_CHECKED = "not checked"
# A label that fewer of the sounds have that are asked for it, and a knob whose rank correlation is less, are weak.
LEAST_RIGHT, LEAST_CORRELATION = 0.6, 0.5
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


def light_of(manifest: Manifest) -> Rating:
    """The light of the codebooks, and what it means in words."""
    return rate(health_of(manifest))


def verdict_of(manifest: Manifest) -> str:
    """Memorization verdict: pass, warn, fail, or that there is none."""
    return manifest.memorization.verdict if manifest.memorization else NOT_CHECKED


def space_words(manifest: Manifest) -> str:
    """How a model's sounds lie between two channels; empty where they are mono."""
    known = manifest.space_metadata
    if known is None:
        return ""
    words = f"learned from {known.stereo_sounds} sounds, held-out perplexity {known.perplexity.validation or 0:.3g}"
    if known.level_db is None or known.coherence is None:
        return words
    return f"{words}; codes lie {known.level_db:.2g} dB and a coherence of {known.coherence:.2g} beside held-out sounds"


def asked_words(manifest: Manifest) -> dict[str, str]:
    """What new sounds can be asked for, with how well each is followed; empty where they cannot be asked."""
    conditions = manifest.prior_config.conditions if manifest.prior_config else None
    if conditions is None:
        return {}
    following = manifest.prior_metadata.following if manifest.prior_metadata else None
    labels, knobs = (following.labels, following.knobs) if following else ({}, {})
    found = {
        "labels": ", ".join(_followed(label, labels.get(label), LEAST_RIGHT, "{:.0%}") for label in conditions.labels),
        "knobs": ", ".join(_followed(name, knobs.get(name), LEAST_CORRELATION, "{:.2f}") for name in conditions.knobs),
    }
    if found["labels"] and following and following.judged is not None:
        found["labels"] += f" (of held-out sounds {following.judged:.0%} are told right)"
    return {name: words for name, words in found.items() if words}


def _followed(name: str, value: float | None, least: float, form: str) -> str:
    if value is None:
        return f"{name} (not known)"
    return f"{name} ({form.format(value)}{', weak' if value < least else ''})"


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
    metadata, prior = manifest.metadata, manifest.prior_metadata
    found = {
        "model/lsd_db": metadata.best_val_lsd_db,
        "model/vqvae_loss": metadata.best_val_loss,
        "model/prior_perplexity": prior.perplexity.validation if prior else None,
    }
    for level, health in health_of(manifest).items():
        found |= {f"model/{level}/{name}": health[name] for name in ("utilization", "perplexity", "dead_codes")}
    return {name: float(value) for name, value in found.items() if value is not None and value == value}


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
