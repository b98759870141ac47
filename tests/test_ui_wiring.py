"""How the page's controls hang together: what follows what, who waits, and what is nobody's endpoint."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("gradio")

from fastapi import FastAPI
from fastapi.testclient import TestClient
from gradio.state_holder import StateHolder

from api_util import within_loop
from distill.ui.app import READY, build_app
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.desks import OWN_NAME
from distill.ui.handlers import AT_ONCE
from distill.ui.library_view import Shelf
from page_util import make_sounds

# A field in a fold that was never opened comes back as the value that it was made with.
FIELDS = ("textbox", "number", "slider", "checkbox", "checkboxgroup", "radio")


def test_no_control_is_an_endpoint(tmp_path: Path) -> None:
    blocks = within_loop(lambda: build_app(Context(tmp_path), FastAPI()))
    assert len(blocks.fns) > 100
    assert blocks.get_api_info(all_endpoints=True) == {"named_endpoints": {}, "unnamed_endpoints": {}}


def test_nobody_waits_for_what_takes_another_one_long(tmp_path: Path) -> None:
    functions = within_loop(lambda: build_app(Context(tmp_path), FastAPI())).fns.values()
    long = {"fulfil", "fulfil_second", "open_file", "open_second", "open_take", "save_sound", "swap", "blend", "make"}
    long |= {"judge", "judge_files", "judge_folder", "estimate", "show_size", "pause"}
    limits = {each.name: each.concurrency_limit for each in functions if each.name in long}
    assert {*limits} == long
    assert {*limits.values()} == {AT_ONCE}


def test_every_field_begins_with_a_value_of_its_kind(tmp_path: Path) -> None:
    make_sounds(tmp_path / "data" / "kit")
    components = within_loop(lambda: build_app(Context(tmp_path), FastAPI())).config["components"]
    fields = [each["props"] for each in components if each["type"] in FIELDS]
    assert len(fields) > 50
    assert [each["label"] for each in fields if each.get("value") is None] == []


def test_progress_that_is_not_shown_is_said_to_no_component(tmp_path: Path) -> None:
    blocks = within_loop(lambda: build_app(Context(tmp_path), FastAPI()))
    quiet = [function for function in blocks.config["dependencies"] if function["show_progress"] == "hidden"]
    assert len(quiet) > 100
    assert [each["show_progress_on"] for each in quiet] == [[]] * len(quiet)


def test_what_cannot_be_brought_back_leaves_no_page_that_cannot_be_touched(tmp_path: Path) -> None:
    blocks = within_loop(lambda: build_app(Context(tmp_path), FastAPI()))
    ready = [function for function in blocks.fns.values() if function.js == READY]
    (shown,) = [each.trigger_after for each in ready if not each.trigger_only_on_failure]
    chain = [shown]
    while (before := blocks.fns[chain[-1]].trigger_after) is not None:
        chain.append(before)
    assert len(chain) == 3
    assert {each.trigger_after for each in ready if each.trigger_only_on_failure} == {*chain}


def test_what_follows_a_handler_follows_its_failure_too(tmp_path: Path) -> None:
    functions = within_loop(lambda: build_app(Context(tmp_path), FastAPI())).fns.values()
    after: dict[Any, list[Any]] = {}
    for function in functions:
        after.setdefault(function.trigger_after, []).append(function)
    checked = 0
    for event in functions:
        following = after.get(event._id, [])
        failures = [each for each in following if each.trigger_only_on_failure and each.fn is not None]
        for each in following if failures else []:
            if not (each.trigger_only_on_failure or each.trigger_only_on_success):
                again = [other.name for failure in failures for other in after.get(failure._id, [])]
                assert each.name in again
                checked += 1
    assert checked


def test_an_open_tab_keeps_its_desk_though_its_connection_broke(tmp_path: Path) -> None:
    app, name = FastAPI(), "0123456789abcdef" * 2
    blocks = within_loop(lambda: build_app(Context(tmp_path), app))
    StateHolder().set_blocks(blocks)
    (come_back,) = [function.fn for function in blocks.fns.values() if function.js == OWN_NAME]
    # Of what is not known, such as after the start of another server, the page is loaded anew.
    server = TestClient(app)
    assert server.get(f"/desk/{name}").json() is False
    session = blocks.state_holder["one"]
    desk, _ = come_back(Desk(Context(tmp_path)), name, 0, SimpleNamespace(session_hash="one"))  # type: ignore[misc]
    # A tab that was copied may have the name, and another desk.
    assert server.get(f"/desk/{name}").json() is False
    (state,) = [key for key, block in blocks.blocks.items() if isinstance(getattr(block, "value", None), Desk)]
    (other,) = [key for key, block in blocks.blocks.items() if isinstance(getattr(block, "value", None), Shelf)]
    session[state], session[other] = desk, "read"
    # As long as the tab says that it is open, and no longer.
    session.is_closed = True
    for asked in (True, False):
        for key, (lasts, at) in session._state_ttl.items():
            session._state_ttl[key] = (lasts, at - timedelta(hours=2))
        if asked:
            assert server.get(f"/desk/{name}").json() is True
        blocks.state_holder.delete_all_expired_state()
        assert (desk.left_at is None, session[other] == "read") == (asked, asked)
    assert server.get(f"/desk/{name}").json() is False
