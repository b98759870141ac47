"""The pages say what is there: parameters, commands, options, links, files, events."""

import importlib.util
import os
import re
import shlex
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from distill.cli.main import app
from distill.dataset.scan import FileVerdict
from distill.live import events
from distill.params import Params
from distill.stages.versions import CODE_VERSIONS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COMMANDS_PAGE = ROOT / "docs" / "reference" / "commands.md"
# It lists the commands, and uses none.
WRITTEN = [page for page in PAGES if page != COMMANDS_PAGE]
READ_BY_PEOPLE = pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])


def commands_of(group: Any, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], set[str]]:
    """The options of every command, by its words."""
    given = {option for each in group.params for option in (*each.opts, *each.secondary_opts)}
    options = {option for option in given if option.startswith("-")} | {"-h", "--help"}
    found = {words: options}
    for name, command in getattr(group, "commands", {}).items():
        found |= commands_of(command, (*words, name))
    return found


COMMANDS = commands_of(typer.main.get_command(app))
OPTIONS = set().union(*COMMANDS.values())


def code_of(page: Path) -> list[str]:
    """Lines of code blocks and spans of code in the text, without comments."""
    blocks: list[str] = []

    def take(match: re.Match[str]) -> str:
        blocks.extend(match[1].splitlines())
        return ""

    text = re.sub(r"^ *```\w*\n(.*?)^ *```$", take, page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
    return [re.sub(r"\s+#.*", "", line).strip() for line in [*blocks, *spans]]


def complaints(line: str) -> list[str]:
    """What is wrong with a line of code, if it is one of ours."""
    words = shlex.split(line) if line.startswith(("distill", "-")) else []
    if words and words[0] == "distill":
        command: tuple[str, ...] = ()
        for word in words[1:]:
            if (*command, word) not in COMMANDS:
                break
            command = (*command, word)
        if not command and len(words) > 1 and not words[1].startswith("-"):
            return [f"no command {words[1]}"]
        known = COMMANDS[command]
    else:
        known = OPTIONS
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return [f"no option {option}" for option in given if option not in known]


def test_wrong_commands_and_options_are_noticed() -> None:
    assert complaints("distill train ~/kit --codebook-size 64 -o kit.distill") == []
    assert complaints("distill model info kit.distill --json") == []
    assert complaints("distill trian ~/kit") == ["no command trian"]
    assert complaints("distill generate kit.distill --epochs 3") == ["no option --epochs"]
    assert complaints("--resme") == ["no option --resme"]


@READ_BY_PEOPLE
def test_every_command_and_option_on_a_page_exists(page: Path) -> None:
    wrong = {line: found for line in code_of(page) if (found := complaints(line))}
    assert not wrong


@pytest.mark.parametrize("command", [command for command in COMMANDS if command], ids=" ".join)
def test_a_page_names_every_command_and_its_help_every_option(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0
    assert all(option in result.output for option in COMMANDS[command])
    pages = "".join(page.read_text(encoding="utf-8") for page in WRITTEN)
    assert f"distill {' '.join(command)}" in pages


@READ_BY_PEOPLE
def test_every_parameter_on_a_page_exists(page: Path) -> None:
    sections = {name: field.annotation for name, field in Params.model_fields.items() if name != "schema_number"}
    known = {f"{name}.{key}" for name, config in sections.items() for key in config.model_fields}  # type: ignore[union-attr]
    pattern = rf"(?<![\w/])(?:{'|'.join(sections)})\.(?!(?:distill|json)\b)[a-z0-9_]+"
    named = {word for line in code_of(page) for word in re.findall(pattern, line)}
    assert named <= known


@READ_BY_PEOPLE
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_two_commands_of_the_readme_can_be_run() -> None:
    scripts = [line for line in code_of(ROOT / "README.md") if re.fullmatch(r"scripts/\w+\.sh", line)]
    assert scripts == ["scripts/demo.sh", "scripts/test.sh"]
    assert all(os.access(ROOT / script, os.X_OK) for script in scripts)


def test_every_script_and_test_named_on_a_page_exists() -> None:
    for page in PAGES:
        for script in re.findall(r"\b(?:scripts|tests)/\w+\.\w+", page.read_text(encoding="utf-8")):
            assert (ROOT / script).is_file(), f"{page.name}: {script}"


def test_the_table_of_parameters_is_current() -> None:
    text = _module(ROOT / "scripts" / "write_parameters.py").parameters_text()
    written = (ROOT / "docs" / "reference" / "parameters.md").read_text(encoding="utf-8")
    assert written == text, "run scripts/write_parameters.py"


def test_the_page_of_commands_is_current() -> None:
    text = _module(ROOT / "scripts" / "write_commands.py").commands_text()
    assert COMMANDS_PAGE.read_text(encoding="utf-8") == text, "run scripts/write_commands.py"


def test_the_page_about_the_pipeline_names_every_file_of_a_stage() -> None:
    rows = {
        cells[1].strip(" `"): row
        for row in _pipeline().splitlines()
        if row.startswith("| `") and len(cells := row.split("|")) == 6
    }
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert list(stages) == list(CODE_VERSIONS)
    for name, stage in stages.items():
        entries = [entry for key in ("deps", "outs", "metrics", "plots") for entry in stage.get(key, [])]
        files = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]
        for file in files:
            assert file == "${data.path}" or f"`{file}`" in rows[name], f"{name}: {file}"


def test_the_page_about_the_pipeline_names_every_event_and_verdict() -> None:
    text = _pipeline()
    for event in events.Event.__subclasses__():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{event.__name__}` |"))
        assert all(f"`{each.name}`" in row for each in fields(event) if each.name != "stage"), event.__name__
    assert all(f"`{verdict}`" in text for verdict in FileVerdict)


def test_the_picture_of_the_packages_shows_their_imports() -> None:
    drawing = _module(ROOT / "scripts" / "draw_packages.py")
    assert drawing.PICTURE.read_text(encoding="utf-8") == drawing.picture(), "run scripts/draw_packages.py"
    assert ("cli", "ui") in drawing.arcs([name for row in drawing.layers() for name in row])


def test_the_page_about_the_pipeline_has_the_layers_that_are_checked() -> None:
    declared = re.search(r"^layers = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M | re.S)
    assert declared
    names = [name for line in re.findall(r'"([^"]+)"', declared[1]) for name in line.split(" | ") if "(" not in name]
    listed = re.findall(r"^\| (`.*?`) \|", _pipeline().partition("## Layers")[2], flags=re.MULTILINE)
    assert [name.strip("`") for line in listed for name in line.split(", ")] == names


def _pipeline() -> str:
    return (ROOT / "docs" / "reference" / "pipeline.md").read_text(encoding="utf-8")


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
