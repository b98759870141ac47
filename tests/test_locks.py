"""Locks between processes."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from distill.locks import POLL_SECONDS, acquire, is_held, lock, try_lock, try_lock_within

HOLD = """
import os, sys
from distill.locks import try_lock
assert try_lock(os.open(sys.argv[1], os.O_RDWR))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_belongs_to_one_process_until_it_dies(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    path.touch()
    assert not is_held(path)
    owner = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    descriptor = os.open(path, os.O_RDWR)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        assert is_held(path)
        assert not try_lock(descriptor)
        assert not try_lock_within(descriptor, 0.1)
        owner.kill()
        assert try_lock_within(descriptor, 10)
        assert is_held(path)
    finally:
        owner.kill()
        owner.communicate()
        os.close(descriptor)
    assert not is_held(path)


def test_who_waited_for_a_removed_lock_does_not_hold_it_beside_its_next_owner(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    waiting, freed, owned = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        waiting.set()
        assert freed.wait(10)
        time.sleep(POLL_SECONDS)

    def own() -> None:
        descriptor = acquire(path, wait)
        owned.set()
        os.close(descriptor)

    waiter = threading.Thread(target=own)
    with lock(path, lambda: None, remove=True):
        waiter.start()
        assert waiting.wait(10)
    with lock(path, lambda: None, remove=True):
        # The file that the other waits for is free, and the path has a new one.
        freed.set()
        assert not owned.wait(0.3)
    assert owned.wait(10)
    waiter.join()
