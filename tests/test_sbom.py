"""The bill of materials: valid CycloneDX, the same each time, and what is installed."""

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from distill.tracking.sbom import bill_of_materials

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts distributions with given metadata first on the path of this process."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(folder: str, *lines: str) -> None:
        place = tmp_path / f"{folder}.dist-info"
        place.mkdir()
        (place / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))

    return put


def component(name: str, document: dict[str, Any]) -> dict[str, Any]:
    (found,) = [each for each in document["components"] if each["name"] == name]
    return dict(found)


def complaint(document: dict[str, Any]) -> object:
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))


def test_the_document_is_valid_and_a_wrong_one_would_be_noticed() -> None:
    document = bill_of_materials()
    assert complaint(document) is None
    assert complaint({**document, "components": [{"name": "no type"}]}) is not None


def test_the_same_environment_gives_the_same_document_whatever_the_order_of_the_path(
    monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    install("zebra-1", "Name: zebra", "Version: 1")
    document = bill_of_materials()
    # The first folder of two with the same distribution counts, so only others may move.
    monkeypatch.setattr(sys, "path", [*sys.path[1:], sys.path[0]])
    assert bill_of_materials() == document
    assert not {"serialNumber", "timestamp"} & {*document, *document["metadata"]}


def test_what_is_installed_is_named_with_version_and_address() -> None:
    document = bill_of_materials()
    torch = component("torch", document)
    assert torch["version"] == version("torch")
    assert torch["purl"] == f"pkg:pypi/torch@{version('torch').replace('+', '%2B')}"
    assert torch["licenses"]
    assert component("CPython", document)["version"] == ".".join(map(str, sys.version_info[:3]))


# What a distribution's metadata say, and the licences of its component.
LICENCES: list[tuple[list[str], Any]] = [
    (["License-Expression: MIT OR Apache-2.0", "License: something"], [{"expression": "MIT OR Apache-2.0"}]),
    (
        ["License: text", "Classifier: License :: OSI Approved :: MIT License", "Classifier: Topic :: Games"],
        [{"license": {"name": "MIT License"}}],
    ),
    (["License: My licence", "Classifier: License :: OSI Approved"], [{"license": {"name": "My licence"}}]),
    (["License: Copyright me", "        All rights", "        reserved"], [{"license": {"name": "Copyright me"}}]),
    (["License: UNKNOWN"], None),
    ([], None),
]


def test_licences_are_those_that_a_distribution_states(install: Install) -> None:
    for number, (lines, _) in enumerate(LICENCES):
        install(f"my_thing{number}-1.0", f"Name: My_Thing{number}", "Version: 1.0+local", *lines)
    document = bill_of_materials()
    found = {each["name"]: each for each in document["components"]}
    for number, (lines, licences) in enumerate(LICENCES):
        assert found[f"My_Thing{number}"]["purl"] == f"pkg:pypi/my-thing{number}@1.0%2Blocal"
        assert found[f"My_Thing{number}"].get("licenses") == licences, lines
    assert complaint(document) is None


def test_half_removed_distributions_are_left_out_and_hidden_ones_not_counted(install: Install) -> None:
    install("gone-1.0")
    install("nameless-1.0", "Version: 1.0")
    install("numpy-0.1", "Name: NumPy", "Version: 0.1")
    document = bill_of_materials()
    names = [each["name"] for each in document["components"]]
    assert "nameless" not in names
    assert "numpy" not in names
    assert component("NumPy", document)["version"] == "0.1"
