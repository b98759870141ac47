"""The examples in docstrings hold."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for name in ("distill", "flows") for path in (ROOT / name).rglob("*.py"))
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES if ">>> " in path.read_text("utf-8")
]
# What is not always installed, by the package that needs it.
NEEDED = {"distill.ui": "gradio", "flows": "prefect"}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pydantic.warnings.PydanticDeprecatedSince20")
def test_the_examples_of_a_module_hold(name: str) -> None:
    for package, needed in NEEDED.items():
        if name.startswith(f"{package}."):
            pytest.importorskip(needed)
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted
    assert not found.failed
