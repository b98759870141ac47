"""Access to a server: by its token, and never from another site."""

import asyncio
import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SCHEME = "bearer"
# How long a browser stays logged in, in s.
REMEMBERED_SECONDS = 90 * 24 * 3600
# How long a wrong token waits for its answer, one after the other.
WRONG_SECONDS = 0.1
# Inline scripts and styles are the frameworks' own; nothing may be fetched from anywhere else.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)


class Guard:
    """ASGI middleware that answers only those who may ask.

    The token comes in the address, after which a cookie stands for it, or as `Authorization: Bearer TOKEN`.

    Args:
        app: the guarded application.
        token: what everybody must bring.
        port: of the server; cookies are those of a host, whose servers each have their own.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app, self.token, self.cookie = app, token, f"distill_token_{port}"
        self._wrong = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        answer = self._answer(scope)
        if answer is not None:
            if answer.status_code == 401 and any(self._given(scope)):
                async with self._wrong:
                    await asyncio.sleep(WRONG_SECONDS)
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
        """The answer in place of the server's; None: the request may pass."""
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        # A websocket has no method; it can write as well.
        method = scope.get("method")
        if origin is not None and method not in ("GET", "HEAD") and _host_of(origin) != headers.get("host", ""):
            return PlainTextResponse("requests of other sites are refused\n", 403)
        in_address, *others = self._given(scope)
        if method == "GET" and self._is_token(in_address):
            query = _query(scope)
            return self._let_in(scope["path"], {key: values for key, values in query.items() if key != "token"})
        if any(map(self._is_token, others)):
            return None
        return PlainTextResponse("a token is needed: open the address that distill printed\n", 401)

    def _given(self, scope: Scope) -> tuple[str, str, str]:
        """The tokens that a request brings in its address, its header and its cookie; "" where there is none."""
        headers = Headers(scope=scope)
        return _query(scope).get("token", [""])[0], _bearer(headers), self._remembered(headers)

    def _let_in(self, path: str, query: dict[str, list[str]]) -> Response:
        # Two slashes would lead to another host.
        place = "/" + quote(path.lstrip("/"))
        response = RedirectResponse(f"{place}?{urlencode(query, doseq=True)}" if query else place, 303)
        response.set_cookie(self.cookie, self.token, max_age=REMEMBERED_SECONDS, httponly=True, samesite="strict")
        return response

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _remembered(self, headers: Headers) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return morsel.value if morsel else ""


def _query(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope.get("query_string", b"").decode("latin-1"))


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == SCHEME else ""
