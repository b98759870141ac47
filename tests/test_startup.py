"""Commands load what they use: those that use a model not what trains one, the page at first not what takes long."""

import subprocess
import sys
from pathlib import Path

from model_example import write_example

SCRIPT = """
import gc
import sys
from distill.cli.main import main

COMMANDS = (
    "generate bells.distill --duration 0.3 -o .",
    "encode bells.distill bells_0000.wav -o a.json",
    "codes set a.json 1 --columns 0",
    "codes randomize bells.distill a.json --levels 0",
    "decode bells.distill a.json -o b.wav",
)
for command in COMMANDS:
    sys.argv = ["distill", *command.split()]
    main_ended = None
    try:
        main()
    except SystemExit as ended:
        main_ended = ended.code
    assert not main_ended, command
needless = {"vector_quantize_pytorch", "torch._dynamo", "mlflow", "pandas", "matplotlib", "yaml"}
loaded = needless & set(sys.modules)
assert not loaded, loaded
# What has been loaded for good is not searched for rubbish, at the end neither.
assert gc.get_freeze_count() > len(gc.get_objects())
"""


def test_a_model_is_used_without_what_trains_one(tmp_path: Path) -> None:
    write_example(tmp_path / "bells.distill")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200
    )
    assert not done.returncode, done.stderr
    assert (tmp_path / "b.wav").stat().st_size


def test_the_opening_of_the_page_loads_nothing_that_takes_long() -> None:
    found = "import sys, distill.ui.server; print(*{'gradio', 'torch', 'matplotlib', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
