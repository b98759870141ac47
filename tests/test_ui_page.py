"""The page in a browser: a real server, real trainings of tiny models."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from browser_util import Watched, unfold
from distill.errors import DistillError
from distill.live.folder import RunFolder
from distill.runs.folder import read_order, run_folders
from distill.runs.progress import alive, progress_of
from distill.runs.stopping import stop
from distill.runs.trainings import snapshots
from distill.stages.workspace import Workspace
from page_util import Served, make_sounds, served, settings, wait
from sounds_util import bad_folder, save, tone
from steering_util import journal_of

pytest.importorskip("gradio")
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    project = tmp_path_factory.mktemp("project")
    make_sounds(project / "data" / "kit")
    bad_folder(project / "mixed")
    yield project
    for root in run_folders(project):
        with suppress(DistillError):
            stop(root)
        wait(lambda root=root: not alive(root))


def start(watched: Watched, name: str, **changes: Any) -> None:
    """Fill in the form of the tab Train and start."""
    page = watched.open("Train")
    page.locator("#train-codebook input, #train-codebook textarea").filter(has_text="").wait_for()
    wait(lambda: "for 8 usable files" in page.locator("#train-codebook").locator("input, textarea").input_value())
    page.locator("#train-name").locator("input, textarea").fill(name)
    unfold(page, "More settings")
    page.locator("#train-more textarea").fill("\n".join(settings(**changes)))
    page.locator("#train-start").click()
    page.get_by_text("It goes on when this page is closed").wait_for()


def choose(page: Any, place: str, text: str) -> None:
    """Choose an entry of a list by what it is called."""
    page.locator(f"{place} input").click()
    page.locator(f"{place}").get_by_role("option", name=text).or_(page.get_by_role("option", name=text)).first.click()


def test_what_did_not_change_stays_where_it_is(server: Served, chromium: Any) -> None:
    page = Watched(chromium, server).open_bare()
    found = page.evaluate("""async () => {
      const { renew } = await import("/page-assets/dom.js");
      const place = document.body.appendChild(document.createElement("div"));
      const show = (text) => {
        const template = document.createElement("template");
        template.innerHTML = text;
        renew(place, [...template.content.children]);
      };
      const wall = (title, ...names) =>
        `<section><h3>${title}</h3><div>${names.map((name) => `<button>${name}</button>`).join("")}</div></section>`;
      const behind = (text) => `<details><summary>Earlier</summary>${text}</details>`;
      show(wall("2 sounds", "a", "b") + behind(wall("1 sound", "x")));
      const button = place.querySelector("button");
      button.focus();
      place.querySelector("details").open = true;
      show(wall("3 sounds", "a", "b", "c") + behind(wall("2 sounds", "x", "y")));
      const kept = document.activeElement === button && place.querySelector("details").open;
      const shown = place.innerText.split(/\\s+/).join(" ");
      show("<p>gone</p>");
      return [kept, shown, place.innerHTML];
    }""")
    assert found == [True, "3 sounds abc Earlier 2 sounds xy", "<p>gone</p>"]


def test_a_grid_that_plays_stops_what_played_before(server: Served, chromium: Any) -> None:
    page = Watched(chromium, server).open_bare()
    told = page.evaluate("""async () => {
      const { Playback } = await import("/page-assets/grid/playback.js");
      const { play } = await import("/page-assets/player.js");
      const told = [];
      const [one, other] = ["one", "other"].map((name) => new Playback((on) => told.push([name, on]), () => {}));
      one.play("/nothing.wav", 0);
      other.play("/nothing.wav", 0);
      play("/nothing.wav", { done: () => told.push("card") });
      one.hear("/nothing.wav");
      return told;
    }""")
    assert told == [["one", True], ["one", False], ["other", True], ["other", False], "card"]


def test_sounds_are_judged_heard_and_kept(server: Served, chromium: Any, project: Path) -> None:
    watched = Watched(chromium, server)
    page = watched.open("Data")
    # Before anybody does anything, nothing is fetched from elsewhere and nothing complains.
    for tab in ("Train", "Monitor", "Data"):
        page.wait_for_timeout(500)
        watched.show(tab)
    assert (watched.elsewhere, watched.errors) == ([], [])
    folder = page.locator("#data-folder input")
    folder.fill("mixed")
    folder.press("Enter")
    page.locator("#data-check").click()
    rows = page.locator(".d-sounds tbody tr")
    rows.first.wait_for()
    wait(lambda: rows.count() == 17)
    page.locator("#data-summary").get_by_text("2 of 17 files").wait_for()
    assert "truncated" in page.locator(".d-sounds").inner_text()
    with page.expect_response(lambda answer: "/media/" in answer.url) as answer:
        page.get_by_role("button", name="Play a good one.wav").press("Enter")
    assert answer.value.status in (200, 206)
    assert page.locator(".d-wave").count() == 3
    page.locator("#data-files input[type=file]").set_input_files(
        [project / "data" / "kit" / f"tone{number:03}.wav" for number in range(5)]
    )
    page.get_by_text("5 of 5 files").wait_for()
    page.locator("#data-name").locator("input, textarea").fill("../outside")
    page.locator("#data-keep").click()
    page.get_by_text("cannot be a folder name").wait_for()
    page.locator("#data-name").locator("input, textarea").fill("mine")
    page.locator("#data-keep").click()
    page.get_by_text("data/mine: 5 usable sounds").wait_for()
    watched.show("Train")
    wait(lambda: "data/mine" in page.locator("#train-sounds input").input_value())
    wait(lambda: "for 5 usable files" in page.locator("#train-codebook").locator("input, textarea").input_value())
    watched.show("Data")
    assert len(list((project / "data" / "mine").iterdir())) == 5
    folder.fill("/nowhere/at all")
    folder.press("Enter")
    page.locator("#data-check").click()
    page.get_by_text("no such folder or file").wait_for()
    assert "Traceback" not in page.content()
    assert watched.elsewhere == []


def test_of_many_sounds_the_first_are_listed_while_the_others_are_judged(
    server: Served, chromium: Any, project: Path
) -> None:
    first = tone(0.02)
    for number in range(4000):
        path = project / "many" / f"{number:04}.wav"
        if number < 10:
            save(path, np.roll(first, number))
        else:
            path.hardlink_to(project / "many" / f"{number % 10:04}.wav")
    page = Watched(chromium, server).open("Data")
    # Where nothing is named, what was dropped is judged.
    page.locator("#data-files input[type=file]").set_input_files(project / "data" / "kit" / "tone000.wav")
    page.get_by_text("1 of 1 files").wait_for()
    page.locator("#data-check").click()
    page.wait_for_timeout(1000)
    page.get_by_text("1 of 1 files").wait_for()
    assert page.locator(".toast-body").count() == 0
    page.locator("#data-folder input").fill("many")
    page.locator("#data-folder input").press("Enter")
    page.locator("#data-check").click()
    page.get_by_text(re.compile(r"The first \d+ of 4000 files; the others follow")).wait_for()
    assert page.locator(".d-sounds tbody tr").count()
    page.get_by_text("10 of 4000 files").wait_for()
    page.get_by_text("3000 more files are not listed").wait_for()
    page.locator("#data-keep").wait_for()


def test_a_page_that_is_closed_ends_the_check_of_many_sounds(server: Served, chromium: Any, project: Path) -> None:
    folder = project / "very many"
    for number in range(100_000):
        path = folder / f"{number // 1000:02}" / f"{number:05}.wav"
        if number < 10:
            save(path, np.roll(tone(0.02), number))
        else:
            path.parent.mkdir(exist_ok=True)
            path.hardlink_to(folder / "00" / f"0000{number % 10}.wav")
    watched = Watched(chromium, server, apart=True)
    page = watched.open("Data")
    page.locator("#data-folder input").fill("very many")
    page.locator("#data-folder input").press("Enter")
    page.locator("#data-check").click()
    page.get_by_text(re.compile(r"The first \d+ of 100000 files; the others follow")).wait_for()
    helpers = psutil.Process(server.process.pid).children
    wait(lambda: len(helpers()) > 1)
    watched.context.close()
    wait(lambda: not helpers(), seconds=15)


def test_the_form_takes_what_the_training_takes(server: Served, chromium: Any, project: Path) -> None:
    before = run_folders(project)
    watched = Watched(chromium, server)
    page = watched.open("Train")
    sounds = page.locator("#train-sounds input")
    sounds.fill("mixed")
    sounds.press("Enter")
    wait(lambda: "for 2 usable files" in page.locator("#train-codebook").locator("input, textarea").input_value())
    page.locator("#train-name").locator("input, textarea").fill("my model")
    page.locator("#train-start").click()
    page.locator(".toast-body", has_text="cannot be a model's name").wait_for()
    (project / "nothing").mkdir(exist_ok=True)
    sounds.fill("nothing")
    sounds.press("Enter")
    page.locator("#train-name").locator("input, textarea").fill("model")
    page.locator("#train-start").click()
    page.locator(".toast-body", has_text="no file in it looks like a sound").wait_for()
    assert "has begun" not in page.content()
    assert run_folders(project) == before


def test_a_training_is_started_watched_tuned_and_found_again(server: Served, chromium: Any, project: Path) -> None:
    first, second = Watched(chromium, server), Watched(chromium, server, apart=True)
    start(first, "live", vqvae_epochs=3000, vqvae_preview_interval=4, vqvae_preview_count=1)
    (root,) = run_folders(project)
    page = first.page
    page.get_by_role("heading", name="Sounds kept aside").wait_for(timeout=150_000)
    assert page.locator("#train-live audio").count() == 2
    commitment = page.locator("path[data-name='distance to the building blocks (commitment)']")
    assert (commitment.get_attribute("stroke"), commitment.get_attribute("stroke-dasharray")) == ("#16a34a", "6 4")
    # The status is written once a second, so the codebooks can come after the first preview.
    page.get_by_role("row", name=re.compile("Timbre")).wait_for()
    # A reload, and another browser, find the training that runs.
    other = second.open("Monitor")
    other.locator(".d-segment[data-name=l1]").first.wait_for()
    page.reload()
    first.show("Train")
    page.get_by_role("progressbar").wait_for()
    segment = other.locator("section[aria-label='Weights'] .d-segment[data-name=l1]")
    segment.focus()
    wait(lambda: re.search(r"absolute error \(l1\): [\d.]+, \d+ %", other.locator(".d-tip").inner_text()))
    assert segment.evaluate("each => each.style.background") in ("rgb(220, 38, 38)", "#dc2626")
    shares = other.locator("section[aria-label='Weights'] .d-segment").evaluate_all(
        "all => all.reduce((sum, each) => sum + Number(each.style.flexGrow), 0)"
    )
    assert shares == pytest.approx(1)
    # One transaction, applied and answered.
    unfold(other, "Tune it while it runs")
    rate = other.locator("#tune-max_lr input")
    wait(lambda: rate.input_value() == "0.001")
    rate.fill("0.0005")
    other.locator("#tune-decay input").fill("0.9")
    other.locator("#tune-apply").click()
    other.locator("#tune-answer").get_by_text("max_lr: 0.001 → 0.0005").wait_for()
    (entry,) = journal_of(Workspace(root), "train_vqvae")
    assert entry["change"] == {"decay": 0.9, "max_lr": 0.0005}
    other.get_by_text("decay = 0.9, max_lr = 5e-4").wait_for()
    other.locator("#tune-weight_full input").fill("0.9")
    other.locator("#tune-apply").click()
    other.get_by_text("must sum to 0.95 to 1.05").wait_for()
    assert len(journal_of(Workspace(root), "train_vqvae")) == 1
    # Another browser's form is its own.
    first.show("Monitor")
    unfold(page, "Tune it while it runs")
    wait(lambda: page.locator("#tune-weight_full input").input_value() == "0.3")
    for button, words in (
        ("Checkpoint now", "this checkpoint is kept"),
        ("Validate now", "held-out loss"),
        ("Pause", "Paused at step"),
    ):
        other.get_by_role("button", name=button).locator("visible=true").click()
        other.locator("#monitor-answer").get_by_text(words).wait_for()
    other.locator(".d-badge", has_text="paused").locator("visible=true").wait_for()
    unfold(other, "Snapshots: compare, and go back")
    other.locator("#snapshots-list").get_by_text("checkpoint (asked)").wait_for()
    other.locator("#rollback").click()
    other.get_by_text("choose a checkpoint first").wait_for()
    names = [each["name"] for each in snapshots(RunFolder(root, "train_vqvae"))["validations"]]
    steps = [str(each["step"]) for each in snapshots(RunFolder(root, "train_vqvae"))["checkpoints"]]
    choose(other, "#compare-a", steps[0])
    choose(other, "#compare-b", names[0])
    other.locator("#compare-answer").get_by_text("validation_loss").wait_for()
    choose(other, "#rollback-step", steps[0])
    other.locator("#rollback").click()
    other.get_by_text("tick “Later checkpoints and changes may be lost” first").wait_for()
    other.locator("#rollback-sure input").check()
    other.locator("#rollback").click()
    other.locator("#rollback-answer").get_by_text(f"Back at step {steps[0]}").wait_for()
    assert first.errors == []
    assert second.errors == []
    assert progress_of(root).state == "paused"


def test_the_server_may_be_killed_while_a_training_goes_on(chromium: Any, project: Path) -> None:
    (root,) = run_folders(project)
    with served(project, forked=True) as server:
        watched = Watched(chromium, server)
        page = watched.open("Train")
        page.get_by_role("progressbar").wait_for()
        page.get_by_role("button", name="Resume").locator("visible=true").click()
        page.get_by_text("Goes on from step").wait_for()
        server.process.kill()
        server.process.wait()
        page.get_by_text("Trainings go on without it").wait_for()
    assert alive(root)
    with served(project, forked=True) as server:
        watched = Watched(chromium, server)
        page = watched.open("Train")
        page.get_by_role("progressbar").wait_for()
        page.get_by_role("button", name="Stop").locator("visible=true").click()
        page.locator(".d-badge", has_text="stopped").locator("visible=true").wait_for()
        assert "press Resume" in page.locator("#train-live").inner_text()


def test_a_training_starts_with_fields_left_as_they_are(server: Served, chromium: Any, project: Path) -> None:
    known = set(run_folders(project))
    watched = Watched(chromium, server)
    page = watched.open("Train")
    wait(lambda: "for 8 usable files" in page.locator("#train-codebook").locator("input, textarea").input_value())
    page.locator("#train-name").locator("input, textarea").fill("plain")
    unfold(page, "More settings")
    page.locator("#train-seed input").fill("7")
    page.locator("#train-start").click()
    page.get_by_text("It goes on when this page is closed").wait_for()
    (root,) = set(run_folders(project)) - known
    order = read_order(root)
    assert order is not None
    assert (order.name, order.settings) == ("plain", ("run.seed=7",))
    # What was started is what the Monitor shows.
    watched.show("Monitor")
    page.locator("#monitor-live strong", has_text=root.name).wait_for()
    watched.show("Train")
    page.get_by_role("button", name="Stop").locator("visible=true").click()
    wait(lambda: not alive(root))
    assert watched.errors == []


def test_both_models_are_trained_and_the_verdict_is_shown(server: Served, chromium: Any, project: Path) -> None:
    watched = Watched(chromium, server)
    page = watched.page
    # What fails once is asked for again. A handler that takes itself away (`times=1`) leaves requests hanging.
    failed = list[str]()

    def fail_once(route: Any) -> None:
        if failed:
            route.continue_()
        else:
            failed.append(route.request.url)
            route.abort()

    page.route(re.compile(r"codebook_usage\.csv"), fail_once)
    start(watched, "whole", vqvae_epochs=3, prior_epochs=3)
    page.get_by_text("The model “whole” is written").wait_for(timeout=120_000)
    page.get_by_role("heading", name="Does it copy?").wait_for()
    page.get_by_text("The evidence").click()
    frame = page.frame_locator("#train-live iframe")
    frame.locator("audio").first.wait_for()
    strips = page.get_by_role("img", name=re.compile(r"(Structure|Timbre|Detail): \d of 8 codes used"))
    wait(lambda: strips.count() == 3)
    assert failed
    strips.first.hover()
    page.get_by_text(re.compile(r"Structure, code \d: \d+ times")).wait_for()
    assert not re.search(r"level[_ ]\d", page.locator("#train-live").inner_text())
    wait(lambda: "it may learn them by heart" in page.locator("#train-live").inner_text())
    assert (project / "models" / "whole.distill").is_file()
    assert watched.elsewhere == []


def test_no_tab_is_wider_than_the_window(server: Served, chromium: Any) -> None:
    watched = Watched(chromium, server)
    page = watched.open()
    for tab in ("Start", "Data", "Train", "Monitor", "Generate", "Takes", "Codes", "Library"):
        watched.show(tab)
        page.wait_for_timeout(500)
        for width in (1280, 600, 360):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(100)
            # None is in a menu, where a reload would not find it.
            assert page.get_by_role("tab").count() == 8
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (tab, width)
