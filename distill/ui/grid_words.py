"""The edited grid and its history in words, as HTML."""

from html import escape

from distill.ui.desk import Desk
from distill.words import counted


def words_of(desk: Desk) -> str:
    """What the grid is: its name, its size, and how many edits are done."""
    sheet = desk.sheet()
    grid, history = sheet.work.grid, sheet.work.history
    count = len(history.edits)
    done = counted(count, "edit") if history.position == count else f"{history.position} of {count} edits"
    edits = f"{done} done" if count else "no edits yet"
    time = f"{len(grid)} columns of {1000 * grid.seconds_per_column:.0f} ms"
    codes = f"{grid.bands} bands, {grid.levels} levels of {grid.codebook_size} codes"
    return f"<p><b>{escape(sheet.name)}</b>: {time}, {codes}; {edits}.</p>"


def history_of(desk: Desk | None) -> str:
    """The edits in their order, those that are undone marked."""
    if desk is None or "mine" not in desk.sheets or not desk.sheet().work.words:
        return '<p class="d-hint">Nothing yet.</p>'
    work = desk.sheet().work
    lines = (
        f"<li{'' if number < work.history.position else ' class=undone'}>{escape(words)}</li>"
        for number, words in enumerate(work.words)
    )
    return f'<ol class="d-done">{"".join(lines)}</ol>'
