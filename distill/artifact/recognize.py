"""Says what a file is that is not one of ours, from its first bytes."""

_PICKLE_PROTOCOLS = range(2, 6)

_KNOWN = {
    b"RIFF": "a WAV sound",
    b"fLaC": "a FLAC sound",
    b"OggS": "an Ogg sound",
    b"ID3": "an MP3 sound",
    b"\x1f\x8b": "a gzip archive",
    b"version https://": "a Git LFS pointer",
}


def describe_foreign(head: bytes, size: int, format: str) -> str:
    """The rest of a sentence that begins with the file's path.

    Args:
        head: the first 16 bytes of the file, or all of them.
        size: bytes of the whole file.
        format: what was expected.
    """
    if not size:
        return f"is empty, not a {format} file"
    if head.startswith(b"PK"):
        return (
            "is a version 1 model (a zip of pickles); version 1 files can execute code and are not read: train it again"
        )
    if head[:1] == b"\x80" and len(head) > 1 and head[1] in _PICKLE_PROTOCOLS:
        return f"is a Python pickle, not a {format} file; pickles can execute code and are not read"
    for start, name in _KNOWN.items():
        if head.startswith(start):
            return f"is {name}, not a {format} file"
    if size < 9:
        return f"is too short ({size} bytes) to be a {format} file"
    return f"is not a {format} file: it does not begin like a safetensors file"
