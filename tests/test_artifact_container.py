"""The container: round trips, equal bytes, metadata without the weights, and one clear line for any other file."""

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill.artifact.container import (
    digest_tensors,
    read_container,
    read_document,
    verify_container,
    write_container,
)
from distill.errors import ArtifactError, StorageError
from distill.files import canonical_json, digest_json

DOCUMENT = {"format": "test_thing", "version": 3, "notes": ["ä", None, 0.1, {"b": 1, "a": -0.0}]}
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")

WRITE = """
import sys, torch
from pathlib import Path
from distill.artifact.container import write_container
names = {"zeta", "alpha", "mid", "beta.weight"}
tensors = {name: torch.arange(len(name) * 3, dtype=torch.float32).view(-1, 3) for name in names}
tensors |= {"count": torch.tensor(7), "flag": torch.tensor([True, False, True])}
document = {"format": "test_thing", "version": 3} | {name: sorted(names) for name in names}
write_container(Path(sys.argv[1]), tensors, document)
"""

READ_METADATA = """
import sys
from pathlib import Path
from distill.artifact.container import read_document
from distill.artifact import model_file
document = read_document(Path(sys.argv[1]), format="test_thing", version=3)
assert document["notes"][0] == "\\u00e4", document
heavy = sorted({"torch", "numpy", "safetensors", "pandas"} & set(sys.modules))
assert not heavy, heavy
"""


def every_kind() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    values = torch.randint(0, 2, (3, 5), generator=generator)
    tensors = {f"kind.{name}": values.to(getattr(torch, name)) for name in DTYPES}
    noise = torch.randn(4, 6, generator=generator)
    return tensors | {
        "scalar": torch.tensor(3),
        "sixteen axes": torch.ones((1,) * 16),
        "empty": torch.zeros(0, 4),
        "transposed": noise.T,
        "slice": noise[:, ::2],
        "special": torch.tensor([float("nan"), float("inf"), -0.0]),
        "parameter": torch.nn.Parameter(noise[0]),
    }


