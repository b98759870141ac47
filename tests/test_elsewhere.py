"""Other systems: what only Linux and macOS have is not needed to import distill, or has a way out."""

import subprocess
import sys
from pathlib import Path

# As if the system had neither, and Windows' kind of locks instead.
HIDDEN = """
import importlib, os, pkgutil, sys, types
# Other packages see to themselves.
import gradio, mlflow, pandas, psutil, torch
sys.modules["fcntl"] = sys.modules["resource"] = None
held = set()
def locking(descriptor, mode, count):
    key = os.fstat(descriptor).st_ino
    if key in held:
        raise PermissionError(13, "Permission denied")
    held.add(key)
import distill
for module in pkgutil.walk_packages(distill.__path__, "distill."):
    # Those are run, not imported.
    if not module.name.startswith(("distill.template", "distill.__main__", "distill.tracking.app")):
        importlib.import_module(module.name)
# What the interpreter itself does with it is none of the test's business.
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
from pathlib import Path
from distill.locks import acquire, is_held
path = Path(sys.argv[1])
assert not is_held(path)
acquire(path, lambda: None)
assert is_held(path)
"""


def test_everything_is_imported_without_what_other_systems_lack(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", HIDDEN, str(tmp_path / "lock")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
