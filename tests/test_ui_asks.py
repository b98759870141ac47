"""What the page lets somebody ask a model for."""

from pathlib import Path

import pytest

from asking_util import write_askable
from distill.artifact.model_file import read_manifest
from model_example import write_example

pytest.importorskip("gradio")


def test_a_model_shows_what_it_can_be_asked_for(tmp_path: Path) -> None:
    from distill.ui.ask_controls import kind_settings, show_kinds

    group, label, knobs = show_kinds(read_manifest(write_askable(tmp_path / "kit.distill")), new=True)
    assert group["visible"]
    assert [value for _, value in label["choices"]] == ["", "hat", "kick"]
    assert [value for _, value in knobs["choices"]] == ["length", "bright", "noisy", "pitch"]
    plain = read_manifest(write_example(tmp_path / "plain.distill"))
    assert not show_kinds(plain, new=True)[0]["visible"]
    assert kind_settings("", ["bright"], 0.1, 0.2, 0.3, 0.4, 0.5, 0.6) == {"label": None, "bright": 0.3}
    assert kind_settings("hat", [], *[0.5] * 6) == {"label": "hat"}
