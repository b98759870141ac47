"""What models sound like in the library: a few sounds of each, by the same seeds, made once."""

from pathlib import Path

import pytest

from registry_util import make_folder, model_file

pytest.importorskip("gradio")

from distill.library.takes import Takes
from distill.ui.auditions import COUNT, audition
from distill.ui.context import context_of


def test_two_models_are_heard_by_the_same_seeds_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.ui.auditions.SECONDS", 0.3)
    project = make_folder(tmp_path / "project")
    models = [
        (name, model_file(project / "models" / f"{name}.distill", weights=n)) for n, name in enumerate(("a", "b<"))
    ]
    context = context_of(project, local=True)
    texts = list(audition(models, context))
    assert len(texts) == 2 * COUNT + 1
    assert "more are being made" in texts[0]
    assert "more are being made" not in texts[-1]
    assert texts[-1].count("<article") == 2 * COUNT
    assert "b&lt;" in texts[-1]
    assert "<h4>b<" not in texts[-1]
    assert all(
        texts[-1].count(f'aria-label="Play {name}, seed {seed}"') for name in ("a", "b&lt;") for seed in range(8)
    )
    takes = {take.id for take in Takes(project).all()}
    assert len(takes) == 2 * COUNT
    # What was made is found again, also in part.
    assert list(audition(models, context)) == texts[-1:]
    (project / "generated" / min(takes)).unlink()
    assert len(list(audition(models[:1], context))) + len(list(audition(models[1:], context))) == 3
