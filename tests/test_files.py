"""Files are replaced whole or not at all."""

import json
import os
import stat
from pathlib import Path

import pytest

from distill.errors import ArtifactError, StorageError
from distill.files import (
    canonical_json,
    digest_file,
    finite,
    free_path,
    read_json,
    replacing,
    require_absent,
    write_bytes,
    write_json,
)


def test_a_failed_replacement_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    write_bytes(path, b"before")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    """Outputs may be read-only links into a cache."""
    cached = tmp_path / "cached"
    cached.write_bytes(b"cached")
    cached.chmod(0o444)
    (tmp_path / "out").symlink_to(cached)
    write_bytes(tmp_path / "out", b"new")
    assert cached.read_bytes() == b"cached"
    assert (tmp_path / "out").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) & 0o600 == 0o600


def test_a_file_in_the_way_of_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("")
    with pytest.raises(StorageError, match="in the way"):
        write_bytes(tmp_path / "in the way" / "file", b"")


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Beyond the limit the kernel also sends a signal, which Python ignores.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*File too large"):
            write_bytes(tmp_path / "big", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_json_has_no_nan_and_one_text() -> None:
    assert canonical_json({"b": 1, "a": [0.1, None]}) == b'{"a":[0.1,null],"b":1}'
    assert finite({"a": [float("nan"), 1.0], "b": float("inf")}) == {"a": [None, 1.0], "b": None}
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


def test_a_newer_or_broken_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    write_json(path, {"schema": 1, "x": 2})
    assert read_json(path, what="thing", schema=1)["x"] == 2
    for text, said in (
        (json.dumps({"schema": 9}), "update distill"),
        ("{", "not a readable thing"),
        ("[]", "no schema number"),
        ('{"schema": 1, "x": NaN}', "not a JSON number"),
    ):
        path.write_text(text)
        with pytest.raises(ArtifactError, match=said):
            read_json(path, what="thing", schema=1)


def test_equal_content_has_an_equal_digest(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_bytes(tmp_path / name, b"same")
    assert digest_file(tmp_path / "one") == digest_file(tmp_path / "two")


def test_a_replaced_file_keeps_who_may_read_it_and_a_new_one_follows_the_umask(tmp_path: Path) -> None:
    for mode in (0o600, 0o640, 0o664, 0o444):
        path = tmp_path / f"{mode:o}"
        path.write_text("before")
        path.chmod(mode)
        seen = []
        with replacing(path) as temporary:
            seen.append(stat.S_IMODE(temporary.stat().st_mode))
            temporary.write_text("after")
        assert seen == [0o600]
        assert stat.S_IMODE(path.stat().st_mode) == mode | stat.S_IWUSR
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "new", b"")
        # The mask that holds when a file is written counts, not the one at the start.
        os.umask(0o077)
        write_bytes(tmp_path / "newer", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "newer").stat().st_mode) == 0o600


def test_a_path_is_free_where_nothing_lies_not_even_a_broken_link(tmp_path: Path) -> None:
    path = tmp_path / "a.b.wav"
    assert free_path(path) == path
    for name in ("a.b.wav", "a.b-2.wav"):
        (tmp_path / name).touch()
    assert free_path(path).name == "a.b-3.wav"
    require_absent(free_path(path), "")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("a.b.wav", "link"):
        with pytest.raises(StorageError, match=f"{name} exists: choose another"):
            require_absent(tmp_path / name, "choose another")
    assert free_path(tmp_path / "link").name == "link-2"
