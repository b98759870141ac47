"""Where flows write: inside their project, whatever they are asked for."""

from pathlib import Path

import pytest

from distill.errors import UsageError

pytest.importorskip("prefect")

from flows.generate import inside


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
