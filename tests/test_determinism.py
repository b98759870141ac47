"""Fresh processes on two threads give one digest, in fp32 and in bf16 (repeats in one process would prove nothing)."""

import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from pipeline_util import make_workspace

CHILD = textwrap.dedent(
    """
    import json, sys
    from pathlib import Path
    from pipeline_util import make_workspace, run
    digests = {}
    for precision in ("fp32", "bf16"):
        root = Path(sys.argv[1]) / precision
        root.mkdir(parents=True)
        workspace = make_workspace(
            root,
            run={"precision": precision, "threads": 2},
            vqvae={"codebook_size": 64, "batch_size": 16, "augmentation_expansion": 4, "epochs": 2},
            prior={"hidden": 64, "layers": 2, "batch_size": 8, "epochs": 2},
        )
        report = run(workspace, "prepare", "configure", "train_vqvae")
        digests[precision] = [report["digest"], run(workspace, "train_prior")["digest"]]
    print(json.dumps(digests))
    """
)


FORKS = textwrap.dedent(
    """
    import hashlib, os
    import torch
    import distill.audio.mel, distill.models.prior, distill.models.quantizer, distill.training.runtime
    torch.set_num_threads(2)
    digests = set()
    for _ in range(250):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, hashlib.sha256(torch.hann_window(2048).numpy().tobytes()).digest())
            os._exit(0)
        os.close(writer)
        digests.add(os.read(reader, 32))
        os.close(reader)
        os.wait()
    print(len(digests))
    """
)


def digests_of_processes(folder: Path, count: int) -> list[dict[str, list[str]]]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "2"}
    found = []
    for index in range(count):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder / str(index))],
            env={**environment, "PYTHONHASHSEED": str(index)},
            capture_output=True,
            text=True,
            check=False,
            timeout=250,
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


def test_two_fresh_processes_agree(tmp_path: Path) -> None:
    one, two = digests_of_processes(tmp_path, 2)
    assert one == two
    assert one["fp32"] != one["bf16"]


def test_first_computation_on_two_threads_is_the_same_in_every_process() -> None:
    # Forks that have not computed yet stand for fresh processes, of which it takes hundreds to see a rare other one.
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_fresh_processes_agree(tmp_path: Path) -> None:
    found = digests_of_processes(tmp_path, 20)
    assert Counter(json.dumps(digests) for digests in found) == {json.dumps(found[0]): 20}


def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    from pipeline_util import run

    digests = set()
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        workspace = make_workspace(tmp_path / str(seed), run={"seed": seed}, vqvae={"epochs": 1})
        digests.add(run(workspace, "prepare", "configure", "train_vqvae")["digest"])
    assert len(digests) == 2
