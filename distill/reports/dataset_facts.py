"""All that is measured of the files of a dataset, for its report and for its comparison with another one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.audio.knobs import KNOBS, UNITS, knobs_of
from distill.audio.nearness import LogMel
from distill.audio.spool import Spool
from distill.audio.timbre import Timbre, timbre_of
from distill.dataset.excerpts import CONFIG, measured
from distill.dataset.labels import labels_of
from distill.dataset.overview import overview
from distill.dataset.scan import FileReport, scan
from distill.dataset.spread import reach
from distill.dataset.tempo import Tempo, tempos
from distill.dataset.walk import find_files
from distill.errors import DataError, UsageError
from distill.files import digest_file
from distill.memorization.near_duplicates import alike

Values = npt.NDArray[np.float64]

# What the distributions are of, each with its unit.
QUANTITIES = {"duration": "s", "loudness": "dB", **UNITS}


@dataclass(frozen=True)
class Pair:
    """Two files that sound nearly the same, and their distance."""

    first: str
    second: str
    distance: float


@dataclass(frozen=True)
class Facts:
    """A dataset.

    Attributes:
        name: what it is called.
        source: the folder, or one file.
        reports: of all files, in their order.
        labels: of the files; "" where one has none.
        knobs: of the usable files that could be measured, `[6]` by name; NaN for one that a sound has not.
        tempos: of those that are loops, by name.
        near: near duplicates, the nearest first; empty where they were not looked for.
        contents: what tells the content of each file apart: the digest of its samples, or else of its bytes.
    """

    name: str
    source: Path
    reports: tuple[FileReport, ...]
    labels: tuple[str, ...]
    knobs: dict[str, npt.NDArray[np.float32]]
    tempos: dict[str, Tempo]
    near: tuple[Pair, ...]
    contents: tuple[str, ...]

    @property
    def usable(self) -> list[FileReport]:
        """The reports of the files that are trained on."""
        return [report for report in self.reports if report.usable]

    def quantities(self) -> dict[str, Values]:
        """The values `[n]` of QUANTITIES, of the usable files that have one."""
        knobs = np.array(list(self.knobs.values()), np.float64).reshape(-1, len(KNOBS))
        return {
            "duration": np.array([report.seconds for report in self.usable]),
            "loudness": np.array([report.loudness_db for report in self.usable]),
            **{name: knobs[np.isfinite(knobs[:, at]), at] for at, name in enumerate(KNOBS)},
        }

    def document(self) -> dict[str, Any]:
        """The same as dicts and lists, with the fields of `distill dataset check --json`."""
        values = self.quantities()
        return {
            **overview(self.name, list(self.reports), self.labels),
            "reports": [asdict(report) for report in self.reports],
            "knobs": {name: reach(values[name]) for name in KNOBS if len(values[name])},
            **({"tempo": {name: vars(tempo) for name, tempo in self.tempos.items()}} if self.tempos else {}),
            "near_duplicates": [asdict(pair) for pair in self.near],
        }


def facts_of(source: Path, name: str, *, near: bool) -> Facts:
    """Measure a folder of sounds, or one sound.

    Its sounds are read one after the other; their log mels wait on disk for the search for near duplicates.

    Args:
        source: the folder or the file.
        name: what it is called.
        near: whether near duplicates are looked for.

    Raises:
        DataError: there is no such folder, no usable sound in it, or its table of labels is wrong.
    """
    reports = scan(source)
    if not any(report.usable for report in reports):
        raise DataError(f"{name}: no usable sound (distill dataset check says why)")
    labels = labels_of(source, [report.path for report in reports])
    knobs: dict[str, npt.NDArray[np.float32]] = {}
    timbres: list[Timbre] = []
    with Spool(np.float16) as frames:
        ends = [0]
        for each in measured(source, reports):
            log_mel = each.log_mel.astype(np.float32)
            knobs[each.name] = knobs_of(log_mel, CONFIG)
            if near:
                timbres.append(timbre_of(log_mel, CONFIG))
                frames.add(each.log_mel.T)
                ends.append(len(frames))
        names = list(knobs)

        def read(number: int) -> LogMel:
            rows = list(frames.blocks(ends[number], ends[number + 1]))
            return np.concatenate(rows).T.astype(np.float32)

        pairs = [
            Pair(names[each.first], names[each.second], round(each.distance, 4))
            for each in alike(timbres, read, CONFIG)
        ]
    return Facts(
        name=name,
        source=source,
        reports=tuple(reports),
        labels=tuple(labels),
        knobs=knobs,
        tempos=tempos(reports),
        near=tuple(pairs),
        contents=tuple(_contents(source, reports)),
    )


def require_page(output: Path) -> None:
    """Make sure, before any work, that a page can be written.

    Raises:
        UsageError: its folder is not there, it is a folder itself, or its name is not that of a page.
    """
    if output.is_dir():
        raise UsageError(f"{output} is a folder: name a file in it, such as {output / 'page.html'}")
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{output}: the file name must end in .html")
    if not output.parent.is_dir():
        raise UsageError(f"{output}: there is no folder {output.parent}; make it first")


def _contents(source: Path, reports: Sequence[FileReport]) -> list[str]:
    paths = {found.name: found for found in find_files(source)}
    contents = []
    for report in reports:
        found = paths.get(report.path)
        readable = found is not None and not found.problem and found.path.is_file()
        contents.append(report.content or (f"bytes {digest_file(found.path)}" if found and readable else ""))
    return contents
