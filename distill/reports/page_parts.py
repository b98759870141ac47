"""Parts of the pages about datasets: histograms, waveforms and tables as HTML without anything from elsewhere."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template

import numpy as np
import numpy.typing as npt

from distill.dataset.spread import reach
from distill.words import visible

_FRAME = Path(__file__).with_name("dataset_page.html")
# The one player of a page: a button plays its sound and ends the one before.
_PLAYER = """
let sound = null, pressed = null;
function rest() { if (sound) { sound.pause(); pressed.textContent = "play"; } sound = null; }
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-sound]");
  if (!button) return;
  const again = sound && pressed === button;
  rest();
  if (again) return;
  pressed = button;
  sound = new Audio(button.dataset.sound);
  button.textContent = "stop";
  sound.onended = rest;
  sound.play().catch((error) => {
    if (error.name !== "AbortError") { button.textContent = "no sound"; button.title = error.message; sound = null; }
  });
});
"""
# Of a histogram: bars, and the picture's size.
_BINS, _WIDTH, _HEIGHT = 24, 240, 56
# Ratios count where these are measured, differences elsewhere.
_RATIO_UNITS = ("s", "Hz")

Values = npt.NDArray[np.float64]


def page(title: str, body: Iterable[str]) -> bytes:
    """A whole page around its parts; only the one script that belongs to it is allowed to run."""
    digest = b64encode(sha256(_PLAYER.encode()).digest()).decode()
    text = Template(_FRAME.read_text(encoding="utf-8")).substitute(
        title=escape(title), body="\n".join(body), script=_PLAYER, script_hash=f"sha256-{digest}"
    )
    return text.encode("utf-8", "backslashreplace")


def name_of(name: str) -> str:
    """A name as text that changes nothing around it: no markup, its own direction, escapes for what cannot be seen."""
    return f"<bdi>{escape(visible(name))}</bdi>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], kinds: str = "") -> str:
    """A table of cells that are HTML already; where the page is narrow, rows of files flow over several lines.

    Args:
        columns: heads, as text.
        rows: the cells.
        kinds: a letter for each column: n for numbers, f for names of files, r for reasons, anything else for others.
    """
    css = {"n": ' class="n"', "f": ' class="name"', "r": ' class="reason"'}
    of = [css.get(kind, "") for kind in kinds.ljust(len(columns))]
    # Without its head a number needs its unit.
    units = [f' data-unit="{escape(head)}"' if kind == css["n"] else "" for head, kind in zip(columns, of, strict=True)]
    head = "".join(f"<th{each}>{escape(column)}</th>" for each, column in zip(of, columns, strict=True))
    starts = [f"<td{kind}{unit}>" for kind, unit in zip(of, units, strict=True)]
    cells = ("".join(f"{start}{cell}</td>" for start, cell in zip(starts, row, strict=True)) for row in rows)
    lines = "\n".join(f"<tr>{each}</tr>" for each in ([head] if any(columns) else []) + list(cells))
    flow = ' class="flow"' if "f" in kinds else ""
    return f'<div class="wide"><table{flow}>\n{lines}\n</table></div>'


def label_bars(counts: Mapping[str, tuple[int, ...]]) -> str:
    """A table of labels with one number of sounds, or two, and a bar for each."""
    most = max(max(each) for each in counts.values())
    rows = []
    for label, numbers in counts.items():
        cells = "".join(f'<td class="n">{number}</td>' for number in numbers)
        bars = "".join(
            f'<span class="bar{" second" if place else ""}" style="width: {100 * number / most:.1f}%"></span>'
            for place, number in enumerate(numbers)
            if number
        )
        rows.append(f"<tr><td>{name_of(label)}</td>{cells}<td>{bars}</td></tr>")
    return '<div class="wide"><table class="bars">\n' + "\n".join(rows) + "\n</table></div>"


def histogram(name: str, unit: str, *groups: Values, note: str = "") -> str:
    """A figure of one or two groups of values on the same axis: the share of each group by bins, medians as lines.

    Args:
        name: what is measured.
        unit: of the values; seconds and Hz lie on a logarithmic axis.
        groups: values `[n]`; a group may be empty.
        note: HTML below.
    """
    every = np.concatenate(groups)
    counted = " and ".join(str(len(group)) for group in groups)
    caption = f"<figcaption><b>{escape(name.capitalize())}</b>{f', {unit}' if unit else ''} · {counted}</figcaption>"
    if not len(every):
        return f'<figure>{caption}<p class="quiet">No sound has it.</p></figure>'
    ratio = unit in _RATIO_UNITS and float(every.min()) > 0
    low, high = float(every.min()), float(every.max())
    if low == high:
        low, high = (low / 1.2, high * 1.2) if ratio else (low - 1, high + 1)
    edges = np.geomspace(low, high, _BINS + 1) if ratio else np.linspace(low, high, _BINS + 1)
    scale = np.log if ratio else np.positive
    shown = [group for group in groups if len(group)]
    inner = edges[1:-1]
    counts = [np.bincount(np.searchsorted(inner, group, "right"), minlength=_BINS) for group in groups]
    most = max(float((count / max(1, len(group))).max()) for count, group in zip(counts, groups, strict=True))
    step = _WIDTH / _BINS
    width = (step - 1) / len(groups)
    marks = []
    for place, (count, group) in enumerate(zip(counts, groups, strict=True)):
        for index in np.flatnonzero(count).tolist():
            height = max(1.5, _HEIGHT * int(count[index]) / max(1, len(group)) / most)
            words = f"{count[index]}: {number(edges[index])} to {number(edges[index + 1])} {unit}".rstrip()
            marks.append(
                f'<rect class="{"ab"[place]}" x="{index * step + 0.5 + place * width:.2f}" y="{_HEIGHT - height:.1f}" '
                f'width="{width:.2f}" height="{height:.1f}"><title>{escape(words)}</title></rect>'
            )
    for place, group in enumerate(groups):
        if len(group):
            at = _WIDTH * float((scale(np.median(group)) - scale(low)) / (scale(high) - scale(low)))
            kind = "m two" if place else "m"
            marks.append(f'<line class="{kind}" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{_HEIGHT}" stroke-width="1.5"/>')
    reaches = "".join(
        f'<div class="reach">{key}{"".join(f"<span>{number(value)}</span>" for value in reach(group))}</div>'
        for group, key in zip(groups, _keys(len(groups)), strict=True)
        if len(group)
    )
    words = "; ".join("least {:.4g}, median {:.4g}, greatest {:.4g}".format(*reach(group)) for group in shown)
    return (
        f'<figure>{caption}<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 1}" role="img" aria-label="{escape(name)}: {words}">'
        f"{''.join(marks)}"
        f'<line class="x" x1="0" x2="{_WIDTH}" y1="{_HEIGHT + 0.5}" y2="{_HEIGHT + 0.5}"/></svg>'
        f"{reaches}{note}</figure>"
    )


def waveform(peaks: Sequence[int]) -> str:
    """The thumbnail of a sound from the peaks of equal stretches, each 0 to 100."""
    if not peaks:
        return ""
    marks = (f"M{place}.5 {20 - max(peak, 2) / 5:g}v{2 * max(peak, 2) / 5:g}" for place, peak in enumerate(peaks))
    size = f'width="{2 * len(peaks)}" height="28" viewBox="0 0 {len(peaks)} 40" preserveAspectRatio="none"'
    return f'<svg {size} aria-hidden="true"><path class="w" d="{"".join(marks)}"/></svg>'


def number(value: float) -> str:
    """A figure for people, to three digits and four decimals.

    >>> number(12345.678), number(0.012345), number(-6.02), number(-1e-7)
    ('12300', '0.0123', '-6.02', '0')
    """
    return f"{round(float(f'{value:.3g}'), 4) + 0.0:g}"


def _keys(groups: int) -> Sequence[str]:
    return ("",) if groups == 1 else ('<span class="key"></span>', '<span class="key second"></span>')
