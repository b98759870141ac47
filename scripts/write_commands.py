"""Write docs/reference/commands.md, every command with its arguments and options, from the commands themselves."""

from pathlib import Path
from typing import Any

import typer

from distill.cli.main import app
from distill.files import write_bytes

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference" / "commands.md"

INTRODUCTION = """\
<!-- Written by scripts/write_commands.py: run it instead of changing this page. -->
# Commands

`distill train -h` says the same in a terminal, and so for every command. Results go to stdout, everything else
to stderr.

| option of most commands | meaning |
|---|---|
"""
EXIT_CODES = """
| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed; one line on stderr says why |
| 2 | wrong usage: an option, argument or parameter that cannot be right |
| 3 | interrupted by Ctrl-C, SIGTERM or the end of the terminal; a training goes on with the same command |
"""
# Described once, above the commands.
COMMON = ("--project", "--json", "--quiet", "--verbose")


def commands_text() -> str:
    """The text of the page."""
    commands = _commands(typer.main.get_command(app), "distill")
    common = {option.opts[0]: option for _, command in commands for option in command.params}
    parts = [INTRODUCTION + _table([common[name] for name in COMMON]).split("\n", 2)[2] + EXIT_CODES]
    for words, command in commands:
        parts.append(f"## {words}\n\n{_text(command.help)}\n")
        parts.append(f"```text\n{' '.join([words, *_usage(command)])}\n```\n")
        own = [each for each in command.params if each.opts[0] not in COMMON and not each.hidden]
        if own:
            parts.append(_table(own))
        also = [f"`{name}`" for name in COMMON if any(name in each.opts for each in command.params)]
        if also:
            parts.append(f"Also {', '.join(also)}.\n")
    return "\n".join(parts)


def _commands(group: Any, words: str) -> list[tuple[str, Any]]:
    """Commands with their words, without groups, in the order of the help."""
    found: list[tuple[str, Any]] = []
    for name, command in group.commands.items():
        if not command.hidden:
            here = f"{words} {name}"
            found += _commands(command, here) if hasattr(command, "commands") else [(here, command)]
    return found


def _usage(command: Any) -> list[str]:
    pieces = ["[OPTIONS]"]
    for each in command.params:
        if each.param_type_name == "argument":
            name = _argument(each)
            more = "..." if each.nargs == -1 and not name.endswith("...") else ""
            pieces.append((name if each.required else f"[{name}]") + more)
    return pieces


def _argument(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper()).strip("[]")


def _table(parameters: list[Any]) -> str:
    rows = "".join(f"| {_name(each)} | {_meaning(each)} |\n" for each in parameters)
    return f"| argument or option | meaning |\n|---|---|\n{rows}"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        # Within a table a bar ends a cell, in code as well.
        return f"`{_argument(parameter)}`".replace("|", r"\|")
    names = ", ".join(f"`{name}`" for name in sorted(parameter.opts, key=len, reverse=True))
    opposites = "".join(f" / `{name}`" for name in parameter.secondary_opts)
    value = "" if parameter.is_flag else f" {_kind(parameter)}"
    return names + opposites + value


def _kind(parameter: Any) -> str:
    """What an option takes, in words."""
    if parameter.metavar:
        return f"`{parameter.metavar}`"
    kind = getattr(parameter.type_descriptor.annotation, "__name__", "")
    return {"int": "integer", "float": "number", "Path": "path"}.get(kind, "text")


def _meaning(parameter: Any) -> str:
    said = [_text(parameter.help)]
    low, high = parameter.min, parameter.max
    if low is not None or high is not None:
        said.append(f"{low:g} to {high:g}." if high is not None else f"At least {low:g}.")
    default = parameter.default
    if not parameter.required and parameter.show_default and default is not None and not callable(default):
        if parameter.is_flag and parameter.secondary_opts:
            said.append(f"Default: `{(parameter.opts if default else parameter.secondary_opts)[0]}`.")
        elif not parameter.is_flag and default != ():
            said.append(f"Default: `{default}`.")
    if parameter.required:
        said.append("Required.")
    if parameter.envvar:
        said.append(f"Environment: `{parameter.envvar}`.")
    return " ".join(said)


def _text(text: str | None) -> str:
    """A help text as Markdown: in paragraphs, with what stands in brackets at its end as a sentence."""
    paragraphs = ["\n".join(part.split()) for part in (text or "").split("\n\n")]
    plain = "\n\n".join(part.replace("\n", " ") for part in paragraphs)
    if plain.endswith("]") and " [default: " in plain:
        plain = f"{plain[:-1].replace(' [default: ', ' Default: ')}."
    for mark in "|<>*":
        plain = plain.replace(mark, f"\\{mark}")
    return plain


if __name__ == "__main__":
    write_bytes(TARGET, commands_text().encode())
