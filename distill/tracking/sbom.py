"""The bill of materials of an environment: the installed distributions, as CycloneDX 1.6."""

import platform
import re
from importlib.metadata import Distribution, distributions
from typing import Any
from urllib.parse import quote

from distill import __version__

_LICENCE = "License :: "
_LONGEST = 200


def bill_of_materials() -> dict[str, Any]:
    """A CycloneDX document of the installed distributions; the same environment gives the same document.

    It has neither time nor serial number, and names no machine and no folder.
    """
    found: dict[str, dict[str, Any]] = {}
    for each in distributions():
        # The first on the path is imported; a half-removed one is only a folder.
        if (name := _field(each, "Name")) and _field(each, "Version"):
            found.setdefault(_canonical(name), _component(each))
    python = {
        "type": "platform",
        "bom-ref": "python",
        "name": platform.python_implementation(),
        "version": platform.python_version(),
    }
    own = {"type": "application", "bom-ref": "distill", "name": "distill", "version": __version__}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own},
        "components": [python, *(found[name] for name in sorted(found))],
    }


def _component(distribution: Distribution) -> dict[str, Any]:
    name, version = _field(distribution, "Name"), _field(distribution, "Version")
    purl = f"pkg:pypi/{_canonical(name)}@{quote(version, safe='')}"
    component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    licences = _licences(distribution)
    return {**component, "licenses": licences} if licences else component


def _licences(distribution: Distribution) -> list[dict[str, Any]]:
    """As the distribution states them: an SPDX expression, else its classifiers, else the first line of a text."""
    if expression := _field(distribution, "License-Expression"):
        return [{"expression": expression}]
    classifiers = [each for each in distribution.metadata.get_all("Classifier", []) if each.startswith(_LICENCE)]
    classifiers = sorted({each.rpartition(" :: ")[2] for each in classifiers} - {"OSI Approved"})
    text = _field(distribution, "License").strip()
    named = classifiers or ([text.splitlines()[0][:_LONGEST]] if text and text != "UNKNOWN" else [])
    return [{"license": {"name": name}} for name in named]


def _field(distribution: Distribution, name: str) -> str:
    known = distribution.metadata
    return str(known[name]) if known and name in known else ""


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
