"""What kind of sound each file is: as its owner sorted it into folders, or as a table beside the sounds says."""

import csv
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from distill.errors import DataError

TABLE = "labels.csv"
COLUMNS = ["path", "label"]
# A label of fewer sounds teaches nothing, and a longer list of labels is of no use.
LEAST_SOUNDS, MOST_LABELS = 3, 32
LONGEST = 40


def labels_of(source: Path, names: Sequence[str]) -> list[str]:
    """The label of each file by its name below a source; "" where it has none.

    It is the first folder below the source, or what `labels.csv` there says, of which files may be missing.

    Raises:
        DataError: the table cannot be read, has other columns, names a file that is not there, or one twice.
    """
    table = source / TABLE
    if not table.is_file():
        return [folder_label(name) for name in names]
    known = set(names)
    found: dict[str, str] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as handle:
            rows = csv.reader(handle)
            columns = next(rows, [])
            if columns != COLUMNS:
                raise DataError(f"{table}: its columns must be {', '.join(COLUMNS)}, not {', '.join(columns)}")
            for row in rows:
                if not row:
                    continue
                if len(row) != len(COLUMNS):
                    raise DataError(
                        f"{table}, line {rows.line_num}: expected a path and a label, not {len(row)} fields"
                    )
                # As names of files are read: an accent is part of its letter.
                name, label = (unicodedata.normalize("NFC", text) for text in row)
                if name not in known:
                    raise DataError(f"{table}, line {rows.line_num}: there is no file {name} in {source}")
                if name in found:
                    raise DataError(f"{table}, line {rows.line_num}: {name} is there twice; a sound has one label")
                found[name] = label.strip()
                if len(found[name]) > LONGEST or not found[name].isprintable():
                    said = f"a label has at most {LONGEST} characters, all printable"
                    raise DataError(f"{table}, line {rows.line_num}: {said}, not {label[:LONGEST]!r}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a table in UTF-8: {error}") from error
    return [found.get(name, "") for name in names]


def folder_label(name: str) -> str:
    """The first folder in a file's name below its source; "" where there is none.

    >>> folder_label("kicks/deep/one.wav"), folder_label("one.wav")
    ('kicks', '')
    """
    return name.split("/")[0] if "/" in name else ""


def learned(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels that tell sounds apart, in the order of their names: those of enough sounds, the most frequent ones.

    >>> learned(["kick"] * 3 + ["snare"] * 4 + ["cowbell", ""])
    ('kick', 'snare')
    >>> learned(["kick"] * 3)
    ()
    """
    counts = Counter(label for label in labels if label)
    enough = [label for label, count in counts.most_common() if count >= LEAST_SOUNDS][:MOST_LABELS]
    # One that every sound has says nothing.
    return tuple(sorted(enough)) if any(counts[label] < len(labels) for label in enough) else ()
