"""What goes into a benchmark and comes out of it: options, folders of sounds, the machine, tables."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distill.training.runtime import native_bf16

import torch


def parser(description: str | None, *, rounds: int | None = None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if rounds is not None:
        made.add_argument("--rounds", type=int, default=rounds, help="turns of each thing that is timed")
    made.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of torch")
    made.add_argument("--quick", action="store_true", help="as little as shows that it works; the figures mean nothing")
    made.add_argument("--json", action="store_true", help="print everything as one JSON document")
    return made


def sounds(name: str = "") -> Path:
    """A folder of real sounds below the one that DISTILL_TEST_AUDIO names."""
    root = os.environ.get("DISTILL_TEST_AUDIO")
    if not root:
        sys.exit("set DISTILL_TEST_AUDIO to a folder with folders of sounds (kit, mixed, ...)")
    folder = Path(root) / name
    if not folder.is_dir():
        sys.exit(f"{folder}: no such folder of sounds")
    return folder.resolve()


class Report:
    """A benchmark's result: the machine, a table, and the values behind it."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._as_json = bool(args.json)
        self._cpu = _cpu_times()
        self._load = os.getloadavg()[0]
        self._facts = {
            "processor": torch.backends.cpu.get_cpu_capability(),
            "native_bf16": native_bf16("cpu"),
            "cores": len(os.sched_getaffinity(0)),
            "threads": args.threads,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }

    def show(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], **values: Any) -> None:
        """Write the table, or with --json the rows and values."""
        spent = [after - before for after, before in zip(_cpu_times(), self._cpu, strict=True)]
        stolen = spent[7] / max(1, sum(spent[:8])) if len(spent) > 7 else 0.0
        machine = {**self._facts, "load_before": self._load, "stolen": round(stolen, 3)}
        if self._as_json:
            table = [dict(zip(columns, row, strict=True)) for row in rows]
            sys.stdout.write(json.dumps({"machine": machine, "rows": table, **values}, indent=1) + "\n")
            return
        sys.stdout.write(", ".join(f"{name} {value}" for name, value in machine.items()) + "\n\n")
        text = [list(columns), *([_figure(cell) for cell in row] for row in rows)]
        widths = [max(len(line[index]) for line in text) for index in range(len(columns))]
        for line in text:
            cells = [cell.rjust(width) if index else cell.ljust(width) for index, (cell, width) in _cells(line, widths)]
            sys.stdout.write("  ".join(cells).rstrip() + "\n")
        for name, value in values.items():
            sys.stdout.write(f"\n{name}: {json.dumps(value)}")
        sys.stdout.write("\n")


def _cells(line: list[str], widths: list[int]) -> Iterator[tuple[int, tuple[str, int]]]:
    return iter(enumerate(zip(line, widths, strict=True)))


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def _cpu_times() -> list[int]:
    """The machine's processor times so far: user, nice, system, idle, iowait, irq, softirq, stolen, ..."""
    path = Path("/proc/stat")
    return [int(field) for field in path.read_text().split("\n", 1)[0].split()[1:]] if path.exists() else []
