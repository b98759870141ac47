"""What `deploy/` says to Docker, as far as that can be seen without it."""

import re
from pathlib import Path
from typing import Any

import keep
import pytest
import yaml
from local import HERE, PORTS, Services, interpolated

from pipeline_util import bytes_of
from project_util import PROJECT

TEXT = (HERE / "compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
EXAMPLE = (HERE / ".env.example").read_text()
NEEDED = sorted(set(re.findall(r"\$\{(\w+):\?", TEXT)))


class Store:
    """An object store with one file, and what was done to it and to the databases, in order."""

    def __init__(self) -> None:
        self.key, self.done = "models/a.distill", list[tuple[str, ...]]()

    def get_paginator(self, _operation: str) -> "Store":
        return self

    def paginate(self, *, Bucket: str) -> list[dict[str, Any]]:  # noqa: N803
        assert Bucket == "team"
        return [{}, {"Contents": [{"Key": self.key}]}]

    def download_file(self, bucket: str, key: str, path: str) -> None:
        self.done.append(("download", bucket, key))
        Path(path).write_text(key)

    def list_buckets(self) -> dict[str, Any]:
        return {"Buckets": [{"Name": "another"}]}

    def create_bucket(self, *, Bucket: str) -> None:  # noqa: N803
        self.done.append(("create", Bucket))

    def upload_file(self, path: str, bucket: str, key: str) -> None:
        assert Path(path).read_text() == key
        self.done.append(("upload", bucket, key))

    def run(self, program: str, *arguments: str) -> None:
        self.done.append((program, Path(arguments[-1]).name))
        if program == "pg_dump":
            Path(arguments[arguments.index("--file") + 1]).write_text(arguments[-1])


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setenv("BUCKET", "team")
    monkeypatch.setattr(keep, "_run", store.run)
    monkeypatch.setattr(keep.boto3, "client", lambda _service: store)
    return store


def test_a_backup_is_restored(store: Store, tmp_path: Path) -> None:
    (tmp_path / "kept.part").mkdir()
    with pytest.raises(SystemExit, match=r"kept\.part is there"):
        keep.main("backup", tmp_path / "kept")
    (tmp_path / "kept.part").rmdir()
    keep.main("backup", tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    # Whoever may read other new folders may restore it.
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "kept").stat().st_mode == (tmp_path / "usual").stat().st_mode
    (tmp_path / "usual").rmdir()
    assert bytes_of(tmp_path / "kept") == {
        "bucket/models/a.distill": b"models/a.distill", "mlflow.dump": b"mlflow", "prefect.dump": b"prefect"
    }  # fmt: skip
    store.done.clear()
    keep.main("restore", tmp_path / "kept")
    assert store.done == [
        ("create", "team"), ("upload", "team", "models/a.distill"), ("pg_restore", "mlflow.dump"),
        ("pg_restore", "prefect.dump"),
    ]  # fmt: skip


@pytest.mark.parametrize(("command", "words"), [("backup", "is there already"), ("restore", "prefect.dump is missing")])
def test_what_cannot_be_kept_or_restored_is_said_before_anything_is_done(
    store: Store, tmp_path: Path, command: str, words: str
) -> None:
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "a").write_text("a")
    (tmp_path / "mlflow.dump").write_text("mlflow")
    before = bytes_of(tmp_path)
    with pytest.raises(SystemExit, match=words):
        keep.main(command, tmp_path)
    assert store.done == []
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize("key", ["../mlflow.dump", "../../kept", "/tmp/kept"])
def test_no_key_of_the_bucket_leads_out_of_the_files_of_a_backup(store: Store, tmp_path: Path, key: str) -> None:
    store.key = key
    with pytest.raises(SystemExit, match="leads out of the backup"):
        keep.main("backup", tmp_path / "kept")
    assert store.done == [("pg_dump", "mlflow"), ("pg_dump", "prefect")]
    # Nothing is left of what is not whole.
    assert list(tmp_path.iterdir()) == []


def test_nothing_starts_without_passwords_and_the_example_has_none() -> None:
    assert NEEDED == ["MLFLOW_TOKEN", "POSTGRES_PASSWORD", "PREFECT_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"]
    given = dict(line.split("=", 1) for line in EXAMPLE.splitlines() if line and not line.startswith("#"))
    assert given == dict.fromkeys(NEEDED, "")
    with pytest.raises(ValueError, match=r"in \.env"):
        interpolated(TEXT, given)
    assert ":?" not in interpolated(TEXT, dict.fromkeys(NEEDED, "x"))
    # Whatever else may be set is in the example, too.
    assert set(re.findall(r"\$\{(\w+):-", TEXT)) - {"BACKUPS"} == set(re.findall(r"^# (\w+)=", EXAMPLE, re.MULTILINE))


def test_services_are_published_on_this_machine_alone_and_watched() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert interpolated(port, {}) == f"127.0.0.1:{PORTS[name]}:{PORTS[name]}"
        if service["restart"] == "unless-stopped" and name != "worker":
            assert service["healthcheck"]["test"][0] == "CMD"
        for other in service.get("depends_on", {}):
            assert other in SERVICES
        if "build" not in service:
            assert re.search(r":v?\d", service["image"])


def test_telemetry_is_off_everywhere() -> None:
    for service in SERVICES.values():
        if "build" in service:
            quiet = service["environment"]
            assert quiet["DO_NOT_TRACK"] == quiet["MLFLOW_DISABLE_TELEMETRY"] == "true"
            assert quiet["DVC_NO_ANALYTICS"] == "1"
            assert quiet["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_the_image_runs_as_nobody_special_with_the_versions_of_the_project() -> None:
    lines = (HERE / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001"]
    assert "ARG TORCH=cpu" in lines
    text = "\n".join(lines)
    assert text.count("pip install") == text.count("--constraint constraints.txt")
    for line in lines:
        if line.startswith("COPY "):
            for source in line.split()[1:-1]:
                assert list(PROJECT.glob(source)), source
    # What the wheel takes in has to be there before it is built.
    for source in re.findall(r'^"([^"]+)" = "distill/template', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE):
        assert re.search(rf"COPY .*(?<!\S){re.escape(source.split('/')[0])}(?!\S)", text), source


def test_local_processes_have_the_commands_of_the_compose_file(tmp_path: Any) -> None:
    services = Services(tmp_path)
    command = services.command("mlflow")
    assert command[3:6] == ["server", "--app-name", "distill"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == str(services.ports["mlflow"])
    assert services.environment("worker")["MLFLOW_TRACKING_URI"] == f"http://127.0.0.1:{services.ports['mlflow']}"
    assert services.environment("worker")["PREFECT_API_AUTH_STRING"] == f"distill:{services.values['PREFECT_PASSWORD']}"
