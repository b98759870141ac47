"""The description of the JSON API: every answer is in it, and answers are as it says."""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("gradio")

from api_util import client_of
from starlette.testclient import TestClient

from distill.configs import LiveConfig
from distill.live.controller import State, get_plateau_info
from distill.ui.training_answers import Plateau
from page_util import require_described
from sounds_util import save, tone


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    project = tmp_path_factory.mktemp("project")
    for name, hertz in (("one", 330.0), ("two", 880.0)):
        save(project / "generated" / f"{name}.wav", tone(0.3, hertz))
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


def test_a_refusal_is_described(client: TestClient, openapi: Any) -> None:
    answer = client.get("/api/state")
    assert answer.status_code == 404
    require_described(openapi, "/api/state", answer.json(), status="4XX")


def test_all_that_is_known_of_a_plateau_is_described() -> None:
    assert get_plateau_info(State(), LiveConfig()).keys() == Plateau.model_fields.keys()
