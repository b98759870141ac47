"""The page: its tabs in their order, with what Gradio is told to do otherwise."""

import os
from datetime import datetime

import gradio as gr
from fastapi import FastAPI

from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.desks import OWN_NAME, Desks
from distill.ui.document import ASSETS, TITLE, header, scripts, styles, with_first_scripts
from distill.ui.failures import shows_errors
from distill.ui.handlers import QUIET
from distill.ui.studio import Studio
from distill.ui.tabs import codes, data, generate, library, monitor, start, takes, train
from distill.ui.theme import theme
from distill.ui.training_choice import sounds_choice

# How often what was uploaded and shown is looked through, and how old it may become, in s.
CACHE_SECONDS = (3600, 24 * 3600)
# The largest file that is taken; longer recordings are named as a folder.
MOST_UPLOAD = "512mb"
# Between two looks for what is asked, and for what progress there is to tell.
IDLE_SECONDS = 0.02, 0.1
# Until then nothing can be touched (`assets/first/inert.js`): what is brought back would take its place.
READY = "() => { document.documentElement.inert = false; }"


def page(context: Context) -> FastAPI:
    """The page as an application, which keeps what is uploaded in the context's folder."""
    # Gradio keeps what is uploaded and what it shows below this folder, and serves nothing else.
    os.environ["GRADIO_TEMP_DIR"] = str(context.uploads)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    with_first_scripts()
    beside = FastAPI(openapi_url=None)
    blocks = build_app(context, beside)
    app: FastAPI = gr.mount_gradio_app(
        beside,
        blocks,
        path="/",
        theme=theme(),
        head=styles() + scripts(),
        show_error=False,
        ssr_mode=False,
        max_file_size=MOST_UPLOAD,
        footer_links=[],
        enable_monitoring=False,
        favicon_path=str(ASSETS / "icon.svg"),
    )
    # Left as they are, they look for work a thousand times a second, at the cost of whatever trains beside it.
    blocks._queue.sleep_when_free, blocks._queue.progress_update_sleep_when_free = IDLE_SECONDS
    # Only then it refuses files that were not uploaded; mounted, it would never know by itself.
    blocks.has_launched = True
    return app


def build_app(context: Context, app: FastAPI) -> gr.Blocks:
    """The page with all tabs; each tab gets the same context, the last ones also what they share.

    Args:
        context: the page's surroundings.
        app: gets the route by which an open tab (`assets/page.js`) says so, and learns whether it has its desk.
    """

    def come_back(fresh: Desk, name: str, returned: int, request: gr.Request) -> tuple[Desk, int]:
        """The desk of a tab; the tabs of the page show what lies on it when that is told."""
        desk = desks.take(name, fresh)
        desk.session = request.session_hash or ""
        return desk, returned + 1

    @app.get("/desk/{name}")
    def is_open(name: str) -> bool:
        desk = desks.open(name)
        session = None if desk is None else blocks.state_holder.session_data.get(desk.session)
        if session is None or session.get(studio.desk._id) is not desk:
            return False
        # Once a connection broke, Gradio forgets what a session holds an hour after it was put there.
        ages, now = session._state_ttl, datetime.now()
        for key, (lasts, _) in list(ages.items()):
            ages[key] = (lasts, now)
        return True

    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=False, delete_cache=CACHE_SECONDS) as blocks:
        gr.HTML(header(context.project.name), apply_default_css=False)
        tabs = gr.Tabs(elem_id="tabs", overflow_behavior="wrap")
        studio, sounds = Studio.of(context, tabs), sounds_choice()
        desks = Desks(context, studio.models.load)
        desks.keep_saving()
        with tabs:
            with gr.Tab("Start", id="start") as start_tab:
                pass
            with gr.Tab("Data", id="data"):
                data.build(context, studio, sounds)
            with gr.Tab("Train", id="train"):
                looked_at = train.build(context, studio, sounds)
            with gr.Tab("Monitor", id="monitor"):
                monitor.build(context, studio, looked_at)
            with gr.Tab("Generate", id="generate") as tab:
                generate.build(context, studio, tab)
            with gr.Tab("Takes", id="takes"):
                takes.build(context, studio)
            with gr.Tab("Codes", id="codes") as tab:
                codes.build(context, studio, tab)
            with gr.Tab("Library", id="library") as tab:
                library.build(context, studio, tab)
        with start_tab:
            start.build(context, studio, looked_at)
        named = gr.Textbox("", visible="hidden")
        arrived = [studio.desk, named, studio.returned], [studio.desk, studio.returned]
        restored = [filled for _, components in studio.on_return for filled in components]
        choices = [studio.generate_model, studio.codes_model]
        offered = blocks.load(shows_errors(studio.offer_files), None, choices, **QUIET)
        # What was on the desk comes last: the model of an open grid is chosen.
        desk_known = offered.then(shows_errors(come_back), *arrived, js=OWN_NAME, **QUIET)
        shown = desk_known.then(shows_errors(studio.bring_back), studio.desk, restored, **QUIET)
        shown.then(None, js=READY, **QUIET)
        # Nothing follows what failed but this.
        for failing in (offered, desk_known, shown):
            failing.failure(None, js=READY, **QUIET)
        # Programs use the JSON API; what controls do is nobody's endpoint.
        for function in blocks.fns.values():
            function.api_visibility = "private"
            if function.show_progress == "hidden":
                # Where it is said is searched for once for each component, before and after every call.
                function.show_progress_on = []
    return blocks
