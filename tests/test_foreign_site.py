"""Every server that is started here, as a web site sees it that somebody has open in a browser on this machine."""

import base64
import http.client
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from typer.testing import CliRunner

from distill.cli.main import app
from distill.errors import StorageError, UsageError
from distill.processes.ports import is_up
from distill.servers import prefect as serving
from distill.servers.prefect import PrefectServer
from page_util import free_port, make_sounds, served
from project_util import make_project
from sounds_util import noise, save

pytest.importorskip("gradio")
# Three servers are started, each once.
pytestmark = pytest.mark.timeout(900)

EVIL = "https://evil.example"
SERVERS = ("page", "prefect", "mlflow")
# What a site may send without asking first.
PLAIN = "text/plain;charset=UTF-8"
# A call of each server that would change something, and one that reads.
WRITES = {
    "page": "/api/pause",
    "prefect": "/api/variables/",
    "mlflow": "/api/2.0/mlflow/experiments/create",
}
READS = {
    "page": "/api/runs",
    "prefect": "/api/admin/settings",
    "mlflow": "/api/2.0/mlflow/experiments/search?max_results=9",
}


@dataclass(frozen=True)
class Answer:
    """What a server answered; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Server:
    """A server, its process, and the headers that let its owner in."""

    port: int
    process: "subprocess.Popen[Any]"
    login: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """An answer to what is sent as it is; underscores in names of headers stand for dashes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): each for name, each in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): each for name, each in answer.getheaders()}, answer.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("foreign") / "project")


@pytest.fixture(scope="module")
def page(project: Path) -> Iterator[Server]:
    make_sounds(project / "data" / "kit")
    with served(project) as page:
        yield Server(int(page.url.rpartition(":")[2]), page.process, page.bearer)


