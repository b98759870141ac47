"""1,000 damaged models, grids, journals and sidecars: used, or one line each; nothing executed, memory bounded."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codes_util import grid
from distill.codes.file import write_grid
from distill.codes.history import History
from distill.live.journal import Entry
from model_example import write_example

EACH = 250
MEMORY = 512 << 20

# Reads every file that stdin names, with little more memory than it has by then, and says how many were refused.
READER = f"""
import json, resource, sys
from pathlib import Path
from distill.artifact.model_file import read_manifest, read_model
from distill.codes.file import read_grid
from distill.errors import DistillError
from distill.generation.sidecar import read_sidecar
from distill.live.journal import read_entries

FORBIDDEN = ("exec", "os.system", "os.exec", "subprocess.Popen", "pickle.find_class", "socket.connect")
readers = {{".distill": (read_manifest, read_model), ".jsonl": (read_entries,)}}
readers[".grid"], readers[".sidecar"] = (read_grid,), (read_sidecar,)
refused, done = 0, []
jobs = [Path(name) for name in json.load(sys.stdin)]
for whole in (path for path in jobs if path.stem == "whole"):
    # What is loaded at the first use is loaded here.
    for read in readers[whole.suffix]:
        read(whole)

def watch(event, arguments):
    # Modules are executed from their files when something needs them for the first time.
    if event in FORBIDDEN and not (event == "exec" and Path(arguments[0].co_filename).is_file()):
        done.append((event, arguments))

sys.addaudithook(watch)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {MEMORY}, used + {MEMORY}))
for path in jobs:
    for read in readers[path.suffix]:
        try:
            read(path)
        except DistillError as error:
            refused += 1
            assert "\\n" not in str(error), error
            assert len(str(error)) < 2000, error
assert not done, done
print(refused)
"""


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Some bytes of a file changed, most often near its start."""
    copy = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(chance.choice((16, min(2000, len(copy)), len(copy))))
        length = chance.randrange(1, 40)
        match chance.randrange(6):
            case 0:
                copy[place] ^= 1 << chance.randrange(8)
            case 1:
                copy[place : place + length] = chance.randbytes(length)
            case 2:
                copy[place : place + length] = b""
            case 3:
                copy[place:place] = copy[place : place + length] * chance.randrange(1, 4)
            case 4:
                copy[place : place + 8] = b"\xff" * 8
            case 5:
                copy[place : place + 1] = chance.choice(
                    (b"9" * 5000, b"[" * 20_000, b'{"a":' * 20_000, b"1e999", b"\0")
                )
        if not copy:
            break
    return bytes(copy)


STRANGE = (None, True, -1, 0, 10**30, 1e308, "", "x" * 10_000, [], {}, [[]], {"a": 1}, "\x1b[31m\n", "__import__('os')")


def changed(value: Any, chance: random.Random) -> Any:
    """A document with one of its values, wherever it stands, taken out, doubled or replaced by something strange."""
    children = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not children or chance.random() < 0.1:
        return chance.choice(STRANGE)
    key = chance.choice(children)
    copy = dict(value) if isinstance(value, dict) else list(value)
    match chance.randrange(6):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, list):
            copy = copy * chance.randrange(2, 200)
        case 1:
            copy["surprise"] = copy[key]
        case _:
            copy[key] = changed(copy[key], chance)
    return copy


def sidecar_of(folder: Path) -> dict[str, Any]:
    from distill.generation.sound_request import Request
    from distill.generation.writing import Destination, produce

    (written,) = produce(folder / "whole.distill", Request(seconds=0.2), Destination(folder / "made"))
    assert written.sidecar is not None
    found: dict[str, Any] = json.loads(written.sidecar.read_text())
    return found


def test_1000_damaged_files_give_one_line_each_and_nothing_is_executed(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    chance = random.Random(1)
    write_example(tmp_path / "whole.distill")
    write_grid(tmp_path / "grid.json", History(grid()))
    entries = [Entry("train_vqvae", seq, 10 * seq, "command", {"max_lr": [1e-3, 5e-4]}) for seq in range(1, 5)]
    (tmp_path / "whole.jsonl").write_bytes(b"".join(entry.line() for entry in entries))
    documents = {
        ".grid": json.loads((tmp_path / "grid.json").read_text()),
        ".sidecar": sidecar_of(tmp_path),
    }
    jobs = [tmp_path / "whole.distill", tmp_path / "whole.jsonl"]
    for suffix, document in documents.items():
        jobs.append(tmp_path / f"whole{suffix}")
        jobs[-1].write_text(json.dumps(document))
    for whole in tuple(jobs):
        data = whole.read_bytes()
        for index in range(EACH):
            victim = tmp_path / f"{index}{whole.suffix}"
            if index % 2 and whole.suffix in documents:
                victim.write_text(json.dumps(changed(documents[whole.suffix], chance)))
            elif index % 2 and whole.suffix == ".jsonl":
                lines = [json.dumps(changed(json.loads(line), chance)) for line in data.splitlines()]
                victim.write_text("\n".join(lines) + "\n")
            else:
                victim.write_bytes(mutated(data, chance))
            jobs.append(victim)
    assert len(jobs) == 4 * EACH + 4
    command = [sys.executable, "-W", "error", "-c", READER]
    done = subprocess.run(
        command, input=json.dumps([str(job) for job in jobs]), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 2 * EACH
