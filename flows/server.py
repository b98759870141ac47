"""Prefect's server as `distill serve-flows` starts it: it answers to this machine's own names only."""

from prefect.server.api.server import create_app
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

NAMES = ("127.0.0.1", "localhost")


def guarded_app() -> ASGIApp:
    """Prefect's application, for `uvicorn --factory`.

    Another name that leads here is a web site's attempt to pass for this machine, and is not answered.

    Who may ask is Prefect's own matter: PREFECT_SERVER_API_AUTH_STRING and PREFECT_SERVER_CORS_ALLOWED_ORIGINS.
    """
    return TrustedHostMiddleware(create_app(final=True), NAMES, www_redirect=False)
