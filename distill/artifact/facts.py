"""What a model file says of itself, in words: its light, its verdict, its training, and what it can be asked for."""

from distill.artifact.manifest import Manifest
from distill.models.health import Health, Rating, rate

NOT_CHECKED = "not checked"
# A label that fewer of the sounds asked for it have, and a knob whose rank correlation is less, are weak.
LEAST_RIGHT, LEAST_CORRELATION = 0.6, 0.5


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


def perplexity_of(manifest: Manifest) -> float | None:
    """Held-out perplexity of the prior; None without a prior, or where it is not known."""
    return manifest.prior_metadata.perplexity.validation if manifest.prior_metadata else None


def figure(value: float | None, unit: str = "") -> str:
    """A figure of a model, to four digits.

    >>> figure(0.123456), figure(12.0, " dB"), figure(None)
    ('0.1235', '12 dB', 'unknown')
    """
    return "unknown" if value is None else f"{value:.4g}{unit}"


def dataset_words(manifest: Manifest) -> str:
    """The sounds that a model was trained on."""
    known = manifest.metadata
    return (
        f"{known.dataset}: {known.file_count} sounds, {known.seconds or 0:.1f} s, {known.train_files} training sounds, "
        f"{known.validation_files} held out"
    )


def vqvae_words(manifest: Manifest) -> str:
    """How the training of the VQ-VAE went."""
    known = manifest.metadata
    return (
        f"epoch {known.best_epoch} of {known.epochs}, training loss {figure(known.best_train_loss)}, held-out loss "
        f"{figure(known.best_val_loss)}, held-out distance {figure(known.best_val_lsd_db, ' dB')}"
    )


def prior_words(manifest: Manifest) -> str:
    """How the training of the prior went."""
    known = manifest.prior_metadata
    if known is None:
        return "none: the model encodes and decodes, but generates nothing"
    return (
        f"epoch {known.best_epoch} of {known.epochs}, training perplexity {figure(known.perplexity.train)}, held-out "
        f"perplexity {figure(known.perplexity.validation)}"
    )


def memorization_words(manifest: Manifest) -> str:
    """The verdict of the check for memorization, with its reasons."""
    check = manifest.memorization
    return NOT_CHECKED if check is None else f"{check.verdict}: {'; '.join(check.reasons)}"


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
        "labels": ", ".join(_strength(label, labels.get(label), LEAST_RIGHT, "{:.0%}") for label in conditions.labels),
        "knobs": ", ".join(_strength(name, knobs.get(name), LEAST_CORRELATION, "{:.2f}") for name in conditions.knobs),
    }
    if found["labels"] and following and following.judged is not None:
        found["labels"] += f" (of held-out sounds {following.judged:.0%} are told right)"
    return {name: words for name, words in found.items() if words}


def _strength(name: str, value: float | None, least: float, form: str) -> str:
    if value is None:
        return f"{name} (not known)"
    return f"{name} ({form.format(value)}{', weak' if value < least else ''})"
