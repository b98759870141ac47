"""What `deploy/` says to Docker, as far as that can be seen without it."""

import re
from typing import Any

import pytest
import yaml
from local import HERE, PORTS, Services, interpolated

from project_util import PROJECT

TEXT = (HERE / "compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
EXAMPLE = (HERE / ".env.example").read_text()
NEEDED = sorted(set(re.findall(r"\$\{(\w+):\?", TEXT)))


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
