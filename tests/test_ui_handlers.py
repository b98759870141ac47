"""What the controls of tabs do, called without a browser."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytest.importorskip("gradio")

import gradio as gr
from fastapi import FastAPI

from api_util import within_loop
from codes_util import grid
from codes_util import model as codes_model
from distill.codes.history import History
from distill.codes.session import EditSession
from distill.dataset.scan import FIRST_FILES
from distill.library.takes import Takes
from distill.runs.folder import Order, write_order
from distill.ui import codes_edits
from distill.ui.app import build_app
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.handlers import Updates
from distill.ui.library_view import Shelf, View
from distill.ui.shelf import key_of
from distill.ui.start_state import begin_with, standing_of
from distill.ui.studio import Studio
from distill.ui.tabs import data
from distill.ui.tabs.codes import CodesTab
from distill.ui.tabs.data import DataTab
from distill.ui.tabs.generate import GenerateTab
from distill.ui.tabs.library import LibraryTab
from distill.ui.tabs.monitor import MonitorTab
from distill.ui.tabs.start import StartTab
from distill.ui.tabs.train import TrainTab, settings_from
from distill.ui.training_choice import choose_run, list_runs, sounds_choice
from registry_util import make_folder, model_file
from sounds_util import save, tone

MODEL = "models/bells.distill"
T = TypeVar("T")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    project = make_folder(tmp_path_factory.mktemp("handlers") / "project")
    model_file(project / MODEL)
    save(project / "tone.wav", tone(1.4, 330.0))
    return Context(project)


def tab_of(context: Context, build: Callable[[Studio], T]) -> T:
    """A tab on a page of its own."""

    def page() -> T:
        with gr.Blocks(analytics_enabled=False):
            return build(Studio.of(context, gr.Tabs(render=False)))

    return within_loop(page)


def form_of(tab: GenerateTab, **changes: Any) -> dict[str, Any]:
    return {name: field.value for name, field in tab.form.fields.items()} | changes


def generate_tab(context: Context) -> GenerateTab:
    return tab_of(context, lambda studio: GenerateTab(context, studio))


def test_sounds_are_made_from_the_form(context: Context) -> None:
    tab, desk = generate_tab(context), Desk(context)
    source = {"sound": None, "begin": None, "end": None, "renewed": []}
    form = form_of(tab, seconds=0.3, count=2, seed=5)
    first, *_, last = list(tab.make(desk, MODEL, **source, **form))
    assert ">Making 2 sounds …<" in first[tab.making.status]
    assert first[tab.making.stop].interactive
    assert last[tab.making.status].startswith("<p role='status'>2 sounds in generated/")
    assert not last[tab.making.stop].interactive
    assert [result.seed for result in desk.results] == [5, 6]
    # What is refused meanwhile leaves what is made as it is.
    running = tab.make(desk, MODEL, **source, **form)
    next(running)
    with pytest.raises(gr.Error, match="wait for them"):
        next(tab.make(desk, MODEL, **source, **form))
    assert {*tab.reset(desk)} == {tab.making.stop}
    assert tab.reset(desk)[tab.making.stop].interactive
    list(running)
    assert tab.reset(desk)[tab.making.status] == ""
    desk.results = desk.results[-2:]
    # What is in the bin of the tab Takes is no card here.
    assert tab.cards(desk).count("<article") == 2
    dropped = desk.results[0].path.relative_to(context.generated).as_posix()
    Takes(context.project).mark([dropped], dropped=True)
    assert tab.cards(desk).count("<article") == 1
    with pytest.raises(gr.Error, match="sound"):
        list(tab.make(desk, MODEL, **source, **form_of(tab, action="continue")))
    with pytest.raises(gr.Error, match="choose a sound first"):
        list(tab.make_more(desk))


def test_controls_follow_the_model(context: Context) -> None:
    tab = generate_tab(context)
    desk = Desk(context)
    tab.form._keep(desk, *[99 if field is tab.top_k[1] else 1 for field in tab.form.components])
    updates = tab.show_model(desk, MODEL, "generate", 0, 99, 16, 0, 0)
    # More codes than the model has cannot be chosen from, and Gradio would refuse them.
    assert [updates[each].get("value") for each in tab.top_k] == [None, 16, None, None, None]
    assert {updates[each]["maximum"] for each in tab.top_k} == {16}
    # Nor does a reload bring them back.
    desk.left = desk.forms
    kept = dict(zip(tab.form.components, tab.form.bring_back(desk), strict=True))
    assert [kept[each]["value"] for each in tab.top_k] == [1, 16, 1, 1, 1]
    names = [updates[control]["label"] for choice in tab.by_level.choices[:2] for control in choice.controls]
    assert len({*names}) == 6
    assert [updates[row].visible for row in tab.by_level.rows] == [True, True, False, False]
    assert [button.interactive for button in tab.ready(Desk(context), MODEL, "generate", None).values()] == [True, True]
    assert [button.interactive for button in tab.ready(Desk(context), MODEL, "vary", None).values()] == [False, False]


def test_what_is_chosen_and_gone_gives_way_to_what_is_there(tmp_path: Path) -> None:
    context, desk = Context(make_folder(tmp_path / "project")), Desk(Context(tmp_path))
    studio = tab_of(context, lambda studio: studio)
    model_file(context.project / "models" / "goner.distill", weights=1, lineage="c")
    desk.sessions = 1
    studio.choose_model(desk, "models/goner.distill")
    model_file(context.project / MODEL)
    assert "value" not in studio.offer("generate", desk).constructor_args
    (context.project / "models" / "goner.distill").unlink()
    assert studio.offer("generate", desk).value == MODEL
    # The model of the open grid comes before the newest.
    model_file(context.project / "models" / "newest.distill", weights=2, lineage="d")
    assert studio.offer("codes", desk).value == "models/newest.distill"
    desk.put(EditSession.begin(codes_model(), History(grid(4))), MODEL, "kick.wav")
    assert studio.offer("codes", desk).value == MODEL
    studio.choose_model(desk, "models/newest.distill")
    (context.project / MODEL).unlink()
    assert "value" not in studio.offer("codes", desk).constructor_args

    for name in ("done", "other"):
        write_order(context.project / "runs" / name, Order("kit"), finished=True)
    assert "value" not in list_runs(context, "done").constructor_args
    assert list_runs(context, "gone").value in ("done", "other")
    assert choose_run(Context(tmp_path), "gone").value is None


def test_a_model_without_a_prior_is_asked_for_no_sounds(tmp_path: Path) -> None:
    context = Context(make_folder(tmp_path / "project"))
    model_file(context.project / MODEL, with_prior=False)
    tab, desk = generate_tab(context), Desk(context)
    assert [button.interactive for button in tab.ready(desk, MODEL, "generate", None).values()] == [False, False]
    with pytest.raises(gr.Error, match=f"^.{MODEL} has no prior"):
        list(tab.make(desk, MODEL, None, None, None, [], **form_of(tab)))
    library = tab_of(context, lambda studio: LibraryTab(context, studio))
    shelf = library.read_files()[library.shelf]
    shown = library.show_details(shelf, View(shown=key_of(shelf.entries[0])))
    assert not shown[library.details.hear].interactive


def connected_generate_tab(context: Context) -> tuple[GenerateTab, gr.Blocks]:
    """A tab whose controls act."""

    def page() -> tuple[GenerateTab, gr.Blocks]:
        with gr.Blocks(analytics_enabled=False) as blocks:
            studio = Studio.of(context, gr.Tabs(render=False))
            tab = GenerateTab(context, studio)
            with gr.Tab() as opened:
                tab.connect(opened)
        return tab, blocks

    return within_loop(page)


def test_a_form_is_kept_also_when_a_slider_is_reset_or_another_seed_comes(context: Context) -> None:
    tab, blocks = connected_generate_tab(context)
    by_seed, by_input = [each for each in blocks.fns.values() if each.name == "_keep"]
    assert (tab.amount.seconds._id, "release") in by_input.targets
    assert by_seed.trigger_after is not None
    assert blocks.fns[by_seed.trigger_after].outputs == [tab.amount.seed]


def test_whether_sounds_can_be_made_is_asked_after_whatever_makes_some(context: Context) -> None:
    tab, blocks = connected_generate_tab(context)
    again = {function.trigger_after for function in blocks.fns.values() if function.fn == tab.ready}
    # What makes sounds ends by switching off what stops it, also where it fails.
    makers = [each for each in blocks.fns.values() if tab.making.stop in each.outputs]
    assert {function._id for function in makers} == again - {None}
    # An answer of while sounds were being made may come after their end.
    desk = Desk(context)
    list(tab.make(desk, MODEL, None, None, None, [], **form_of(tab, seconds=0.3, count=1)))
    assert [button.interactive for button in tab.ready(desk, MODEL, "generate", None).values()] == [True, True]


def test_codes_are_opened_edited_and_blended(context: Context) -> None:
    tab, desk = tab_of(context, lambda studio: CodesTab(context, studio)), Desk(context)
    assert tab.open_file(desk, MODEL, None) == gr.skip()
    context.uploads.mkdir(parents=True)
    upload = context.uploads / "tone.wav"
    upload.write_bytes((context.project / "tone.wav").read_bytes())
    updates = tab.open_file(desk, MODEL, str(upload))
    # Without a second grid no take is chosen as one.
    assert updates[tab.second.take] is None
    assert updates[tab.edits.reverse].interactive
    assert not updates[tab.second.swap].interactive
    before = json.loads(updates[tab.sheet.grid])["codes"]
    reversed_ = tab.editing(codes_edits.reverse)(desk, "null", "null", False)
    assert json.loads(reversed_[tab.sheet.grid])["codes"] != before
    assert "1 edit done" in reversed_[tab.sheet.words]
    second = tab.open_second(desk, str(upload))
    assert json.loads(second[tab.second.grid])["codes"] == before
    assert tab.second.take not in tab._second(desk)
    blended = tab.blend(desk, "null", "null", False, 1.0, False)
    assert json.loads(blended[tab.sheet.grid])["codes"] == before
    assert tab.editing(codes_edits.freeze)(desk, "null", "null", False, []) == gr.skip()
    with pytest.raises(gr.Error, match="give a whole number"):
        tab.editing(codes_edits.move)(desk, "null", "null", False, None)


def test_the_library_finds_shows_and_deletes_models(context: Context) -> None:
    extra = context.models / "extra.distill"
    model_file(extra, name="extra", weights=1, lineage="c", data="cd")
    tab = tab_of(context, lambda studio: LibraryTab(context, studio))
    filters = {"words": "extra", "verdict": "any", "dataset": "any", "sort": "name"}
    shelf = tab.read_files()[tab.shelf]
    assert len(shelf.entries) == 2
    known = shelf.entries[0].manifest.metadata.dataset
    assert tab.search(shelf, View(), **filters).count("<article") == 1
    assert tab.search(shelf, View(), **filters | {"words": "nothing"}).count("<article") == 0
    key = next(key_of(entry) for entry in shelf.entries if extra in entry.files)
    assert tab.show_details(shelf, View(shown=key))[tab.details.column].visible
    assert not tab.show_details(shelf, View())[tab.details.column].visible
    place = extra.relative_to(context.project).as_posix()
    # A dataset that no model has any more is no longer what is looked for.
    assert tab.read_all("gone")[tab.filters.dataset].value == "any"
    assert tab.read_all(known)[tab.filters.dataset].value == known
    with pytest.raises(gr.Error, match="open the details of a model first"):
        list(tab.hear_one(Shelf(), View()))
    # What is compared with a model that is gone is not.
    both = View(compared=tuple(map(key_of, shelf.entries)))
    assert tab.compare_again(shelf, both) == gr.skip()
    less = tab.compare_again(Shelf(shelf.entries[:1]), both)
    assert less[tab.view].compared == both.compared[:1]
    assert "second model" in less[tab.comparison.differences]
    updates = tab.ask_delete(View(), str(extra))
    assert place in updates[tab.details.asked]
    assert extra.is_file()
    assert tab.calm(updates[tab.view])[tab.view].asked is None
    assert extra.is_file()


def test_sounds_of_a_folder_are_judged_and_kept(tmp_path: Path) -> None:
    context = Context(tmp_path)
    for number in range(3):
        save(context.project / "sounds" / f"{number}.wav", tone(0.4, 300.0 + 50 * number))
    tab = tab_of(context, lambda studio: DataTab(context, sounds_choice(), studio.tabs))
    desk = Desk(context)
    *_, last = list(tab.judge_folder("sounds", desk))
    assert "3 of 3 files" in last[tab.summary]
    assert last[tab.table].count("<tr>") == 4
    with pytest.raises(gr.Error, match="give the dataset a name first"):
        tab.keep(last[tab.path], " ")
    assert tab.train(last[tab.path], "", desk)[tab.training_sounds]["value"] == "sounds"
    kept = tab.keep(last[tab.path], "mine")
    assert "data/mine: 3 usable sounds" in kept[tab.answer]
    with pytest.raises(gr.Error, match="drop sounds, or name a folder first"):
        list(tab.judge_folder("", desk))
    # What is judged next is shown, and nothing of what was judged before it any more.
    for number in range(FIRST_FILES + 2):
        save(context.project / "many" / f"{number}.wav", tone(0.1, 300.0 + 50 * number))
    before = tab.judge_folder("many", desk)
    assert tab.table in next(before)
    *_, last = list(tab.judge_folder("sounds", desk))
    assert "<h3>sounds</h3>" in last[tab.summary]
    # Gradio shows what comes last once more.
    *_, last = list(before)
    assert last == {tab.summary: gr.skip()}
    *_, last = list(tab.judge_folder(".", desk))
    assert f"<h3>{tmp_path.name}</h3>" in last[tab.summary]


def test_of_files_that_are_dropped_one_after_the_other_the_last_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(tmp_path)
    for name in ("first", "second"):
        save(context.uploads / f"{name}.wav", tone(0.4, 300.0))
    tab = tab_of(context, lambda studio: DataTab(context, sounds_choice(), studio.tabs))
    desk = Desk(context)
    slow = data.gather

    def while_copied(files: Iterable[Path], folder: Path) -> list[str]:
        left_out = slow(files, folder)
        monkeypatch.setattr(data, "gather", slow)
        meanwhile.extend(tab.judge_files(then, desk))
        return left_out

    for then in ([str(context.uploads / "second.wav")], None):
        meanwhile: list[Updates] = []
        monkeypatch.setattr(data, "gather", while_copied)
        assert list(tab.judge_files([str(context.uploads / "first.wav")], desk)) == [{tab.summary: gr.skip()}]
        held = [] if desk.dropped is None else [desk.dropped]
        assert [path.name for folder in held for path in folder.iterdir()] == (["second.wav"] if then else [])
        assert list((desk.lasting() / "dropped").iterdir()) == held
        assert bool(meanwhile[-1][tab.path]) is bool(then)


def test_the_screen_of_start_follows_what_is_dropped(tmp_path: Path) -> None:
    context = Context(tmp_path)
    tab = tab_of(context, lambda studio: StartTab(context, studio))
    assert tab.show("")[tab.empty].visible
    save(context.uploads / "tone.wav", tone(0.4, 330.0))
    tab.drop([str(context.uploads / "tone.wav")])
    shown = tab.show("")
    assert (shown[tab.empty].visible, shown[tab.plans.column].visible) == (False, True)
    # What was dropped does not come along with the next.
    assert shown[tab.files] is None
    # Known before all sounds are judged: Go can be pressed by then.
    assert shown[tab.about] == standing_of(context.project).about
    assert tab.estimate(None, "").info != tab.estimate([], "").info == ""
    judged = tab.judge()
    assert judged[tab.seconds] == pytest.approx([0.4])
    assert judged[tab.plans.go].interactive
    # That is known of these sounds, and of no others.
    assert tab.seconds not in tab.show(shown[tab.about])
    unknown = tab.show("others")
    assert (unknown[tab.plans.verdict], unknown[tab.seconds]) == ("", None)
    assert "about" not in str(unknown[tab.plans.plan].choices)
    with pytest.raises(gr.Error, match="no run has been started here yet"):
        tab.stop()
    # Another window takes other sounds.
    save(context.project / "others" / "tone.wav", tone(0.4, 500.0))
    begin_with(context.project, context.project / "others")
    with pytest.raises(gr.Error, match="another window has chosen other sounds"):
        tab.start("sketch", shown[tab.about])
    assert f'about="{standing_of(context.project).about}"' in tab.show("")[tab.live]
    tab.forget()
    assert tab.show("")[tab.empty].visible


def test_a_training_needs_sounds_and_settings_that_differ(context: Context) -> None:
    tab = tab_of(context, lambda _: TrainTab(context, sounds_choice()))
    form = {name: field.value for name, field in tab.form.fields.items()}
    with pytest.raises(gr.Error, match="choose the sounds first"):
        tab.start(**form)
    settings = {name: value for name, value in form.items() if name not in ("sounds", "name", "what")}
    assert settings_from(**settings) == ()
    changed = settings_from(**settings | {"epochs": 3, "more": "vqvae.dropout=0.1\n"})
    assert changed == ("vqvae.epochs=3", "vqvae.dropout=0.1")
    with pytest.raises(gr.Error, match="choose a training first"):
        tab.stop(None)
    with pytest.raises(gr.Error, match="no older training"):
        tab.removal.ask_older(5)


def test_the_form_of_the_monitor_has_what_the_training_has(context: Context) -> None:
    tab = tab_of(context, lambda _: MonitorTab(context))
    vqvae, prior = (tab.show_form(None, stage) for stage in ("train_vqvae", "train_prior"))
    weight = tab.tuning.fields["commitment_weight"]
    assert (vqvae[weight]["visible"], prior[weight]["visible"]) == (True, False)
    # An answer is that of the training before.
    assert set(tab.answers) <= {control for control, value in tab.forget().items() if value == ""}
    # The form of another training than that of the answer is not left standing.
    assert tab.form_of_the_chosen(["kit-1", "train_vqvae"], "kit-1", "train_vqvae") == gr.skip()
    assert tab.form_of_the_chosen(["kit-1", "train_vqvae"], None, "train_prior")[weight]["visible"] is False
    # As long as nothing is in force, the form is filled again.
    assert vqvae[tab.before] == {}
    before = {key: field.value for key, field in tab.tuning.fields.items()}
    assert tab.form_once_it_runs({}, None, "train_vqvae") == vqvae
    assert tab.form_once_it_runs(before, None, "train_vqvae") == gr.skip()
    with pytest.raises(gr.Error, match="nothing is changed in the form"):
        tab.apply(None, "train_vqvae", "", before, **before)
    with pytest.raises(gr.Error, match="choose a training first"):
        tab.apply(None, "train_vqvae", "", before, **before | {"commitment_weight": 0.5})
    assert tab.forget()[tab.snapshots.table] == ""
    assert tab.forget()[tab.snapshots.sure] is False
    assert {*tab.forget()} == {*tab.of_one}


def test_the_form_of_the_monitor_comes_with_the_answer_and_never_behind_it(tmp_path: Path) -> None:
    blocks = within_loop(lambda: build_app(Context(tmp_path), FastAPI()))
    (apply,) = [each for each in blocks.fns.values() if each.name == "apply"]
    fields = next(set(each.outputs) for each in blocks.fns.values() if each.name == "show_form")
    assert len(fields) > 10
    assert fields < set(apply.outputs)
    behind = [each for each in blocks.fns.values() if each.trigger_after == apply._id and fields & set(each.outputs)]
    # It does nothing unless another training was chosen meanwhile.
    assert [each.name for each in behind] == ["form_of_the_chosen"]
