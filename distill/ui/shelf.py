"""Models as the tab Library shows them: cards, details, differences."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from distill.artifact.facts import (
    asked_words,
    dataset_words,
    figure,
    health_of,
    light_of,
    memorization_words,
    perplexity_of,
    prior_words,
    space_words,
    verdict_of,
    vqvae_words,
)
from distill.artifact.manifest import Manifest
from distill.library.evidence import evidence_page
from distill.memorization.plain_words import in_plain_words
from distill.models.levels import level_labels, with_labels
from distill.registry.catalogue import Entry
from distill.ui.cards import render_template
from distill.ui.context import Context, path_in
from distill.ui.evidence import evidence

_WIDTH, _HEIGHT, _EDGE = 300.0, 90.0, 4.0


def key_of(entry: Entry) -> str:
    """What names a model on the page."""
    return f"{entry.manifest.tensor_digest[:16]}-{entry.manifest.lineage.id[:16]}"


def places_of(entry: Entry, project: Path) -> list[tuple[str, str]]:
    """Where a model is: words for people, and the reference that the library takes."""
    files = [(path_in(project, path), str(path)) for path in entry.files]
    return files + [(version.with_aliases, version.reference) for version in entry.registered]


def card_of(entry: Entry, project: Path, *, shown: bool, compared: bool) -> str:
    """A model as a card."""
    manifest = entry.manifest
    metadata, light, verdict = manifest.metadata, light_of(manifest), verdict_of(manifest)
    levels, size = manifest.vqvae_config.num_quantizers, manifest.vqvae_config.codebook_size
    figures = {
        "distance (held-out)": _figure(metadata.best_val_lsd_db, " dB"),
        "choices left open (perplexity)": _figure(perplexity_of(manifest)),
    }
    return render_template(
        "model",
        id=key_of(entry),
        chosen=" chosen" if shown else "",
        name=metadata.name,
        words=metadata.description or f"{levels} levels of {size} codes",
        light=light.light,
        health=light.words,
        verdict=verdict,
        verdict_class=verdict.replace(" ", "-"),
        figures=f"{metadata.dataset}, {metadata.file_count} sounds · "
        + " · ".join(f"{name} {value}" for name, value in figures.items() if value),
        places=", ".join(words for words, _ in places_of(entry, project)),
        shown=str(shown).lower(),
        compared=str(compared).lower(),
        compare="Compared" if compared else "Compare",
    )


def details_of(entry: Entry, context: Context) -> str:
    """All that a model says of itself, and what its check lets hear."""
    manifest = entry.manifest
    metadata, lineage, prior = manifest.metadata, manifest.lineage, manifest.prior_metadata
    rows = {
        "Dataset": dataset_words(manifest),
        "Preset": metadata.preset,
        "Rebuilding (VQ-VAE)": vqvae_words(manifest),
        "What follows what (prior)": prior_words(manifest),
        **{f"Asked for: {name}": words for name, words in asked_words(manifest).items()},
        "Stereo (space)": space_words(manifest),
        "Copies (memorization)": memorization_words(manifest),
        "Warnings": with_labels("; ".join(metadata.warnings), manifest.vqvae_config.num_quantizers),
        "Tags": ", ".join(metadata.tags),
        "Seed": str(lineage.seed),
        "Fingerprint of the model (weights)": manifest.tensor_digest,
        "Fingerprint of the sounds (data digest)": lineage.data_digest,
        "What it follows from (lineage)": lineage.id,
    }
    listed = "".join(render_template("details", name=name, value=value) for name, value in rows.items() if value)
    curves = [
        _curve(
            "Error of rebuilding (loss)",
            manifest.loss_curve_history.train_losses,
            manifest.loss_curve_history.val_losses,
        )
    ]
    if prior is not None:
        curves.append(
            _curve("Choices left open (perplexity)", prior.history.train_perplexities, prior.history.val_perplexities)
        )
    return (
        f'<section class="d-details" aria-label="Details of {escape(metadata.name)}"><h3>{escape(metadata.name)}</h3>'
        f"{_heard_copies(entry, context)}{_levels(manifest)}"
        f'<div class="d-two">{"".join(curves)}</div><dl>{listed}</dl></section>'
    )


def differences_of(rows: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> str:
    """In what models differ, as a table; `names` are what the models of each row are called, in order."""
    if not rows:
        return '<p class="d-hint">They do not differ.</p>'
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{escape(row)}</th>'
        + "".join(f"<td>{escape(_value(value))}</td>" for value in values.values())
        + "</tr>"
        for row, values in rows.items()
    )
    return (
        f'<div class="d-rows"><table><caption>Differences</caption><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _heard_copies(entry: Entry, context: Context) -> str:
    check = entry.manifest.memorization
    if check is None:
        return ""
    return evidence(in_plain_words(check.verdict, check.evidence), evidence_page(entry, context.project), context)


def _levels(manifest: Manifest) -> str:
    health = health_of(manifest)
    labels = level_labels(manifest.vqvae_config.num_quantizers)
    rows = "".join(
        render_template(
            "level",
            label=label,
            utilization=f"{level['utilization']:.0%}",
            perplexity=f"{level['perplexity']:.1f}",
            dead=level["dead_codes"],
        )
        for label, level in zip(labels, health.values(), strict=False)
    )
    if not rows:
        return ""
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("codes in use", "as if evenly (perplexity)", "never used (dead)")
    )
    return (
        f'<div class="d-rows"><table><caption>{escape(light_of(manifest).words)}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _curve(title: str, train: Sequence[float | None], held_out: Sequence[float | None]) -> str:
    known = [value for value in (*train, *held_out) if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    last_train = next((value for value in reversed(train) if value is not None), None)
    last_held_out = next((value for value in reversed(held_out) if value is not None), None)
    words = f"{title} over {max(len(train), len(held_out))} epochs: training (grey) {figure(last_train)} at the end"
    if last_held_out is not None:
        words += f", sounds kept aside (held-out, coloured) {figure(last_held_out)}"
    return render_template("curve", words=words, train=_points(train, low, high), held_out=_points(held_out, low, high))


def _points(values: Sequence[float | None], low: float, high: float) -> str:
    step, room = _WIDTH / max(1, len(values) - 1), (_HEIGHT - 2 * _EDGE) / ((high - low) or 1.0)
    return " ".join(
        f"{index * step:.1f},{_HEIGHT - _EDGE - (value - low) * room:.1f}"
        for index, value in enumerate(values)
        if value is not None
    )


def _figure(value: float | None, unit: str = "") -> str:
    return "" if value is None else f"{value:.3g}{unit}"


def _value(value: Any) -> str:
    return figure(value) if isinstance(value, float) or value is None else str(value)
