"""The lock of a run: who holds it to the end, and whom it says to stop."""

import os
import subprocess
import sys
from pathlib import Path

from distill.live.folder import RunFolder
from distill.processes.run_lock import hold, holder_of
from distill.runs.stopping import stop
from page_util import wait

LAST_WORDS = """
import sys
from pathlib import Path
from distill.processes.run_lock import hold
for _ in range(2):
    with hold(Path(sys.argv[1])):
        pass
print("left", flush=True)
sys.stdin.read()
"""


def test_a_folder_is_taken_until_whoever_got_it_has_said_its_last_words(tmp_path: Path) -> None:
    with hold(tmp_path, here=False) as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", LAST_WORDS, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **lock.environment},
            pass_fds=(lock.descriptor,),
        )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"left\n"
        holder = holder_of(tmp_path)
        child.communicate()
    assert holder is not None
    assert (holder.pid, holder.stops) == (child.pid, None)
    assert holder_of(tmp_path) is None


BEHIND_ITS_LAST_STEP = """
import sys, time
from pathlib import Path
from distill.live.folder import RunFolder
from distill.live.stop_request import stop_on_signals
from distill.processes.run_lock import hold
root = Path(sys.argv[1])
folder = RunFolder(root, "train_vqvae")
with hold(root), stop_on_signals() as stop:
    with folder.held():
        while not folder.pending():
            time.sleep(0.01)
    while not stop.asked:
        time.sleep(0.01)
"""


def test_a_training_that_takes_up_no_more_requests_is_stopped_behind_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", BEHIND_ITS_LAST_STEP, str(tmp_path)]) as child:
        wait(lambda: RunFolder(tmp_path, "train_vqvae").running() or child.poll() is not None)
        assert stop(tmp_path).step is None
        assert child.wait(timeout=30) == 0
