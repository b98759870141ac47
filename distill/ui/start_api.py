"""What the tab Start asks for again and again: where it stands, as pieces of the page."""

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import Field

from distill.ui.answers import Answer, json_answer
from distill.ui.context import Context
from distill.ui.first_takes import FirstTakes
from distill.ui.start_state import Kind, standing_of
from distill.ui.start_view import progress, takes


class Screen(Answer):
    """The screen of the tab Start."""

    kind: Kind
    about: str = Field(description="the sounds and the run that it is about")
    progress: str = Field(description="how far the run is, as HTML")
    takes: str = Field(description="the sounds that there are to hear, as HTML")


def add_start(app: FastAPI, context: Context) -> None:
    """Add the route `/api/start` to an application, and have the sounds made that are due from now on."""
    first_takes = FirstTakes(context)
    first_takes.keep_making()

    @app.get("/api/start", response_model=Screen)
    def start() -> Response:
        standing = standing_of(context.project)
        screen = Screen(
            kind=standing.kind,
            about=standing.about,
            progress=progress(standing),
            takes=takes(context, standing, first_takes),
        )
        return json_answer(screen, context)
