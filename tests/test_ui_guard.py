"""Who may ask the page: connections that stay open are held to the same rules as requests."""

import asyncio
import time

import pytest

pytest.importorskip("gradio")

from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import Message, Receive, Scope, Send

from distill.servers.token_guard import WRONG_SECONDS, Guard

ADDRESS, ORIGIN = "ws://127.0.0.1:5050/", "http://127.0.0.1:5050"
TOKEN = "let-me-in-if-you-please"
BEARER = {"authorization": f"Bearer {TOKEN}"}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts whatever reaches it."""
    if scope["type"] == "http":
        await PlainTextResponse(scope["path"])(scope, receive, send)
        return
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close"})


def client(**headers: str) -> TestClient:
    return TestClient(Guard(echo, TOKEN, 5050), ORIGIN, headers=headers, follow_redirects=False)


@pytest.mark.parametrize("origin", [{}, {"origin": ORIGIN}])
@pytest.mark.parametrize("login", [BEARER, {"cookie": f"a=b; distill_token_5050={TOKEN}"}])
def test_a_socket_of_the_page_itself_is_opened(origin: dict[str, str], login: dict[str, str]) -> None:
    with client().websocket_connect(ADDRESS, headers={**origin, **login}):
        pass


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({**BEARER, "origin": "http://evil.example"}, 403),
        ({**BEARER, "origin": "null"}, 403),
        ({**BEARER, "origin": "http://127.0.0.1:5051"}, 403),
        ({}, 401),
        ({"authorization": TOKEN}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": "Bearer let-me"}, 401),
        ({"cookie": "distill_token_5050=let-me"}, 401),
        # That of another page on this host.
        ({"cookie": f"distill_token_5051={TOKEN}"}, 401),
    ],
)
def test_a_socket_of_another_site_or_without_the_token_is_refused(headers: dict[str, str], status: int) -> None:
    with pytest.raises(WebSocketDenialResponse) as refused, client().websocket_connect(ADDRESS, headers=headers):
        pass
    assert refused.value.status_code == status


@pytest.mark.parametrize(
    ("origin", "status"), [({}, 200), ({"origin": ORIGIN}, 200), ({"origin": "http://evil.example"}, 403)]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_what_changes_something_is_refused_to_another_site(method: str, origin: dict[str, str], status: int) -> None:
    assert client().request(method, "/", headers={**BEARER, **origin}).status_code == status


def test_the_address_with_the_token_lets_in_and_is_forgotten() -> None:
    browser = client()
    answer = browser.get("/", params={"token": TOKEN, "__theme": "dark"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/?__theme=dark")
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("distill_token_5050=")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert browser.get("/").status_code == 200
    assert browser.post("/", params={"token": TOKEN}).status_code == 200


@pytest.mark.parametrize("path", ["//evil.example", "///evil.example/x", "/\\evil.example"])
def test_the_way_in_leads_to_no_other_site(path: str) -> None:
    answer = client().get(f"{ORIGIN}{path}", params={"token": TOKEN})
    assert answer.headers["location"].startswith("/")
    assert not answer.headers["location"].startswith(("//", "/\\"))


@pytest.mark.parametrize("token", ["", "let-me", TOKEN[:-1], f"{TOKEN}x", "²", "%ff"])
def test_a_wrong_token_is_told_nothing(token: str) -> None:
    assert client().get("/", params={"token": token}).status_code == 401
    assert client().get("/", headers={"authorization": f"Bearer {token}".encode()}).status_code == 401


def test_wrong_tokens_are_answered_one_after_the_other_and_hold_up_nobody_else() -> None:
    guard, answered = Guard(echo, TOKEN, 5050), []

    async def ask(token: str) -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        scope["headers"] = [(b"authorization", f"Bearer {token}".encode())]

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered.append(message["status"])

        await guard(scope, receive, send)

    async def ask_all() -> None:
        await asyncio.gather(*(ask(token) for token in ("a", "b", "c", TOKEN)))

    begun = time.monotonic()
    asyncio.run(ask_all())
    assert answered == [200, 401, 401, 401]
    assert time.monotonic() - begun >= 3 * WRONG_SECONDS
