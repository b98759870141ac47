"""Who may talk to the page: requests of other sites are refused, and where a token is set, everybody without it."""

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "distill_token"
HEADER = "x-distill-token"
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
# Inline scripts and styles are the page's framework's own; nothing may be fetched from anywhere else.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)


class Guard:
    """ASGI middleware that answers only those who may ask.

    Args:
        app: what is guarded.
        token: what everybody must bring, in a cookie or a header; None: nobody but this machine reaches the page.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        answer = self._answer(scope)
        if answer is not None:
            await answer(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    (b"content-security-policy", POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self.app(scope, receive, send_guarded)

    def _answer(self, scope: Scope) -> Response | None:
        """What is answered instead of the page; None: nothing stands against it."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self.token is None and name not in LOCAL_NAMES:
            # Another name that leads here is a site's attempt to pass for this machine.
            return PlainTextResponse(f"this page is not called {name}: open it as 127.0.0.1\n", 403)
        origin = headers.get("origin")
        # A websocket has no method; it can write as well.
        method = scope.get("method")
        if origin is not None and method not in ("GET", "HEAD") and urlsplit(origin).netloc != host:
            return PlainTextResponse("requests of other sites are refused\n", 403)
        if self.token is None:
            return None
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if self._is_token(query.get("token", [""])[0]) and method == "GET":
            left = {key: values for key, values in query.items() if key != "token"}
            response = RedirectResponse(
                f"{scope['path']}?{urlencode(left, doseq=True)}" if left else scope["path"], 303
            )
            response.set_cookie(COOKIE, query["token"][0], httponly=True, samesite="strict")
            return response
        if self._is_token(headers.get(HEADER, "")) or self._is_token(_cookie(headers)):
            return None
        return PlainTextResponse("a token is needed: open the address that distill ui printed\n", 401)

    def _is_token(self, given: str) -> bool:
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
