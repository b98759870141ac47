"""The container of models and checkpoints: a safetensors file with one canonical JSON document in it.

The document carries two digests, so that any change of a byte is noticed: `tensor_digest` over the tensors and
`document_digest` over the document itself. Reading the document alone touches neither the tensors nor torch.
"""

import hashlib
import json
import math
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from distill.artifact.recognize import describe_foreign
from distill.errors import ArtifactError
from distill.files import canonical_json, digest_json, replacing, storage_errors

if TYPE_CHECKING:
    import torch

METADATA = "__metadata__"
KEY = "distill"

# The limit that safetensors itself sets.
_HEADER_LIMIT = 100_000_000
# Keeps absurd shapes of empty tensors away from torch, which computes strides in 64 bits.
_NUMEL_LIMIT = 2**60
_ALIGNMENT = 8
_RESTORE = "restore it from a copy or make it again"

# safetensors' name of each kind of number: torch's name, bytes.
_KINDS = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
_NAMES = {f"torch.{name}": kind for kind, (name, _) in _KINDS.items()}


@dataclass(frozen=True)
class Container:
    """What a file holds: the document (without its own digest) and the tensors, on the CPU."""

    document: dict[str, Any]
    tensors: "dict[str, torch.Tensor]"

    @property
    def digest(self) -> str:
        """Digest of the tensors alone, which does not depend on the document."""
        return str(self.document["tensor_digest"])


@dataclass(frozen=True)
class _Entry:
    kind: str
    shape: tuple[int, ...]
    start: int
    size: int


@dataclass(frozen=True)
class _Header:
    document: dict[str, Any]
    entries: dict[str, _Entry]


def write_container(path: Path, tensors: "Mapping[str, torch.Tensor]", document: Mapping[str, Any]) -> str:
    """Write tensors and a document, whole or not at all; equal inputs give equal bytes.

    Args:
        path: the file, which is replaced if it exists.
        tensors: any shapes; on any device, as they are copied to the CPU.
        document: JSON values with finite numbers; `format` (text) and `version` (a whole number) must be there.

    Returns:
        The digest of the tensors (see `digest_tensors`), which the document then holds as `tensor_digest`.

    Raises:
        StorageError: the file cannot be written.
        ValueError: the document or the tensors cannot be stored.
    """
    if not isinstance(document.get("format"), str) or type(document.get("version")) is not int:
        raise ValueError("a document needs a format (text) and a version (a whole number)")
    if METADATA in tensors:
        raise ValueError(f"{METADATA} is not a tensor's name")
    stored = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    digest = digest_tensors(stored)
    content = {key: value for key, value in document.items() if key != "document_digest"}
    content["tensor_digest"] = digest
    content["document_digest"] = digest_json(content)

    header: dict[str, Any] = {METADATA: {KEY: canonical_json(content).decode()}}
    # Wide numbers first, so that every tensor begins at a multiple of its own number's width.
    order = sorted(stored, key=lambda name: (-stored[name].element_size(), name))
    position = 0
    for name in order:
        size = stored[name].numel() * stored[name].element_size()
        header[name] = {
            "dtype": _kind(stored[name]),
            "shape": list(stored[name].shape),
            "data_offsets": [position, position + size],
        }
        position += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > _HEADER_LIMIT:
        raise ValueError(f"the document and the tensors' names take {len(text)} bytes; {_HEADER_LIMIT} are possible")
    with replacing(path) as temporary, temporary.open("wb") as handle:
        handle.write(len(text).to_bytes(8, "little"))
        handle.write(text)
        for name in order:
            handle.write(_raw(stored[name]))
    return digest


def read_document(path: Path, *, format: str, version: int) -> dict[str, Any]:
    """Read the document alone; the tensors are not read and torch is not imported.

    The size of the file and the document's own digest are checked, the tensors' digest is not.

    Args:
        path: the file.
        format: the document's `format`.
        version: the document's `version`.

    Returns:
        The document, with `tensor_digest` and without `document_digest`.

    Raises:
        ArtifactError: the file is missing, damaged, foreign, or of another format or version.
        StorageError: the file is there and cannot be read.
    """
    with _opened(path, format) as handle:
        return _read_header(handle, path, format, version).document


