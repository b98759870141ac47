"""What the tab Start asks for again and again: where it stands, as pieces of the page."""

from fastapi import FastAPI
from fastapi.responses import Response

from distill.files import canonical_json
from distill.ui.context import Context
from distill.ui.first_takes import FirstTakes
from distill.ui.start_state import standing_of
from distill.ui.start_view import progress, takes


def add_start(app: FastAPI, context: Context) -> None:
    """Add the route `/api/start` to an application, and have the sounds made that are due from now on."""
    first_takes = FirstTakes(context)
    first_takes.keep_making()

    @app.get("/api/start")
    def start() -> Response:
        standing = standing_of(context.project)
        values = {
            "kind": standing.kind,
            "progress": progress(standing),
            "takes": takes(context, standing, first_takes),
        }
        return Response(canonical_json(values), 200, {"cache-control": "no-store"}, "application/json")
