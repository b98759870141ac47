"""What flows write, and where: inside their project, and nothing secret."""

from pathlib import Path

import pytest

from distill.errors import UsageError

pytest.importorskip("prefect")

from flows.generate import inside
from flows.recording import summary


@pytest.mark.parametrize("output", ["generated", ".", "a/b/c", "a/./b", "...", "inner/deep"])
def test_a_folder_of_the_project_is_taken(tmp_path: Path, output: str) -> None:
    (tmp_path / "inner").symlink_to(tmp_path / "elsewhere in it")
    assert inside(tmp_path, output).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    "output", ["/tmp/out", "..", "../out", "generated/../../out", "a/../b", "link", "link/deeper", "chain/out", "a\0b"]
)
def test_a_way_out_of_the_project_is_refused_in_one_line(tmp_path: Path, output: str) -> None:
    project, outside = tmp_path / "project", tmp_path / "outside"
    project.mkdir()
    outside.mkdir()
    (project / "link").symlink_to(outside)
    (project / "chain").symlink_to("link")
    with pytest.raises(UsageError, match="leads out of the project") as refused:
        inside(project, output)
    assert "\n" not in str(refused.value)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("address", ["https://me:secret@runs.example.org", "postgresql://me:secret@db/mlflow"])
def test_no_password_of_mlflow_stands_in_an_artifact(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    words = summary(tmp_path, tmp_path / "model.distill", None, "run1")
    assert "run1" in words
    assert "secret" not in words
