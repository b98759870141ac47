"""The services of compose.yaml as processes of this machine, without Docker, to try a set-up and to test it.

    python deploy/local.py FOLDER

Commands and settings are those of compose.yaml. PostgreSQL is the system's own (Debian: `apt-get install postgresql`).
In place of the S3 store runs moto's, which keeps everything in memory (`pip install 'moto[s3]' flask flask-cors`): what
is kept lasts as long as the command. Passwords are made anew and stand in FOLDER/env.sh, for whoever works with it.
"""

import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
# By service: the port that compose.yaml gives it.
PORTS = {"postgres": 5432, "s3": 7070, "mlflow": 5000, "prefect": 4200}
START_SECONDS = 180.0
STOP_SECONDS = 60.0
POSTGRES_USER = "postgres"


class Services:
    """The services, each started and stopped by its name.

    Args:
        folder: for their data, their logs and env.sh; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        names = ("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "MLFLOW_TOKEN", "PREFECT_PASSWORD")
        self.values = {name: secrets.token_hex(16) for name in names}
        self.ports = {name: _free_port() for name in PORTS}
        self.values["PREFECT_URL"] = f"http://{HOST}:{self.ports['prefect']}"
        self.described: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text())["services"]
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, service: str, home: Path | None = None) -> dict[str, str]:
        """What compose.yaml gives a service, with the addresses of this machine; `home` stands for its /data."""
        given: Mapping[str, str] = self.described[service]["environment"]
        data = home or self.folder / service
        here = {name: self._here(value).replace("/data", str(data)) for name, value in given.items()}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return {**inherited, **here, "PATH": path, "PYTHONUNBUFFERED": "1"}

    def command(self, service: str) -> list[str]:
        """The command that compose.yaml gives a service, with the addresses of this machine."""
        words = [self._here(word) for word in self.described[service].get("command", [])]
        words = [HOST if word == "0.0.0.0" else word for word in words]
        port = str(PORTS.get(service, ""))
        words = [str(self.ports[service]) if port and word == port else word for word in words]
        first = words[0]
        scripts = {"python": [sys.executable], "mlflow": [sys.executable, "-m", "mlflow"]}
        words[:1] = scripts.get(first, [sys.executable, "-m", first])
        return [str(HERE.parent / word) if word.startswith("deploy/") else word for word in words]

    def start(self) -> None:
        """Start the servers one after the other, and make databases and bucket; workers are started by `worker`."""
        self.start_postgres()
        for service in ("s3", "mlflow", "prefect"):
            self.start_service(service)
        (self.folder / "env.sh").touch(0o600)
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.client().items()]
        (self.folder / "env.sh").write_text("\n".join(lines) + "\n")

    def start_service(self, service: str) -> None:
        """Start a server, on the port that it had before, and wait until it answers."""
        environment = self.environment(service)
        if service == "s3":
            command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self.ports["s3"])]
        else:
            command = self.command(service)
        self.running[service] = self._spawn(service, command, environment)
        _until(lambda: _answers(self.ports[service]), self.running[service], self._log(service))
        if service == "s3":
            subprocess.run(self.command("bucket"), env=self.environment("bucket"), check=True)
            return
        said = self._here(self.described[service]["healthcheck"]["test"][-1])
        check = [sys.executable, str(HERE / "answers.py"), said]
        _until(lambda: _succeeds(check, environment), self.running[service], self._log(service))

    def stop(self, service: str, number: int = signal.SIGTERM) -> None:
        """Stop one of them, with all its processes."""
        if service == "postgres" and number == signal.SIGTERM:
            # At the other it waits for all who are connected.
            number = signal.SIGINT
        process = self.running.pop(service)
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        if number != signal.SIGKILL:
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        for each in (process, *family):
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                each.kill()
        process.wait()

    def worker(self, name: str, home: Path, *, user: str | None = None, **more: str) -> None:
        """Start a worker with a home of its own, as a user of its own where one is named."""
        environment = {**self.environment("worker", home), "HOME": str(home), **more}
        command = [*self.command("worker"), "--name", name]
        self.running[name] = self._spawn(name, command, environment, user=user, cwd=home)

    def client(self) -> dict[str, str]:
        """The variables by which somebody reaches the services."""
        wanted = ("PREFECT_API_", "MLFLOW_TRACKING_", "AWS_")
        return {name: value for name, value in self.environment("worker").items() if name.startswith(wanted)}

    def start_postgres(self) -> None:
        """Start PostgreSQL; its data folder and its databases are made where they are missing."""
        data, tools = self.folder / "postgres", postgres_tools()
        as_root = os.geteuid() == 0
        user = POSTGRES_USER if as_root else None
        fresh = not (data / "PG_VERSION").is_file()
        environment = self.environment("postgres")
        if fresh:
            data.mkdir(exist_ok=True)
            secret = self.folder / "password"
            secret.touch(0o600)
            secret.write_text(self.values["POSTGRES_PASSWORD"])
            if as_root:
                for each in (data, secret):
                    shutil.chown(each, POSTGRES_USER)
            made = ["--auth", "scram-sha-256", "--username", environment["POSTGRES_USER"], "--pwfile", str(secret)]
            initdb = [str(tools / "initdb"), "--pgdata", str(data), "--encoding", "UTF8", "--no-sync", *made]
            subprocess.run(initdb, user=user, cwd=data, check=True, stdout=subprocess.DEVNULL)
            secret.unlink()
        port = str(self.ports["postgres"])
        serve = [str(tools / "postgres"), "-D", str(data), "-h", HOST, "-p", port, "-k", str(data)]
        # The first folder that is not its own may be closed to it.
        self.running["postgres"] = self._spawn("postgres", serve, environment, user=user, cwd=data)
        asked = {**environment, **self.database()}
        ready = [str(tools / "pg_isready"), "--dbname", "postgres"]
        _until(lambda: _succeeds(ready, asked), self.running["postgres"], self._log("postgres"))
        if fresh:
            psql = [str(tools / "psql"), "--quiet", "--dbname", "postgres"]
            subprocess.run([*psql, "--command", f"CREATE DATABASE {environment['POSTGRES_DB']}"], env=asked, check=True)
            subprocess.run([*psql, "--file", str(HERE / "databases.sql")], env=asked, check=True)

    def database(self) -> dict[str, str]:
        """The variables by which PostgreSQL's own tools, and keep.py, reach it."""
        given = self.environment("keep")
        return {
            "PGHOST": HOST,
            "PGPORT": str(self.ports["postgres"]),
            **{name: given[name] for name in ("PGUSER", "PGPASSWORD", "BUCKET")},
            "PATH": os.pathsep.join([str(postgres_tools()), given["PATH"]]),
        }

    def end(self) -> None:
        """Stop everything, workers first."""
        for service in reversed(list(self.running)):
            self.stop(service)

    def _here(self, text: str) -> str:
        text = interpolated(text, self.values)
        for service, port in PORTS.items():
            text = text.replace(f"{service}:{port}", f"{HOST}:{self.ports[service]}")
            text = text.replace(f"{HOST}:{port}", f"{HOST}:{self.ports[service]}")
        return text

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _spawn(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str],
        *,
        user: str | None = None,
        cwd: Path | None = None,
    ) -> "subprocess.Popen[bytes]":
        # Servers may say more in their logs than everybody should know.
        self._log(name).touch(0o600)
        with self._log(name).open("ab") as log:
            return subprocess.Popen(
                command,
                env=environment,
                cwd=cwd or self.folder,
                user=user,
                group=user,
                extra_groups=[] if user else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def interpolated(text: str, values: Mapping[str, str]) -> str:
    """A text of compose.yaml with the values of its variables.

    >>> interpolated("${BUCKET:-distill} ${KEY:?set it}", {"KEY": "k"})
    'distill k'

    Raises:
        ValueError: a variable that must be set is not.
    """

    def value(match: re.Match[str]) -> str:
        found = values.get(match["name"])
        if found:
            return found
        if match["kind"] == ":?":
            raise ValueError(match["more"])
        return match["more"] or ""

    return re.sub(r"\$\{(?P<name>\w+)(?:(?P<kind>:[?-])(?P<more>[^}]*))?\}", value, text)


def postgres_tools() -> Path:
    """The folder of PostgreSQL's own programs, of the newest version that is here.

    Raises:
        FileNotFoundError: there are none.
    """
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = debian[-1] if debian else shutil.which("initdb")
    if found is None:
        raise FileNotFoundError("PostgreSQL is not installed: apt-get install postgresql")
    return Path(found).parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def _succeeds(command: list[str], environment: Mapping[str, str]) -> bool:
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


def _until(condition: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"it did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.2)


def main(folder: Path) -> None:
    """Run everything, with one worker, until somebody interrupts."""
    services = Services(folder)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # With nohup it outlives its terminal.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    # Its password is made anew, and the files that it knows were in the memory of the store before.
    shutil.rmtree(services.folder / "postgres", ignore_errors=True)
    try:
        services.start()
        services.worker("worker", folder.resolve())
        sys.stderr.write(f"Started. In another terminal: . {services.folder}/env.sh; Ctrl-C stops everything.\n")
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        # Each has a session of its own: nobody else ends them.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        services.end()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
