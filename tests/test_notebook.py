"""The notebook does what it says: all of its cells are run, with the smallest settings."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from page_util import LEAST

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "first_model.ipynb"


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    parameters = next(cell for cell in cells if "parameters" in cell.metadata.get("tags", ()))
    parameters.source += f"\nsettings = {list(LEAST)}"
    shutil.copytree(ROOT / "sounds", tmp_path / "kit")
    monkeypatch.delenv("DISTILL_PROJECT")
    monkeypatch.setenv("DISTILL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # The kernel keeps to this folder: no history and no keys in the user's own.
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in cells for output in cell.outputs]
    kinds = [kind for output in shown for kind in output.get("data", {})]
    assert kinds.count("image/png") == 2
    assert sum("<audio" in str(output) for output in shown) == 8
    assert (tmp_path / "first.distill").is_file()
