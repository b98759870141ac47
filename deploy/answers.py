"""Whether a server answers: `python answers.py URL`; what logs in is taken from the server's environment."""

import base64
import os
import sys
from urllib.request import ProxyHandler, Request, build_opener

SECONDS = 5.0


def main(url: str) -> None:
    """Ask once; an exception where it does not answer, or refuses."""
    headers = {}
    if token := os.environ.get("DISTILL_MLFLOW_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    elif login := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    # No proxy leads to this machine, nor is one told what logs in.
    build_opener(ProxyHandler({})).open(Request(url, headers=headers), timeout=SECONDS).close()


if __name__ == "__main__":
    main(sys.argv[1])
