"""Damaged model files: whatever happens to the bytes, the model is the same or there is one clear line."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import torch

from artifact_example import PRIOR, PRIOR_METADATA, equal, manifest, prior_state, vqvae_state
from distill.artifact.model_file import read_manifest, read_model, write_model
from distill.errors import ArtifactError

Result = TypeVar("Result")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def with_prior(tmp_path: Path) -> Path:
    path = tmp_path / "model.distill"
    write_model(path, manifest(prior_config=PRIOR, prior_metadata=PRIOR_METADATA), vqvae_state(), prior_state())
    return path


def damaged(data: bytes, donor: bytes, chance: random.Random) -> bytes:
    """A copy with one kind of damage, most often in the first part, where the header is."""
    header = 8 + int.from_bytes(data[:8], "little")
    place = chance.randrange(chance.choice([8, 64, header, len(data)]))
    length = chance.randrange(1, 64)
    other = chance.randrange(len(donor))
    copy = bytearray(data)
    match chance.choice(["flip", "byte", "digit", "truncate", "extend", "cut", "double", "splice", "swap", "zero"]):
        case "flip":
            copy[place] ^= 1 << chance.randrange(8)
        case "byte":
            copy[place] = chance.randrange(256)
        case "digit":
            digits = [index for index in range(8, header) if chr(copy[index]).isdigit()]
            copy[chance.choice(digits)] = chance.choice(b"0123456789")
        case "truncate":
            del copy[place:]
        case "extend":
            copy += chance.randbytes(length)
        case "cut":
            del copy[place : place + length]
        case "double":
            copy[place:place] = copy[place : place + length]
        case "splice":
            copy[place : place + length] = donor[other : other + length]
        case "swap":
            copy[place : place + length] = copy[place : place + length][::-1]
        case "zero":
            copy[place : place + length] = bytes(len(copy[place : place + length]))
    return bytes(copy)


def outcome(read: Callable[[Path], Result], path: Path) -> Result | None:
    """What was read, or None after an error of one line that names the file; anything else is raised."""
    try:
        return read(path)
    except ArtifactError as error:
        message = str(error)
    assert message.startswith(str(path))
    assert "\n" not in message
    return None


def test_damage_is_noticed_or_changes_nothing(tmp_path: Path, with_prior: Path) -> None:
    chance = random.Random(20)
    plain = tmp_path / "plain.distill"
    write_model(plain, manifest(), vqvae_state())
    victim = tmp_path / "victim.distill"
    noticed = 0
    for source, donor in ((plain, with_prior), (with_prior, plain)):
        whole = read_model(source)
        original, other = source.read_bytes(), donor.read_bytes()
        for _ in range(300):
            data = damaged(original, other, chance)
            victim.write_bytes(data)
            document, model = outcome(read_manifest, victim), outcome(read_model, victim)
            assert document is None or document == whole.manifest
            if model is None:
                noticed += 1
                continue
            assert model.manifest == whole.manifest
            assert equal(model.vqvae_state, whole.vqvae_state)
            assert equal(model.prior_state or {}, whole.prior_state or {})
    assert noticed > 500


def test_every_single_flipped_bit_of_the_weights_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_model(path, manifest(), {"a": torch.randn(3), "flag": torch.tensor([True])})
    data = path.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    for bit in range(8 * header, 8 * len(data)):
        copy = bytearray(data)
        copy[bit // 8] ^= 1 << bit % 8
        path.write_bytes(copy)
        with pytest.raises(ArtifactError, match="tensors do not match their digest"):
            read_model(path)


def test_a_full_disk_leaves_the_old_file(with_prior: Path) -> None:
    script = (
        "import resource, signal, sys; from pathlib import Path;"
        "from distill.artifact.model_file import read_model, write_model; from distill.errors import StorageError;"
        "path = Path(sys.argv[1]); model = read_model(path); signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_model(path, model.manifest, model.vqvae_state, model.prior_state)\n"
        "except StorageError as error: print(error)"
    )
    before = with_prior.read_bytes()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, str(with_prior)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.startswith(f"cannot write {with_prior}: File too large")
    assert with_prior.read_bytes() == before
    assert len(list(with_prior.parent.iterdir())) == 1