def read_container(path: Path, *, format: str, version: int) -> Container:
    """Read everything and check it against its digests.

    Args:
        path: the file.
        format: the document's `format`.
        version: the document's `version`.

    Raises:
        ArtifactError: the file is missing, damaged, foreign, or of another format or version.
        StorageError: the file is there and cannot be read.
    """
    with _opened(path, format) as handle:
        header = _read_header(handle, path, format, version)
        container = Container(header.document, _read_tensors(handle, path, header.entries))
    if digest_tensors(container.tensors) != container.digest:
        raise ArtifactError(f"{path} is damaged: its tensors do not match their digest; {_RESTORE}")
    return container


def verify_container(path: Path, *, format: str, version: int) -> dict[str, Any]:
    """Check everything against its digests, as `read_container` does, without importing torch; the document.

    Raises:
        ArtifactError: the file is missing, damaged, foreign, or of another format or version.
        StorageError: the file is there and cannot be read.
    """
    digest = hashlib.sha256()
    with _opened(path, format) as handle:
        header = _read_header(handle, path, format, version)
        for name in sorted(header.entries):
            entry = header.entries[name]
            digest.update(canonical_json([name, entry.kind, list(entry.shape)]))
            handle.seek(entry.start)
            digest.update(handle.read(entry.size))
    if digest.hexdigest() != header.document["tensor_digest"]:
        raise ArtifactError(f"{path} is damaged: its tensors do not match their digest; {_RESTORE}")
    return header.document


