"""Searching settings: what may be asked, what is suggested, what ends early, and a search that is interrupted."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_util import Command
from distill.errors import ArtifactError, TrainingError, UsageError
from distill.params import listed_settings
from distill.runs.sweep import Search, Settings, Span, check, space_of
from pipeline_util import TINY
from project_util import make_project

# Prefect's imports, on this Python.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::pydantic.warnings.PydanticDeprecatedSince20"
)

SETTINGS: Settings = {
    "vqvae.learning_rate": "1e-4..1e-2",
    "vqvae.num_quantizers": "2..4",
    "data.speed_semitones": [[1.0, 2.0], [3.0]],
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What a search needs of a project before it trains."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"schema": 1, **TINY}))
    return tmp_path


def test_ranges_are_typed_beside_values() -> None:
    given = ["vqvae.learning_rate=1e-4..1e-2", "run.seed= 0 .. 3", "data.path=../kit,..", "vqvae.dropout=0.1,.2"]
    assert listed_settings(given) == {
        "vqvae.learning_rate": "1e-4..1e-2",
        "run.seed": "0 .. 3",
        "data.path": ["../kit", ".."],
        "vqvae.dropout": [0.1, 0.2],
    }
    for wrong in ("vqvae.dropout=0..", "vqvae.dropout=..1", "vqvae.dropout=0..1..2", "vqvae.dropout=0..-"):
        with pytest.raises(UsageError, match=r"low\.\.high"):
            listed_settings([wrong])


def test_a_range_is_of_the_kind_of_its_parameter(project: Path) -> None:
    found = space_of(project, {**SETTINGS, "prior.hidden": "64..256", "vqvae.weight_decay": "0..1"})
    assert found == {
        "vqvae.learning_rate": Span(1e-4, 1e-2, None),
        "vqvae.num_quantizers": Span(2, 4, 1),
        "data.speed_semitones": [[1.0, 2.0], [3.0]],
        "prior.hidden": Span(64, 256, 8),
        "vqvae.weight_decay": Span(0, 1, None),
    }
    assert Span(1e-4, 1e-2, None).log
    assert not Span(1e-3, 1e-2, None).log
    assert not Span(0, 100, None).log
    assert not Span(1, 100, 1).log


WRONG: dict[str, tuple[str, ...]] = {
    "must be below": ("vqvae.learning_rate=1e-2..1e-4",),
    "greater than or equal to 0.00001": ("vqvae.learning_rate=1e-9..1e-4",),
    "less than or equal to 4": ("vqvae.dropout=0..0.5", "vqvae.num_quantizers=2,9"),
    "did you mean dropout": ("vqvae.dropot=0..0.5",),
    "did you mean vqvae": ("vqva.dropout=0..0.5",),
    "expected section.key": ("dropout=0..0.5",),
    "no section": ("schema.dropout=0..0.5",),
    "fits numbers only": ("run.device=1..3",),
    "list the values": ("vocoder.enabled=0..1",),
    "whole numbers": ("vqvae.num_quantizers=2.5..4",),
    "multiple of 8": ("prior.hidden=20..64",),
    "lists alone are combined": ("run.seed=0,1", "--trials", "3"),
    "lsd_db": ("vqvae.dropout=0..0.5", "--objective", "loudness"),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_is_asked_wrongly_is_one_line_and_starts_nothing(distill: Command, project: Path, said: str) -> None:
    before = sorted(project.rglob("*"))
    done = distill("sweep", *WRONG[said], "--project", str(project), code=2)
    assert said in done.err
    assert done.err.count("\n") == 1
    assert sorted(project.rglob("*")) == before


def test_without_optuna_a_search_says_what_to_install(
    distill: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [each for each in sys.path if "site-packages" not in each])
    monkeypatch.delitem(sys.modules, "optuna", raising=False)
    with pytest.raises(UsageError, match=r"pip install 'distill-audio\[search\]'"):
        check(project, {"vqvae.dropout": "0..0.5"}, None)
    check(project, {"vqvae.dropout": [0.0, 0.5]}, None)
