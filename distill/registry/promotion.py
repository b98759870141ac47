"""Who may become champion: a version that memorized nothing and is not worse than the champion before it."""

from dataclasses import replace
from pathlib import Path

from distill.artifact.manifest import Manifest
from distill.artifact.model_file import read_manifest
from distill.configs import SPECTRAL_TERMS
from distill.errors import ArtifactError, DistillError, UsageError
from distill.registry.registry import (
    CHAMPION,
    RegisteredVersion,
    file_of,
    find_version,
    is_file_reference,
    read_intact,
    registry_lock,
    set_alias,
    versions,
)
from distill.registry.signing import trusted_key, verify

PASS, FAIL = "pass", "fail"


class Refused(DistillError):
    """A version that may not be champion."""


class NotPromoted(Refused):
    """A version that is not promoted for reasons that `force` overrules."""

    def __init__(self, reference: str, reasons: list[str]) -> None:
        super().__init__(f"{reference} is not promoted: {'; '.join(reasons)} (--force overrules this)")
        self.reasons = reasons


def promote(reference: str, project: Path, *, force: bool = False) -> RegisteredVersion:
    """Make a registered version the champion of its name.

    What counts is the registered file, not the registry's tags. `force` overrules everything but a failing verdict and,
    where the project trusts a key, a signature that is not valid.

    Raises:
        NotPromoted: something speaks against it that `force` overrules.
        Refused: the version may not be champion; the message says why.
        DataError: there is no such version.
        UsageError: a file is named.
        ArtifactError: the registered file is damaged.
        TrackingError: the registry cannot be used.
    """
    if is_file_reference(reference):
        raise UsageError(f"{reference} is a file: register it with distill model register, then promote the version")
    with registry_lock(project):
        version = find_version(reference, project)
        # The file itself, to the last weight: a champion is what others rely on.
        key = trusted_key(project)
        path = file_of(version, project, signed=key is not None)
        manifest = read_intact(path, generates=True)
        verdict = manifest.memorization
        if verdict is not None and verdict.verdict == FAIL:
            raise Refused(
                f"{version.reference} is not promoted because it memorized its sounds: {'; '.join(verdict.reasons)}"
            )
        if key is not None:
            _check_signature(version, path, key)
        found = [] if force else objections(version, manifest, project)
        if found:
            raise NotPromoted(version.reference, found)
        set_alias(version, CHAMPION, project)
    return replace(version, aliases=tuple(sorted({*version.aliases, CHAMPION})))


def _check_signature(version: RegisteredVersion, path: Path, key: Path) -> None:
    try:
        verify(path, key, called=version.reference)
    except ArtifactError as error:
        raise Refused(f"{version.reference} is not promoted: {error}") from error


def objections(version: RegisteredVersion, manifest: Manifest, project: Path) -> list[str]:
    """What speaks against a version as champion, each of which `force` may overrule."""
    found = []
    verdict = manifest.memorization
    if verdict is None:
        found.append("it was never checked for memorization")
    elif verdict.verdict != PASS:
        found.append(f"its memorization verdict is {verdict.verdict}: {'; '.join(verdict.reasons)}")
    champion = next((each for each in versions(project, version.name) if CHAMPION in each.aliases), None)
    if champion is None or champion.version == version.version:
        return found
    best = read_manifest(file_of(champion, project))
    return found + [f"{reason} (champion: {champion.reference})" for reason in worse(manifest, best)]


def worse(manifest: Manifest, champion: Manifest) -> list[str]:
    """In what a model is worse than the champion on held-out sounds, or why the two do not compare."""
    if _sounds(manifest) != _sounds(champion):
        return ["it was trained on other sounds than the champion, or they were prepared otherwise: no figure compares"]
    mine, known = manifest.metadata, champion.metadata
    pairs = []
    if mine.best_val_lsd_db is not None and known.best_val_lsd_db is not None:
        pairs.append(("held-out distance in dB", mine.best_val_lsd_db, known.best_val_lsd_db))
    elif _loss(manifest) == _loss(champion) and mine.best_val_loss is not None and known.best_val_loss is not None:
        # Losses compare only where they are sums of the same terms.
        pairs.append(("held-out loss", mine.best_val_loss, known.best_val_loss))
    else:
        return ["its held-out quality or the champion's is not known: no figure compares"]
    if manifest.prior_metadata and champion.prior_metadata and _codes(manifest) == _codes(champion):
        # Perplexities compare only between priors of the same codes.
        perplexity, other = manifest.prior_metadata.perplexity.validation, champion.prior_metadata.perplexity.validation
        if perplexity is not None and other is not None:
            pairs.append(("held-out perplexity", perplexity, other))
    return [
        f"its {what} is {value:.4g}, the champion's is {other:.4g}" for what, value, other in pairs if value > other
    ]


def _sounds(manifest: Manifest) -> object:
    """What the figures were measured on; the VQ-VAE of a model may have been trained on other sounds than its prior."""
    known = manifest.metadata
    vqvae = (known.dataset, known.file_count, known.train_chunks, known.validation_chunks, known.seconds)
    return manifest.lineage.data_digest, vqvae


def _loss(manifest: Manifest) -> object:
    config = manifest.training_config
    return {name: config.get(name) for name in ("commitment_weight", *(f"weight_{term}" for term in SPECTRAL_TERMS))}


def _codes(manifest: Manifest) -> object:
    return manifest.lineage.parameters.get("vqvae_lineage")
