"""What a prior learns from: the codes of sounds in all their cuts and copies, as they lie in one file.

Every training sound is encoded as it is and in changed copies, and each of them from several first frames, so that the
borders of the columns lie elsewhere (its cuts); every held-out sound is encoded as it is. The first cut begins where
something is heard, so that a beginning always lies in the same place of its column. `codes_file` makes the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from distill.audio.knobs import KNOBS, knobs_of
from distill.audio.mel import MelTransform
from distill.audio.timbre import Timbre, timbre_of
from distill.configs import STRIDE
from distill.dataset.labels import learned
from distill.dataset.memory_mapped import MappedRows
from distill.dataset.store import PreparedDataset
from distill.evenly import evenly
from distill.models.conditions import Conditions
from distill.models.edges import HEARD_DB
from distill.models.grid import PIECE_COLUMNS
from distill.models.prior import IGNORED
from distill.models.sequences import Grid, Window, window_at, windows
from distill.training.encoding import Copier, Cut, CutBatch

# Columns that go through the encoder at once: it has memory for so much of short sounds together as of one long one.
BATCH_COLUMNS = 4 * PIECE_COLUMNS
# The conditions follow from the knobs of at most so many sounds.
MEASURED = 2048

Knobs = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Stretch:
    """Codes of a stretch of a sound `[columns, bands, levels]`, and whether it begins and ends where the sound does.

    `condition` is the vector of its sound, `[conditions]`; None: the prior has no conditions.
    """

    grid: Grid
    at_start: bool
    at_end: bool
    changed: bool
    condition: Vector | None = None

    def windows(self, columns: int) -> list[Window]:
        """Windows of at most so many columns in which each code of the stretch counts once."""
        return [self._within(window) for window in windows(self._shown, columns)]

    def window(self, first: int, columns: int) -> Window:
        """The window of at most so many columns that begins with a column."""
        return self._within(window_at(self._shown, first, columns))

    @property
    def _shown(self) -> Grid:
        """Where the sound goes on behind the stretch, its last column is only there to be predicted."""
        return self.grid if self.at_end or len(self.grid) == 1 else self.grid[:-1]

    def _within(self, window: Window) -> Window:
        if not self.at_start and window.at_start:
            window = replace(window, at_start=False, scored_from=max(1, window.scored_from))
        if not self.at_end and window.following is None:
            # Of a single column it is not known what follows.
            after = int(self.grid[-1, 0, 0]) if len(self.grid) > 1 else IGNORED
            window = replace(window, following=after)
        return replace(window, changed=self.changed, condition=self.condition)


class Sounds:
    """The sounds of a split, in all their cuts and copies, by their rows in the codes file.

    Args:
        dataset: where the sounds come from.
        split: `train` or `validation`.
        variants: also those at other speeds.
        cuts: ways to cut a sound into columns.
        copies: changed copies of each.
        seed: decides how they are changed.
    """

    def __init__(
        self, dataset: PreparedDataset, split: str, *, variants: bool, cuts: int, copies: int, seed: int
    ) -> None:
        self.dataset, self.cuts, self.copies = dataset, cuts, copies
        self.copier = Copier(dataset.spectrogram, seed, copies)
        self.rows = np.array(dataset.segments_of(split, variants=variants), dtype=np.int64)
        facts = dataset.segments.iloc[self.rows]
        self.frames = facts["frames"].to_numpy(np.int64)
        self.at_start, self.at_end = (facts[name].to_numpy(bool) for name in ("at_start", "at_end"))
        self.original = facts["semitones"].to_numpy() == 0
        labels = dataset.labels
        self.labels = [labels[row] for row in self.rows.tolist()]
        transform = MelTransform(dataset.spectrogram)
        each_sound = zip(self.rows.tolist(), self.frames.tolist(), strict=True)
        self.silence = np.array([_silent_frames(dataset, transform, *each) for each in each_sound])
        self.silence *= self.at_start
        cut_frames = np.arange(0, STRIDE, STRIDE // cuts)[:, None] + self.silence
        # What is shorter than a cut is taken whole.
        self.skipped = np.where(self.frames > cut_frames, cut_frames, self.silence)
        self.columns = -(-(self.frames - self.skipped) // STRIDE)
        # As many as a stretch shows.
        self.shown = np.where(self.at_end, self.columns, np.maximum(1, self.columns - 1))
        # In the file those of equal length lie together, as they are encoded together.
        order = np.lexsort((np.tile(self.rows, cuts), self.columns.ravel()))
        sizes = self.columns.ravel()[order] * (1 + copies)
        self._order, self._ends = order, np.cumsum(sizes)
        first = np.empty(len(order), np.int64)
        first[order] = self._ends - sizes
        self.first = first.reshape(self.columns.shape)
        self._knobs: dict[tuple[int, int], Knobs] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def total(self) -> int:
        """Rows of the codes file that they take."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def batches(self, done: int) -> Iterator[CutBatch]:
        """What is encoded together, in the order of the file, from the first that does not end in its first rows."""
        columns = self.columns.ravel()[self._order]
        begin = 0
        while begin < len(columns):
            most = max(1, BATCH_COLUMNS // (min(int(columns[begin]), PIECE_COLUMNS) * (1 + self.copies)))
            alike = np.searchsorted(columns, columns[begin], side="right")
            end = min(begin + most, int(alike))
            if int(self._ends[end - 1]) > done:
                cuts = [self._cut(*divmod(int(item), len(self.rows))) for item in self._order[begin:end]]
                yield CutBatch(self.dataset, cuts, int(columns[begin]))
            begin = end

    def knobs(self, position: int, cut: int) -> Knobs:
        """The knobs of a sound in a cut and of its copies, `[1 + copies, 6]`, measured when they are first needed.

        A knob says little of what is longer than a piece, which has none.
        """
        if (position, cut) not in self._knobs:
            frames = STRIDE * int(self.columns[cut, position])
            found = np.full((1 + self.copies, len(KNOBS)), np.nan, np.float32)
            if frames <= STRIDE * PIECE_COLUMNS:
                alone = CutBatch(self.dataset, [self._cut(cut, position)], frames // STRIDE)
                found[:] = [knobs_of(each, self.dataset.spectrogram) for each in alone.part(self.copier, 0, frames)]
            self._knobs[position, cut] = found
        return self._knobs[position, cut]

    def timbre(self, position: int) -> Timbre:
        """What a sound is like, as far as a piece of it tells."""
        row, first = int(self.rows[position]), int(self.skipped[0, position])
        log_mel = self.dataset.segment(row, first, first + STRIDE * PIECE_COLUMNS)
        return timbre_of(log_mel, self.dataset.spectrogram)

    def _cut(self, cut: int, position: int) -> Cut:
        """A sound in one of its cuts."""
        skipped = int(self.skipped[cut, position])
        return Cut(int(self.rows[position]), skipped, cut * (STRIDE // self.cuts))


def _silent_frames(dataset: PreparedDataset, transform: MelTransform, row: int, frames: int) -> int:
    """How many frames at the beginning of a sound nothing is heard in, but for the last of them; all in silence: 0."""
    for first in range(0, frames, STRIDE):
        power = transform.to_power(torch.from_numpy(dataset.segment(row, first, min(first + STRIDE, frames))))
        heard = torch.nonzero(power.amax(0) > 10.0 ** (HEARD_DB / 10.0))
        if len(heard):
            return max(0, first + int(heard[0]) - 1)
    return 0


class PriorCodes:
    """The codes of a dataset's training and held-out sounds, read from their file.

    Attributes:
        train: the training sounds.
        held_out: the held-out sounds.
        bands: rows of a code grid.
        conditions: those of a prior of them; None: none.
    """

    def __init__(self, train: Sounds, held_out: Sounds, rows: MappedRows, *, conditions: bool = False) -> None:
        self.train, self.held_out, self._rows = train, held_out, rows
        self.bands = int(rows.shape[1])
        self.conditions = self._conditions() if conditions else None

    def _conditions(self) -> Conditions | None:
        sounds = self.train
        clean = np.flatnonzero(sounds.original)
        known = learned([sounds.labels[position] for position in clean.tolist()])
        measured = clean[evenly(len(clean), MEASURED)].tolist()
        values = np.stack([sounds.knobs(position, 0)[0] for position in measured])
        timbres = np.stack([sounds.timbre(position) for position in measured])
        labels = [sounds.labels[position] for position in measured]
        here = [label for label in known if label in labels]
        found = Conditions.of(here, labels, dict(zip(KNOBS, values.T, strict=True)), timbres)
        return found if found.width else None

    def training(self, position: int, cut: int = 0, copy: int = 0) -> Stretch:
        """A training sound, by its place in `train`, in one of its cuts; copy 0 is the sound as it is."""
        return self._stretch(self.train, 0, position, cut, copy)

    def validation(self, position: int) -> Stretch:
        """A held-out sound, by its place in `held_out`."""
        return self._stretch(self.held_out, self.train.total, position, 0, 0)

    def grid(self, sounds: Sounds, position: int, cut: int = 0) -> Grid:
        """The codes `[columns, bands, levels]` of a sound of `train` or `held_out`, as it is, in one of its cuts."""
        before = 0 if sounds is self.train else self.train.total
        first = before + int(sounds.first[cut, position])
        return self._rows.part(first, first + int(sounds.columns[cut, position]))

    def _stretch(self, sounds: Sounds, before: int, position: int, cut: int, copy: int) -> Stretch:
        columns = int(sounds.columns[cut, position])
        first = before + int(sounds.first[cut, position]) + copy * columns
        begins = bool(sounds.at_start[position]) and sounds.skipped[cut, position] == sounds.silence[position]
        grid = self._rows.part(first, first + columns)
        condition = self._condition(position, cut, copy) if sounds is self.train else None
        return Stretch(grid, begins, bool(sounds.at_end[position]), bool(copy), condition)

    def _condition(self, position: int, cut: int, copy: int) -> Vector | None:
        """The vector of a training sound with its label and all its knobs."""
        if (conditions := self.conditions) is None:
            return None
        values = dict(zip(KNOBS, self.train.knobs(position, cut)[copy].tolist(), strict=True))
        label = self.train.labels[position]
        ranks = {name: conditions.rank(name, values[name]) for name in conditions.knobs}
        return conditions.vector(label if label in conditions.labels else None, ranks)
