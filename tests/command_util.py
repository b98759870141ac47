"""The `distill` command run within the process of the tests."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from distill.cli.main import app, main


def run_command(*arguments: str) -> Any:
    """The JSON that a command below `distill run` answers with."""
    result = CliRunner().invoke(app, ["run", *arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class Ended:
    """What a command said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, " ".join(err.split())
        self.complaints = err.strip().splitlines()

    @property
    def paths(self) -> list[Path]:
        return [Path(line) for line in self.out.splitlines()]


class Command:
    """The command `distill`, whose exit code and output are looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capfd = monkeypatch, capfd

    def __call__(self, *arguments: str, code: int = 0) -> Ended:
        self.monkeypatch.setattr(sys, "argv", ["distill", *arguments])
        try:
            main()
            ended = 0
        except SystemExit as exited:
            ended = int(exited.code or 0)
        shown = self.capfd.readouterr()
        assert ended == code, shown.err
        assert "Traceback" not in shown.err
        return Ended(ended, shown.out, shown.err)
