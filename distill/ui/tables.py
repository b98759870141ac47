"""Tables as HTML, for values that are only read."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], caption: str) -> str:
    """A table with a caption for those who cannot see it; every cell is escaped."""
    cells = "".join(f"<th scope='col'>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell(each))}</td>' for each in row)}</tr>" for row in rows)
    return (
        f"<div class='d-scroll'><table class='d-table'><caption class='d-hidden'>{escape(caption)}</caption>"
        f"<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def cell(value: Any) -> str:
    """A value as people read it.

    >>> cell(0.00051234567), cell(None), cell({"decay": (0.9, 0.5)}), cell(True)
    ('0.00051235', '', 'decay 0.9 → 0.5', 'yes')
    """
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.5g}"
        case dict():
            return ", ".join(f"{key} {cell(old)} → {cell(new)}" for key, (old, new) in value.items())
    return str(value)
