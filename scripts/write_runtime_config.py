"""Write the tables of docs/reference/runtime-config.md from the parameters that a running training knows."""

import re
from pathlib import Path

from distill.configs import PriorConfig, VQVAEConfig
from distill.files import write_bytes
from distill.live.parameters import Kind, Parameter, everything, parameters

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference" / "runtime-config.md"
BEGIN, END = "<!-- tables: scripts/write_runtime_config.py -->", "<!-- end of tables -->"


def with_tables(text: str) -> str:
    """The page with current tables."""
    return re.sub(f"{BEGIN}.*{END}", lambda _match: f"{BEGIN}\n{_tables()}\n{END}", text, flags=re.DOTALL)


def _tables() -> str:
    parts = []
    for kind in (Kind.SAFE, Kind.CAREFUL):
        rows = [each for each in everything().values() if each.kind is kind]
        lines = ["| key | range | unit | model | meaning |", "|---|---|---|---|---|"]
        lines += [f"| `{each.name}` | {each.span} | {each.unit} | {_of(each)} | {each.description} |" for each in rows]
        parts.append(f"### {kind}\n\n" + "\n".join(lines) + "\n")
    lines = ["| key | model | why not |", "|---|---|---|"]
    at_start = [each for each in everything().values() if each.kind is Kind.STARTUP_ONLY]
    lines += [f"| `{each.name}` | {_of(each)} | {each.reason} |" for each in at_start]
    return "\n".join([*parts, f"### {Kind.STARTUP_ONLY}\n\n" + "\n".join(lines) + "\n"])


def _of(each: Parameter) -> str:
    of = [name for name, config in (("VQ-VAE", VQVAEConfig), ("prior", PriorConfig)) if each.name in parameters(config)]
    return "both" if len(of) == 2 else of[0]


if __name__ == "__main__":
    write_bytes(TARGET, with_tables(TARGET.read_text(encoding="utf-8")).encode())
