"""The commands that a running training takes, read from requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distill.errors import UsageError
from distill.live.folder import Request


@dataclass(frozen=True)
class Tune:
    """Change settings; with a name measure the model before that, and so many steps after."""

    changes: Mapping[str, Any]
    measure: str | None
    after: int


@dataclass(frozen=True)
class Validate:
    """Measure the model; without a name the measurement is called after the step."""

    name: str | None


@dataclass(frozen=True)
class RollBack:
    """Go back to the checkpoint of a step, or only to the settings that it had."""

    to: int
    config_only: bool


@dataclass(frozen=True)
class Pause:
    """Pause, or go on."""

    pause: bool


@dataclass(frozen=True)
class Checkpoint:
    """Save the state for good."""


@dataclass(frozen=True)
class Stop:
    """Save the state and end."""


Command = Tune | Validate | RollBack | Pause | Checkpoint | Stop


def command_of(request: Request) -> Command:
    """The command of a request.

    Raises:
        UsageError: there is no such command, or an argument is missing or of a wrong kind.
    """
    arguments = request.arguments
    try:
        match request.command:
            case "tune":
                name = arguments.get("validate")
                return Tune(dict(arguments["changes"]), name, int(arguments["after"]) if name else 0)
            case "validate":
                return Validate(arguments.get("name"))
            case "rollback":
                return RollBack(int(arguments["to"]), arguments["config_only"])
            case "pause" | "resume":
                return Pause(request.command == "pause")
            case "checkpoint":
                return Checkpoint()
            case "stop":
                return Stop()
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{request.command} cannot be understood: {error}") from error
    raise UsageError(f"a training cannot {request.command!r}")