def run(script: str, *arguments: object, hash_seed: int = 0) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "OMP_NUM_THREADS": "1"}
    root = str(Path(__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def raw_file(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def metadata_of(document: dict[str, Any]) -> dict[str, str]:
    """Safetensors metadata of a document with the right digest."""
    content = {"tensor_digest": digest_tensors({}), **document}
    return {"distill": canonical_json({**content, "document_digest": digest_json(content)}).decode()}


def complaint(path: Path) -> str:
    """The error of reading a file, checked to be one line that names the file."""
    with pytest.raises(ArtifactError) as caught:
        read_container(path, format="test_thing", version=3)
    message = str(caught.value)
    with pytest.raises(ArtifactError) as checked:
        verify_container(path, format="test_thing", version=3)
    assert str(checked.value) == message
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_everything_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a b ü.bin"
    tensors = every_kind()
    digest = write_container(path, tensors, DOCUMENT)
    back = read_container(path, format="test_thing", version=3)
    assert back.document == {**DOCUMENT, "tensor_digest": digest}
    assert verify_container(path, format="test_thing", version=3) == back.document
    assert back.digest == digest == digest_tensors(tensors) == digest_tensors(back.tensors)
    assert set(back.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert back.tensors[name].dtype == tensor.dtype
        torch.testing.assert_close(back.tensors[name], tensor.detach(), rtol=0, atol=0, equal_nan=True)
        assert not back.tensors[name].requires_grad
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_writing_again_what_was_read_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_container(first, every_kind(), DOCUMENT)
    back = read_container(first, format="test_thing", version=3)
    write_container(second, dict(reversed(back.tensors.items())), back.document)
    assert first.read_bytes() == second.read_bytes()


def test_fresh_processes_write_the_same_bytes(tmp_path: Path) -> None:
    for seed in (1, 2):
        run(WRITE, tmp_path / str(seed), hash_seed=seed)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_the_digest_sees_names_kinds_shapes_and_bytes_only() -> None:
    tensors = {"a": torch.tensor([1, 2, 3, 4]), "b": torch.zeros(2)}
    variants = [
        tensors,
        {"a": tensors["a"], "c": tensors["b"]},
        {"a": tensors["a"].view(2, 2), "b": tensors["b"]},
        {"a": tensors["a"].view(torch.float64), "b": tensors["b"]},
        {"a": torch.tensor([1, 2, 3, 5]), "b": tensors["b"]},
        {"a": tensors["a"]},
    ]
    assert len({digest_tensors(each) for each in variants}) == len(variants)
    assert digest_tensors(dict(reversed(tensors.items()))) == digest_tensors(tensors)


def test_safetensors_opens_it(tmp_path: Path) -> None:
    from safetensors import safe_open

    tensors = every_kind()
    write_container(tmp_path / "x", tensors, DOCUMENT)
    with safe_open(str(tmp_path / "x"), framework="pt") as opened:
        metadata = opened.metadata()
        assert set(metadata) == {"distill"}
        assert json.loads(metadata["distill"])["notes"] == DOCUMENT["notes"]
        for name in tensors:
            torch.testing.assert_close(opened.get_tensor(name), tensors[name].detach(), rtol=0, atol=0, equal_nan=True)


def test_metadata_needs_neither_the_tensors_nor_torch(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_container(path, {"weight": torch.randn(1000)}, DOCUMENT)
    size = path.stat().st_size
    os.truncate(path, 8 + struct.unpack("<Q", path.read_bytes()[:8])[0])
    os.truncate(path, size)  # a hole where the tensors were
    run(READ_METADATA, path)
    assert "do not match their digest" in complaint(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(), JSON, max_size=6))
def test_any_document_comes_back(tmp_path: Path, document: dict[str, Any]) -> None:
    document = {**document, "format": "test_thing", "version": 3}
    digest = write_container(tmp_path / "x", {"a": torch.zeros(1)}, document)
    back = read_document(tmp_path / "x", format="test_thing", version=3)
    document.pop("document_digest", None)
    assert canonical_json(back) == canonical_json({**document, "tensor_digest": digest})


def test_what_cannot_be_stored_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"as it was")
    for tensors, document, words in (
        ({}, {"format": "test_thing"}, "needs a format"),
        ({}, {"version": 3}, "needs a format"),
        ({}, {**DOCUMENT, "loss": float("nan")}, "not JSON compliant"),
        ({"__metadata__": torch.zeros(1)}, DOCUMENT, "not a tensor's name"),
        ({"complex": torch.zeros(1, dtype=torch.complex64)}, DOCUMENT, "cannot be stored"),
    ):
        with pytest.raises(ValueError, match=words):
            write_container(path, tensors, document)
    assert path.read_bytes() == b"as it was"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "x", tmp_path / "folder"):
        with pytest.raises(StorageError, match="cannot write"):
            write_container(path, {}, DOCUMENT)


def test_files_that_are_no_container(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}))
    torch.save({"a": torch.zeros(3)}, tmp_path / "torch.pt")
    torch.save({"a": torch.zeros(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "pickle").write_bytes(pickle.dumps({"weights": list(range(1000))}))
    (tmp_path / "noise").write_bytes(bytes(range(7, 250)) * 9)
    (tmp_path / "text").write_text("Not a model at all, only some words.")
    (tmp_path / "sound").write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt ")
    (tmp_path / "empty").touch()
    (tmp_path / "short").write_bytes(b"\x10\x00\x00")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    expected = {
        "zip": "is a version 1 model (a zip of pickles)",
        "torch.pt": "version 1 files can execute code and are not read: train it again",
        "old.pt": "is a Python pickle",
        "pickle": "is a Python pickle",
        "noise": "does not begin like a safetensors file",
        "text": "does not begin like a safetensors file",
        "sound": "is a WAV sound",
        "empty": "is empty",
        "short": "is too short (3 bytes)",
        "folder": "is a folder",
        "pipe": "is not a regular file",
        "missing": "does not exist",
        "text/below": "does not exist",
    }
    for name, words in expected.items():
        assert words in complaint(tmp_path / name)


def test_safetensors_of_others(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for metadata in (None, {"format": "pt"}):
        save_file({"a": torch.zeros(3)}, tmp_path / "x", metadata=metadata)
        assert "is a safetensors file of another program" in complaint(tmp_path / "x")
    save_file({"a": torch.zeros(3)}, tmp_path / "x", metadata={**metadata_of(DOCUMENT), "format": "pt"})
    assert "metadata must be one text" in complaint(tmp_path / "x")


def test_other_formats_and_versions(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for change, words in (
        ({"version": 4}, "is of version 4; this distill reads version 3: update distill"),
        ({"version": 2}, "is of version 2; this distill reads version 3: make the file again"),
        ({"version": True}, "its version is no whole number"),
        ({"format": "else"}, "is a 'else' file, not a test_thing file"),
    ):
        path.write_bytes(raw_file({"__metadata__": metadata_of({**DOCUMENT, **change})}))
        assert words in complaint(path)
    path.write_bytes(raw_file({"__metadata__": metadata_of({**DOCUMENT, "minor": 9, "later": {"key": 1}})}))
    assert read_container(path, format="test_thing", version=3).document["later"] == {"key": 1}


def test_damaged_headers(tmp_path: Path) -> None:
    path = tmp_path / "x"
    metadata = metadata_of(DOCUMENT)

    def entry(start: int, end: int, dtype: object = "U8", shape: object = None) -> dict[str, object]:
        return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}

    text = json.dumps({"__metadata__": metadata})
    for content, words in {
        raw_file({"__metadata__": metadata, "a": entry(0, 4), "b": entry(2, 6)}, bytes(6)): "overlap or leave a gap",
        raw_file({"__metadata__": metadata, "a": entry(0, 4), "b": entry(0, 4)}, bytes(4)): "overlap or leave a gap",
        raw_file({"__metadata__": metadata, "a": entry(4, 8)}, bytes(8)): "overlap or leave a gap",
        raw_file({"__metadata__": metadata, "a": entry(0, 4)}, bytes(3)): "is truncated",
        raw_file({"__metadata__": metadata, "a": entry(0, 4)}, bytes(5)): "1 bytes too many",
        raw_file({"__metadata__": metadata, "a": entry(0, 4, "F8")}, bytes(4)): "entry of tensor 'a'",
        raw_file({"__metadata__": metadata, "a": entry(0, 4, ["U8"])}, bytes(4)): "entry of tensor 'a'",
        raw_file({"__metadata__": metadata, "a": entry(0, 4, shape=[-4])}, bytes(4)): "entry of tensor 'a'",
        raw_file({"__metadata__": metadata, "a": entry(0, 4, shape=[4.0])}, bytes(4)): "entry of tensor 'a'",
        raw_file({"__metadata__": metadata, "a": entry(0, 0, shape=[0, 2**62])}): "entry of tensor 'a'",
        raw_file({"__metadata__": metadata, "a": {"dtype": "U8"}}): "entry of tensor 'a'",
        raw_file({"__metadata__": metadata, "a": None}): "entry of tensor 'a'",
        raw_file({"__metadata__": metadata, "\ud800": entry(0, 0)}): "entry of tensor",
        raw_file({"__metadata__": metadata, "a": entry(0, 2**50)}, bytes(9)): "is truncated",
        raw_file({"__metadata__": {"distill": 5}}): "metadata must be one text",
        raw_file({"__metadata__": {"distill": "[]"}}): "its document is not a JSON object",
        raw_file({"__metadata__": {"distill": '{"format": NaN}'}}): "NaN is not a JSON number",
        raw_file({"__metadata__": {"distill": '{"format":"test_thing","version":3}'}}): "does not match its digest",
        raw_file({"__metadata__": {"distill": '{"format":"test_thing","version":3,"x":1e999}'}}): "not valid JSON",
        raw_file({"__metadata__": {"distill": '{"format":"test_thing","version":3,"x":"\ud800"}'}}): "not valid JSON",
        raw_file({"__metadata__": {"distill": '{"a":' * 100_000}}): "its document is not valid JSON",
        raw_file(text.replace("{", '{"__metadata__": 1, ', 1).encode()): "a key twice",
        raw_file(text.replace("ä", "x", 1).encode()[:-1] + b"\xff"): "its header is not valid JSON",
        struct.pack("<Q", 2**63) + text.encode(): "does not begin like a safetensors file",
        struct.pack("<Q", 99_000_000) + text.encode(): "ends within its header",
    }.items():
        path.write_bytes(content)
        assert words in complaint(path)


def test_a_file_that_was_cut_off_anywhere_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "x"
    entry = {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}
    content = raw_file({"__metadata__": metadata_of(DOCUMENT), "a": entry}, bytes(9))
    for size in range(9, len(content)):
        path.write_bytes(content[:size])
        assert "is truncated" in complaint(path)
