"""The server that Prefect starts for as long as a flow runs: it answers to whoever started it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from project_util import PROJECT

pytest.importorskip("prefect")

# Prints the server's login, the client's, and which web sites may read.
SETTINGS = """
from flows.lifeline import require_login
from prefect.settings import get_current_settings
require_login()
now = get_current_settings()
server, client = (each and each.get_secret_value() for each in (now.server.api.auth_string, now.api.auth_string))
print(server, client, now.server.api.cors_allowed_origins)
"""
ADDRESS = "https://flows.example.org/api"
PROFILE = f'active = "team"\n[profiles.team]\nPREFECT_API_URL = "{ADDRESS}"\n'


def said(code: str, *arguments: str, folder: Path, home: Path, **more: str) -> list[str]:
    """What a program prints under settings that are found in its folder and in Prefect's home alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(PROJECT), "PREFECT_HOME": str(home), **more},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_a_temporary_server_asks_for_a_login_of_its_own(tmp_path: Path) -> None:
    server, client, origins = said(SETTINGS, folder=tmp_path, home=tmp_path / "home")
    assert server == client
    assert len(server) > 40
    assert origins == "http://127.0.0.1"
    assert said(SETTINGS, folder=tmp_path, home=tmp_path / "home")[0] != server


@pytest.mark.parametrize("known", ["environment", "profile", "settings"])
def test_no_login_is_made_up_for_a_server_that_is_known(tmp_path: Path, known: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    if known == "profile":
        (home / "profiles.toml").write_text(PROFILE)
    if known == "settings":
        (tmp_path / "prefect.toml").write_text(f'[api]\nurl = "{ADDRESS}"\n')
    more = {"PREFECT_API_URL": ADDRESS} if known == "environment" else {}
    assert said(SETTINGS, folder=tmp_path, home=home, **more)[:2] == ["None", "None"]


def test_no_web_site_may_read_what_a_server_of_the_project_answers(tmp_path: Path) -> None:
    code = "from prefect.settings import Settings; print(Settings().server.api.cors_allowed_origins)"
    assert said(code, folder=PROJECT, home=tmp_path) == ["http://127.0.0.1"]


# A flow that asks the server of its run as somebody else would, and prints the answer's status.
STRANGER = """
import sys
from functools import partial
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from flows.lifeline import LocalFlow
from prefect import flow, get_client
@(partial(LocalFlow, name="look") if sys.argv[1:] else flow)
def look():
    with get_client(sync_client=True) as client:
        client.hello()
        ask = Request(f"{client.api_url}flow_runs/filter", b"{}", {"Content-Type": "application/json"})
    try:
        return urlopen(ask).status
    except HTTPError as error:
        return error.code
print(look())
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_temporary_server_answers_to_nobody_else(tmp_path: Path) -> None:
    patient = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "240"}
    home = tmp_path / "home"
    assert said(STRANGER, folder=tmp_path, home=home, **patient)[-1] == "200"
    assert said(STRANGER, "of the project", folder=tmp_path, home=home, **patient)[-1] == "401"
