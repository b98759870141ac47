"""A login for the server that Prefect starts for as long as a flow runs, where no other is known."""

import os
import secrets

from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings


def require_login() -> None:
    """Let the server that this process may start ask for a login that nobody else knows.

    Of no effect where the environment, the profile or the project's settings name a server, which has its own. To be
    called before the first flow.
    """
    if get_current_settings().api.url:
        return
    login = f"distill:{secrets.token_urlsafe(32)}"
    # The environment reaches the server's process and those of Dask.
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = os.environ["PREFECT_API_AUTH_STRING"] = login
    # No web site may read what it answers, whatever the settings found say of other servers.
    os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = "http://127.0.0.1"
    refresh_global_settings_context()
