"""Who may become champion: a version that memorized nothing and is not worse than the champion before it."""

from dataclasses import replace
from pathlib import Path

from distill.artifact.manifest import Manifest
from distill.errors import UsageError
from distill.library.registry import CHAMPION, RegisteredVersion, find_version, manifest_of, set_alias, versions

PASS, FAIL = "pass", "fail"


def promote(reference: str, project: Path, *, force: bool = False) -> RegisteredVersion:
    """Make a registered version the champion of its name.

    What counts is the registered file, not the registry's tags. `force` overrules everything but a failing verdict.

    Raises:
        UsageError: the version may not be champion; the message says why.
        ArtifactError: the registered file is damaged.
        TrackingError: the registry cannot be used.
    """
    version = find_version(reference, project)
    manifest = manifest_of(version, project)
    verdict = manifest.memorization
    if verdict is not None and verdict.verdict == FAIL:
        raise UsageError(f"{version.reference} is not promoted, it memorized its sounds: {'; '.join(verdict.reasons)}")
    if not force:
        for reason in objections(version, manifest, project):
            raise UsageError(f"{version.reference} is not promoted, {reason} (--force overrules this)")
    set_alias(version, CHAMPION, project)
    return replace(version, aliases=tuple(sorted({*version.aliases, CHAMPION})))


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
    best = manifest_of(champion, project)
    if best.lineage.data_digest != manifest.lineage.data_digest:
        found.append(f"it was trained on other sounds than the champion {champion.reference}: they do not compare")
        return found
    pairs = [("held-out distance in dB", manifest.metadata.best_val_lsd_db, best.metadata.best_val_lsd_db)]
    if manifest.prior_metadata and best.prior_metadata and _codes(manifest) == _codes(best):
        # Perplexities compare only between priors of the same codes.
        perplexities = (manifest.prior_metadata.perplexity.validation, best.prior_metadata.perplexity.validation)
        pairs.append(("held-out perplexity", *perplexities))
    for what, mine, other in pairs:
        if mine is not None and other is not None and mine > other:
            found.append(f"its {what} is {mine:.4g}, the champion's ({champion.reference}) is {other:.4g}")
    return found


def _codes(manifest: Manifest) -> object:
    return manifest.lineage.parameters.get("vqvae_lineage")
