"""How the threads of a training wait for each other, in fresh processes."""

import os
import subprocess
import sys
import textwrap

import pytest

from distill.training.runtime import usable_cores

# Seconds of CPU while a process of two threads mostly sleeps between two short computations: threads that spin go on
# meanwhile, whatever else the machine does.
WAITING = textwrap.dedent(
    """
    import time
    import distill
    import torch
    torch.set_num_threads(2)
    numbers = torch.zeros(100_000)
    numbers.add_(1)
    begun = time.process_time()
    for _ in range(100):
        numbers.add_(1)
        time.sleep(0.01)
    print(time.process_time() - begun)
    """
)


def said(code: str, **variables: str) -> str:
    """What a fresh process prints, in whose environment nothing but `variables` speaks of waiting."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_policy_is_set_before_torch_is_loaded() -> None:
    code = "import sys, os, distill; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    assert said(code) == "False PASSIVE"
    assert said(code, OMP_WAIT_POLICY="ACTIVE") == "False ACTIVE"


@pytest.mark.skipif(usable_cores() < 2, reason="two threads of one core wait without spinning anyway")
def test_threads_that_wait_leave_the_processor_to_others() -> None:
    assert float(said(WAITING)) < 0.5 * float(said(WAITING, OMP_WAIT_POLICY="ACTIVE"))