def digest_tensors(tensors: "Mapping[str, torch.Tensor]") -> str:
    """SHA-256 over all tensors in the order of their names, as 64 hexadecimal digits.

    Each adds the canonical JSON of [name, kind of number, shape] and its bytes (little-endian, row by row).
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu").contiguous()
        digest.update(canonical_json([name, _kind(tensor), list(tensor.shape)]))
        digest.update(_raw(tensor))
    return digest.hexdigest()


def _kind(tensor: "torch.Tensor") -> str:
    try:
        return _NAMES[str(tensor.dtype)]
    except KeyError:
        raise ValueError(f"tensors of {tensor.dtype} cannot be stored") from None


def _raw(tensor: "torch.Tensor") -> memoryview:
    """The bytes of a contiguous tensor on the CPU, without a copy, writable."""
    import torch

    return tensor.reshape(-1).view(torch.uint8).numpy().data


@contextmanager
def _opened(path: Path, format: str) -> Iterator[BinaryIO]:
    with storage_errors(path, "read"):
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise ArtifactError(f"{path} does not exist; expected a {format} file there") from None
        if stat.S_ISDIR(mode):
            raise ArtifactError(f"{path} is a folder, not a {format} file")
        if not stat.S_ISREG(mode):
            raise ArtifactError(f"{path} is not a regular file, so not a {format} file")
        with path.open("rb") as handle:
            yield handle


def _read_header(handle: BinaryIO, path: Path, format: str, version: int) -> _Header:
    total = handle.seek(0, 2)
    handle.seek(0)
    head = handle.read(16)
    length = int.from_bytes(head[:8], "little")
    if len(head) < 9 or head[8:9] != b"{" or length > _HEADER_LIMIT:
        raise ArtifactError(f"{path} {describe_foreign(head, total, format)}")
    if 8 + length > total:
        raise ArtifactError(f"{path} is truncated: it ends within its header, after {total} bytes; {_RESTORE}")
    handle.seek(8)
    header = _parse(handle.read(length), path, "header")
    metadata = header.pop(METADATA, None)
    if not isinstance(metadata, dict) or KEY not in metadata:
        raise ArtifactError(f"{path} is a safetensors file of another program, not a {format} file")
    if len(metadata) != 1 or not isinstance(metadata[KEY], str):
        raise ArtifactError(f"{path} is damaged: its metadata must be one text under {KEY!r}; {_RESTORE}")
    document = _parse(metadata[KEY], path, "document")
    _check_document(document, path, format, version)
    entries = {name: _entry(name, value, 8 + length, path) for name, value in header.items()}
    _check_layout(entries, 8 + length, total, path)
    return _Header(document, entries)


def _check_document(document: dict[str, Any], path: Path, format: str, version: int) -> None:
    """Check format, version and digest, in this order: a newer version may be digested in another way."""
    if document.get("format") != format:
        raise ArtifactError(f"{path} is a {str(document.get('format'))[:40]!r} file, not a {format} file")
    found = document.get("version")
    if type(found) is not int:
        raise ArtifactError(f"{path} is damaged: its version is no whole number; {_RESTORE}")
    if found > version:
        raise ArtifactError(f"{path} is of version {found}; this distill reads version {version}: update distill")
    if found < version:
        raise ArtifactError(f"{path} is of version {found}; this distill reads version {version}: make the file again")
    expected = document.pop("document_digest", None)
    try:
        digest = digest_json(document)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged: its document is not valid JSON ({error}); {_RESTORE}") from error
    if digest != expected or not isinstance(document.get("tensor_digest"), str):
        raise ArtifactError(f"{path} is damaged: its document does not match its digest; {_RESTORE}")


def _entry(name: str, value: Any, begin: int, path: Path) -> _Entry:
    """Check what the header says of one tensor; `begin` is where the tensors begin, in bytes."""
    damaged = ArtifactError(f"{path} is damaged: the header's entry of tensor {name[:80]!r} is wrong; {_RESTORE}")
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise damaged
    kind, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(kind, str) or kind not in _KINDS or not _whole(shape) or not _whole(offsets):
        raise damaged
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise damaged
    if len(offsets) != 2 or len(shape) > 16 or math.prod(max(1, each) for each in shape) > _NUMEL_LIMIT:
        raise damaged
    size = math.prod(shape) * _KINDS[kind][1]
    if offsets[1] - offsets[0] != size:
        raise damaged
    return _Entry(kind, tuple(shape), begin + offsets[0], size)


def _check_layout(entries: dict[str, _Entry], begin: int, total: int, path: Path) -> None:
    """The tensors must fill the rest of the file, without gap or overlap."""
    position = begin
    for entry in sorted(entries.values(), key=lambda each: (each.start, each.size)):
        if entry.start != position:
            raise ArtifactError(f"{path} is damaged: its tensors overlap or leave a gap; {_RESTORE}")
        position += entry.size
    if total < position:
        raise ArtifactError(f"{path} is truncated: {total} of {position} bytes are there; {_RESTORE}")
    if total > position:
        raise ArtifactError(f"{path} is damaged: {total - position} bytes too many at its end; {_RESTORE}")


def _read_tensors(handle: BinaryIO, path: Path, entries: dict[str, _Entry]) -> "dict[str, torch.Tensor]":
    import torch

    tensors = {}
    for name in sorted(entries):
        entry = entries[name]
        tensor = torch.empty(entry.shape, dtype=getattr(torch, _KINDS[entry.kind][0]), device="cpu")
        handle.seek(entry.start)
        if entry.size and handle.readinto(_raw(tensor)) != entry.size:  # type: ignore[attr-defined]
            raise ArtifactError(f"{path} is truncated: it ends within tensor {name!r}; {_RESTORE}")
        tensors[name] = tensor
    return tensors


def _parse(data: bytes | str, path: Path, what: str) -> dict[str, Any]:
    """Parse a JSON object, refusing what JSON leaves open: repeated keys, NaN, bytes that are not UTF-8."""
    try:
        text = data.decode() if isinstance(data, bytes) else data
        value = json.loads(text, object_pairs_hook=_no_repeats, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged: its {what} is not valid JSON ({error}); {_RESTORE}") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} is damaged: its {what} is not a JSON object; {_RESTORE}")
    return value


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key twice")
    return result


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _whole(value: Any) -> bool:
    """Whether a value is a list of whole numbers that are not negative."""
    return isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)
