"""Who may ask the page: connections that stay open are held to the same rules as requests."""

import pytest

pytest.importorskip("gradio")

from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import Receive, Scope, Send

from distill.ui.guard import Guard

ADDRESS = "ws://127.0.0.1:5050/"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts whatever reaches it."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close"})


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:5050"])
def test_a_socket_of_the_page_itself_is_opened(origin: str | None) -> None:
    client = TestClient(Guard(echo, None))
    with client.websocket_connect(ADDRESS, headers={"origin": origin} if origin else {}):
        pass


@pytest.mark.parametrize(
    ("headers", "token", "status"),
    [
        ({"origin": "http://evil.example"}, None, 403),
        ({"host": "evil.example"}, None, 403),
        ({}, "let-me-in", 401),
        ({"cookie": "distill_token=let-me"}, "let-me-in", 401),
    ],
)
def test_a_socket_of_another_site_or_without_the_token_is_refused(
    headers: dict[str, str], token: str | None, status: int
) -> None:
    client = TestClient(Guard(echo, token))
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(ADDRESS, headers=headers):
        pass
    assert refused.value.status_code == status
