"""Secrets of servers: random, remembered, and nobody else's to read."""

import errno
import os
import threading
from pathlib import Path

import pytest

from distill.errors import StorageError, UsageError
from distill.servers.secret import check_token, read_or_create


def test_a_secret_is_remembered_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "made" / "token"
    secret = read_or_create(path)
    assert read_or_create(path) == secret
    assert len(secret) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["token"]
    assert read_or_create(tmp_path / "another") != secret


def test_a_secret_that_others_could_read_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "token"
    secret = read_or_create(path)
    path.chmod(0o644)
    assert read_or_create(path) != secret
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_system_without_links_has_secrets_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    secret = read_or_create(tmp_path / "token")
    assert read_or_create(tmp_path / "token") == secret
    assert [each.name for each in tmp_path.iterdir()] == ["token"]


def test_servers_that_start_at_once_agree(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(read_or_create(tmp_path / "token"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("text", ["", "short", "x" * 40 + "\n\nsecond", "ünïcödé" * 5])
def test_a_file_that_holds_no_secret_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(StorageError, match="delete the file"):
        read_or_create(path)


@pytest.mark.parametrize("token", ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdef&x", "é" * 16])
def test_a_weak_token_is_refused_in_one_line(token: str) -> None:
    with pytest.raises(UsageError, match="DISTILL_TOKEN: a token"):
        check_token(token, "DISTILL_TOKEN")


def test_a_token_that_is_long_enough_is_taken() -> None:
    assert check_token("0123456789abcdef", "DISTILL_TOKEN") == "0123456789abcdef"
