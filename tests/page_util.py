"""What the tests of the page share: a project of tiny sounds, tiny settings, a served page."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import psutil

from forking_util import fork
from pipeline_util import TINY
from sounds_util import folder_of_tones, noise, save

# As `distill train --set` takes them; without the name, which is given apart.
SETTINGS = tuple(
    f"{section}.{key}={json.dumps(value)}"
    for section, values in TINY.items()
    if section not in ("model", "vocoder")
    for key, value in values.items()
)


def settings(**changes: Any) -> tuple[str, ...]:
    """The tiny settings with other values, such as `vqvae_epochs=50`."""
    given = {name.replace("_", ".", 1): json.dumps(value) for name, value in changes.items()}
    kept = [each for each in SETTINGS if each.partition("=")[0] not in given]
    return (*kept, *(f"{name}={value}" for name, value in given.items()))


# The least of a whole training, for what asks for no label.
LEAST = settings(
    data_speed_semitones=[], vqvae_epochs=1, vqvae_augmentation_expansion=1, prior_epochs=1, prior_conditions=False
)


def make_sounds(folder: Path, count: int = 8) -> Path:
    """Tones and two noises."""
    folder_of_tones(folder, count - 2)
    for seed in range(2):
        save(folder / f"noise{seed}.wav", noise(0.4, seed))
    return folder


def wait(done: Callable[[], Any], seconds: float = 90.0) -> Any:
    """What `done` gives once it gives something."""
    since = time.monotonic()
    while not (value := done()):
        spent = time.monotonic() - since
        assert spent < seconds
        # What takes long is asked for more seldom: asking a browser takes a share of what is waited for.
        time.sleep(min(0.03 + spent / 20, 0.2))
    return value


@dataclass(frozen=True)
class Served:
    """A page that is served, and plain HTTP calls to it."""

    url: str
    process: psutil.Process
    token: str

    @property
    def bearer(self) -> dict[str, str]:
        """The header that lets in."""
        return {"Authorization": f"Bearer {self.token}"}

    def get(self, path: str, **headers: str) -> Any:
        """The JSON of an address."""
        return self.call(path, None, **headers)

    def post(self, path: str, values: Any, **headers: str) -> Any:
        """The JSON answer to a JSON request."""
        return self.call(path, values, **headers)

    def call(self, path: str, values: Any, **headers: str) -> Any:
        """The JSON answer; what is refused is raised as it came (`urllib.error.HTTPError`)."""
        data = None if values is None else json.dumps(values).encode()
        own = {"Content-Type": "application/json", **self.bearer}
        request = urllib.request.Request(f"{self.url}{path}", data, {**own, **headers})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        assert "NaN" not in text
        assert "Infinity" not in text
        return json.loads(text)

    def refused(self, path: str, values: Any = None, **headers: str) -> tuple[int, str]:
        """Status and text of an answer that refuses."""
        try:
            self.call(path, values, **headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        raise AssertionError(f"{path} was not refused")


def require_described(openapi: Any, path: str, answer: Any, method: str = "get", status: str = "200") -> None:
    """Require that an answer is as the API's description says."""
    schema = openapi["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
    jsonschema.validate(answer, {**schema, "components": openapi["components"]})


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(address: str) -> bool:
    """Whether a server answers there."""
    try:
        urllib.request.urlopen(address, timeout=10).close()
    except OSError:
        return False
    return True


@contextmanager
def served(
    project: Path,
    *arguments: str,
    token: str | None = None,
    command: str = "ui",
    port: int | None = None,
    loaded: bool = True,
    forked: bool = False,
) -> Iterator[Served]:
    """A page in a process of its own, on a free port or on this; trainings that it started are for the test to end.

    It is given once it is `loaded`, or else while it is opening. One that is `forked` need not load its modules.
    """
    port = port or free_port()
    called = [command, "--port", str(port), "--project", str(project), *arguments]
    environment = {**os.environ, **({} if token is None else {"DISTILL_TOKEN": token})}
    if forked:
        process, output = fork(called, environment)
    else:
        begin = [sys.executable, "-m", "distill"]
        process = psutil.Popen([*begin, *called], env=environment, stdout=subprocess.PIPE, text=True)
        output = process.stdout
    try:
        address = output.readline().strip()
        url = f"http://127.0.0.1:{port}"
        assert address.startswith(f"{url}/?token=")
        server = Served(url, process, address.rpartition("=")[2])
        if loaded:
            server.get("/api/ready")
        yield server
    finally:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
        process.wait(30)
        output.close()
