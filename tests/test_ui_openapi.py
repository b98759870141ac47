"""The description of the JSON API: every answer is in it, and answers are as it says."""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("gradio")

from starlette.testclient import TestClient

from api_util import client_of
from distill.configs import LiveConfig
from distill.live.controller import State, get_plateau_info
from distill.ui.training_answers import Plateau
from page_util import require_described
from registry_util import model_file
from sounds_util import save, tone

NO_PRIOR = '{"model": "models/codes.distill", "request": {"seconds": 1}}'


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    project = tmp_path_factory.mktemp("project")
    for name, hertz in (("one", 330.0), ("two", 880.0)):
        save(project / "generated" / f"{name}.wav", tone(0.3, hertz))
    model_file(project / "models" / "codes.distill", with_prior=False)
    with client_of(project) as client:
        yield client


@pytest.fixture(scope="module")
def openapi(client: TestClient) -> Any:
    return client.get("/openapi.json").json()


def test_every_route_says_what_it_answers(openapi: Any) -> None:
    calls = [(path, method, call) for path, each in openapi["paths"].items() for method, call in each.items()]
    assert len(calls) > 18
    for path, method, call in calls:
        assert path.startswith("/api/")
        schema = call["responses"]["200"]["content"]["application/json"]["schema"]
        assert schema.get("$ref") or path == "/api/ready", (path, method)
        assert "Refusal" in str(call["responses"]["4XX"])
    assert openapi["components"]["schemas"]["Preview"]["properties"]["picture"]["type"] == "string"


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/api/runs", None),
        ("/api/start", None),
        ("/api/takes", None),
        ("/api/map", None),
        ("/api/takes", {"takes": ["one.wav"], "kept": True}),
        ("/api/takes/there", {"takes": ["one.wav"]}),
        ("/api/takes/export", {"takes": ["one.wav"]}),
        ("/api/takes/folder", {"takes": ["one.wav"]}),
    ],
)
def test_answers_are_as_described(client: TestClient, openapi: Any, path: str, values: Any) -> None:
    answer = client.get(path) if values is None else client.post(path, json=values)
    assert answer.status_code == 200
    require_described(openapi, path, answer.json(), "get" if values is None else "post")


def test_only_what_is_known_of_a_sound_is_answered(client: TestClient) -> None:
    (first, *_) = client.get("/api/takes").json()["takes"]
    assert first["place"] is None
    assert first["sound"].startswith("/media/")
    (point, *_) = client.get("/api/map").json()["points"]
    assert point["kind"] == "generated"
    assert {"seconds", "lufs", "wave", "place"} <= point.keys()


def test_what_is_dropped_or_gone_is_not_there(client: TestClient) -> None:
    asked = {"takes": ["two.wav", "gone.wav", "one.wav"]}
    assert client.post("/api/takes/there", json=asked).json() == {"takes": ["two.wav", "one.wav"]}
    client.post("/api/takes", json={"takes": ["two.wav"], "dropped": True})
    assert client.post("/api/takes/there", json=asked).json() == {"takes": ["one.wav"]}
    client.post("/api/takes", json={"takes": ["two.wav"], "dropped": False})


def test_a_refusal_is_described(client: TestClient, openapi: Any) -> None:
    answer = client.get("/api/state")
    assert answer.status_code == 404
    require_described(openapi, "/api/state", answer.json(), status="4XX")


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "words"),
    [
        ("POST", "/api/config", '{"changes": {"max_lr": NaN}}', 400, "not JSON compliant"),
        ("POST", "/api/config", '{"changes": {"max_lr": -1e999}}', 400, "not JSON compliant"),
        ("POST", "/api/takes", r'{"takes": ["one.wav"], "name": "\ud800"}', 400, "surrogates not allowed"),
        ("POST", "/api/takes", r'{"\ud800": 1}', 400, "surrogates not allowed"),
        ("POST", "/api/takes", '{"takes', 400, "JSON decode error"),
        ("DELETE", "/api/takes", "", 405, "/api/takes: DELETE is not"),
        ("POST", "/api/runs", "{}", 405, "/api/runs: POST is not"),
        ("GET", "/api/nothing", "", 404, "/api/nothing: no such address"),
        ("GET", "/api/takes/nothing", "", 404, "no such address"),
        ("POST", "/api/generate", NO_PRIOR, 400, "codes.distill has no prior"),
    ],
)
def test_whatever_cannot_be_answered_is_refused_in_one_line(
    client: TestClient, method: str, path: str, body: str, code: int, words: str
) -> None:
    answer = client.request(method, path, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json().keys()) == (code, {"error"})
    assert words in answer.json()["error"]
    assert "/" not in answer.json()["error"].partition(" ")[2]


def test_what_nobody_expected_is_said_in_one_line(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_project: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("distill.ui.api.run_folders", fail)
    calm = TestClient(client.app, "http://127.0.0.1:5050", headers=client.headers, raise_server_exceptions=False)
    answer = calm.get("/api/runs")
    assert (answer.status_code, answer.json()) == (500, {"error": "unexpected RuntimeError: two lines"})


def test_all_that_is_known_of_a_plateau_is_described() -> None:
    assert get_plateau_info(State(), LiveConfig()).keys() == Plateau.model_fields.keys()