@pytest.fixture(scope="module")
def prefect(project: Path) -> Iterator[Server]:
    pytest.importorskip("prefect")
    server = PrefectServer(project, free_port(), page=False)
    began: list[Any] = []

    def begin(*process: Any) -> None:
        began.extend(process[:3])
        raise StorageError("no pool and no worker")

    # What `distill serve-flows` starts first; a pool and a worker take much longer, and no site is answered by them.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "_running", begin)
        with pytest.raises(StorageError, match="no pool and no worker"):
            serving.serve(server, verbose=False, on_up=lambda: None, tell=lambda _: None)
    with server.log.open("w") as log, serving._running(*began, log) as process:
        assert is_up(f"{server.address}/api/health", process, serving.START_SECONDS)
        login = f"distill:{(project / '.distill' / 'prefect' / 'password').read_text()}"
        yield Server(server.port, process, {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"})


@pytest.fixture(scope="module")
def mlflow(project: Path) -> Iterator[Server]:
    pytest.importorskip("mlflow")
    port = free_port()
    with _started(project, "tracking", "open", "--port", str(port)) as process:
        token = (project / ".distill" / "mlflow" / "token").read_text()
        yield Server(port, process, {"Authorization": f"Bearer {token}"})


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


@contextmanager
def _started(project: Path, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    """A command that serves, once it has said its first line."""
    environment = {**os.environ, "PYTHONPATH": str(project), "DISTILL_TRACKING": "on"}
    command = [sys.executable, "-m", "distill", *arguments]
    process = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        yield process
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


@pytest.mark.parametrize("server", SERVERS, indirect=True)
def test_another_name_for_this_machine_is_not_answered(server: Server) -> None:
    for name in ("evil.example", f"evil.example:{server.port}", f"127.0.0.1.evil.example:{server.port}", ""):
        answer = server.ask("/", Host=name, **server.login)
        assert answer.status in (400, 403), name
    assert server.ask("/", Host=f"127.0.0.1:{server.port}").status not in (400, 403)


@pytest.mark.parametrize("server", SERVERS, indirect=True)
@pytest.mark.parametrize("origin", [EVIL, "null", "http://127.0.0.1.evil.example", "http://localhost.evil.example"])
def test_no_preflight_of_another_site_is_granted(server: Server, origin: str) -> None:
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization,content-type"}
    for path in ("/", *WRITES.values()):
        answer = server.ask(path, method="OPTIONS", Origin=origin, **asked)
        assert answer.headers.get("access-control-allow-origin") in (None, server.origin), path


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("origin", [EVIL, "null"])
def test_no_other_site_can_write_or_read(name: str, origin: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(name)
    body = json.dumps({"name": "written-by-another-site", "value": 1}).encode()
    for kind in (PLAIN, "application/json", "application/x-www-form-urlencoded"):
        answer = server.ask(WRITES[name], method="POST", body=body, Origin=origin, Content_Type=kind)
        assert answer.status in (401, 403)
        assert "access-control-allow-origin" not in answer.headers
    # A browser sends what it remembers along only where the cookie's own rule lets it; then nobody may read the answer.
    answer = server.ask(READS[name], Origin=origin, **server.login)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("name", SERVERS)
def test_whoever_has_no_token_is_told_nothing(name: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(name)
    assert server.ask(READS[name], **server.login).status == 200
    wrong = base64.b64encode(b"distill:wrong").decode()
    for login in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {wrong}"}, {"Cookie": "a=b"}):
        assert server.ask(READS[name], **login).status == 401
        assert server.ask(WRITES[name], method="POST", body=b"{}", **login).status == 401


def test_nothing_of_the_page_is_there_without_the_token(page: Server) -> None:
    for path in ("/", "/api/runs", "/gradio_api/info", "/config", "/page-assets/page.css", "/media/0/etc/passwd"):
        assert page.ask(path).status == 401
    token = page.login["Authorization"].removeprefix("Bearer ")
    entered = page.ask(f"/?token={token}")
    assert (entered.status, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"].partition(";")[0]
    assert page.ask("/api/runs", Cookie=cookie).status == 200
    # Cookies know no ports: that of another page on this machine says nothing here.
    assert page.ask("/api/runs", Cookie=cookie.replace(str(page.port), str(page.port + 1))).status == 401


@pytest.mark.parametrize("name", SERVERS)
def test_secrets_stand_in_no_command_line_and_no_file_that_others_can_read(
    name: str, project: Path, request: pytest.FixtureRequest
) -> None:
    server: Server = request.getfixturevalue(name)
    kept = {"page": ".distill/page/token", "prefect": ".distill/prefect/password", "mlflow": ".distill/mlflow/token"}[
        name
    ]
    secret = (project / kept).read_text()
    processes = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    assert not [each for each in processes if secret in " ".join(each.cmdline())]
    with_it = [path for path in project.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert with_it == [project / kept]
    assert (project / kept).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("token", ["", "short", "fifteen-letters"])
def test_a_weak_token_ends_the_page_in_one_line(token: str, tmp_path: Path) -> None:
    command = ["ui", "--port", str(free_port()), "--host", "0.0.0.0", "--project", str(tmp_path)]
    result = CliRunner().invoke(app, command, env={"DISTILL_TOKEN": token})
    assert isinstance(result.exception, UsageError)
    assert "at least 16 characters" in str(result.exception)


@pytest.fixture(scope="module")
def outside(project: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Files of the machine and of the project that nobody uploaded, named in several ways."""
    folder = tmp_path_factory.mktemp("outside")
    sound = save(folder / "secret.wav", noise(0.3))
    for suffix in (".json", ".distill"):
        shutil.copy(sound, folder / f"secret{suffix}")
    (project / "link.wav").symlink_to(sound)
    above = "/".join([".."] * len(project.parts))
    return [
        *map(str, sorted(folder.iterdir())),
        str(project / "link.wav"),
        str(project / "data" / "kit" / "noise0.wav"),
        f"data/../{above}{sound}",
        f"{project}/.distill/ui/../../{above}{sound}",
        "/etc/passwd",
    ]


def test_no_handler_takes_a_file_that_was_not_uploaded(page: Server, project: Path, outside: list[str]) -> None:
    config = json.loads(page.ask("/config", **page.login).body)
    components = {each["id"]: each for each in config["components"]}
    takers = [each for each in config["dependencies"] if _files_of(each, components)]
    assert len(takers) >= 6
    for taker in takers:
        for path in outside:
            said = _call(page, taker, components, path)
            assert not said["success"], (taker["id"], path)
            assert "Traceback" not in json.dumps(said)
    kept = [path for path in (project / ".distill" / "ui").rglob("*") if path.is_file() and path.stat().st_size]
    assert kept == []
    assert not (project / "models").exists()


def test_what_was_uploaded_is_judged_and_only_saved(page: Server) -> None:
    sound = _uploaded(page, "sound.wav", b"no sound")
    config = json.loads(page.ask("/config", **page.login).body)
    components = {each["id"]: each for each in config["components"]}
    taker = next(each for each in config["dependencies"] if "data-files" in _files_of(each, components))
    assert _call(page, taker, components, sound)["success"]
    path = _uploaded(page, "../a.html", b"<script>1</script>")
    answer = page.ask(f"/gradio_api/file={quote(path)}", **page.login)
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_only_what_was_linked_is_served(page: Server, outside: list[str]) -> None:
    for path in outside:
        for signature in ("0" * 64, "", "²", "é"):
            assert page.ask(f"/media/{quote(signature)}/{quote(path)}", **page.login).status == 404
        assert page.ask(f"/gradio_api/file={quote(path)}", **page.login).status in (403, 404)
    for path in ("/media/%C3%A9", "/media/%C3%A9/x", "/media/%FF/%FF", "/page-assets/..%2Fserver.py"):
        assert page.ask(path, **page.login).status == 404


@pytest.mark.parametrize("query", ["a=²&b=1", "a=1&b=²", "a=٣&b=x", "a=%FF&b=%00"])
def test_what_is_no_number_is_the_askers_fault(page: Server, query: str) -> None:
    assert 400 <= page.ask(f"/api/compare?{quote(query, safe='=&%')}", **page.login).status < 500


def _files_of(taker: dict[str, Any], components: dict[int, Any]) -> list[str]:
    """The fields for files among what an event of the page sends."""
    found = [components[each] for each in taker["inputs"]]
    return [each["props"].get("elem_id") or "" for each in found if each["type"] in ("file", "audio")]


def _call(page: Server, taker: dict[str, Any], components: dict[int, Any], path: str) -> dict[str, Any]:
    """The outcome of an event whose files are all the same path, and whose other fields are as they begin."""
    values = []
    for each in (components[number] for number in taker["inputs"]):
        file = {"path": path, "orig_name": Path(path).name, "meta": {"_type": "gradio.FileData"}}
        if each["type"] in ("file", "audio"):
            values.append([file] if each["props"].get("file_count") == "multiple" else file)
        else:
            # What is made of a given sound, where that is asked.
            values.append("continue" if each["props"].get("elem_id") == "generate-what" else each["props"].get("value"))
    session = secrets.token_hex(8)
    body = json.dumps({"data": values, "fn_index": taker["id"], "session_hash": session}).encode()
    own = {**page.login, "Content_Type": "application/json"}
    assert page.ask("/gradio_api/queue/join", method="POST", body=body, **own).status == 200
    lines = page.ask(f"/gradio_api/queue/data?session_hash={session}", **page.login).body.decode().splitlines()
    told = [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]
    return next(each for each in told if each["msg"] == "process_completed")


def _uploaded(page: Server, name: str, content: bytes) -> str:
    """Where the page keeps a file that was uploaded."""
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    kind = "multipart/form-data; boundary=x"
    answer = page.ask(
        "/gradio_api/upload", method="POST", body=head + content + b"\r\n--x--\r\n", Content_Type=kind, **page.login
    )
    (path,) = json.loads(answer.body)
    return str(path)
