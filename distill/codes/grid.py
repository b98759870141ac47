"""A sound as a grid of codes, with all that is needed to make sense of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.errors import ArtifactError, DataError, UsageError

Codes = npt.NDArray[np.int64]

# Nearly five hours at 48 kHz: what is longer was not meant.
MAX_COLUMNS = 100_000


@dataclass(frozen=True)
class ModelIdentity:
    """The model that codes belong to.

    Attributes:
        name: what it is called.
        digest: digest of all its weights, as `distill model info` shows it.
        codec_digest: digest of what gives codes their meaning: the VQ-VAE's weights and the spectrogram's settings.
            A prior that is trained anew changes `digest` alone.
    """

    name: str
    digest: str
    codec_digest: str

    def require(self, other: "ModelIdentity", what: str) -> None:
        """Check that `what` belongs to a model with the same codes.

        Raises:
            ArtifactError: it belongs to another, whose digest the message names beside this one's.
        """
        if other.codec_digest != self.codec_digest:
            raise ArtifactError(
                f"{what} belongs to the model {other.name} (weights {other.digest}) and not to {self.name} "
                f"(weights {self.digest}): use the model that it was made with, or encode the sound anew"
            )


@dataclass(frozen=True)
class Source:
    """The sound that was encoded: its name, its duration in s, and the gain in dB to what its codes decode to."""

    name: str
    seconds: float
    gain_db: float


@dataclass(frozen=True, eq=False)
class CodeGrid:
    """A code grid; it never changes, edits make new ones.

    Attributes:
        codes: int64 `[columns, bands, levels]`, read-only.
        model: the model that they belong to.
        codebook_size: codes in each level's codebook; codes are below it.
        labels: what each level is called, the coarsest first.
        seconds_per_column: from one column to the next, in s.
        bands_hz: lowest and highest frequency of each band, in Hz.
        source: the sound that was encoded; None: the codes were not made from one.
        frozen: levels that edits leave as they are, from 0, ascending.

    Raises:
        DataError: the codes are no grid of codes of such a codebook, or the other values do not go with them.
    """

    codes: Codes
    model: ModelIdentity
    codebook_size: int
    labels: tuple[str, ...]
    seconds_per_column: float
    bands_hz: tuple[tuple[float, float], ...]
    source: Source | None = None
    frozen: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        codes = np.asarray(self.codes)
        if codes.ndim != 3 or not all(codes.shape) or codes.dtype.kind not in "iu":
            raise DataError(f"codes of shape {list(codes.shape)} are no grid of whole numbers [time, band, level]")
        columns, bands, levels = codes.shape
        if columns > MAX_COLUMNS:
            raise DataError(f"a grid of {columns} columns is too long: at most {MAX_COLUMNS} are possible")
        if bands != len(self.bands_hz) or levels != len(self.labels):
            raise DataError(
                f"a grid of {bands} bands and {levels} levels does not go with {len(self.bands_hz)} bands and the "
                f"levels {', '.join(self.labels)}"
            )
        if codes.min() < 0 or codes.max() >= self.codebook_size:
            raise DataError(
                f"the grid holds codes from {codes.min()} to {codes.max()}; the codebook has 0 to "
                f"{self.codebook_size - 1}"
            )
        if len({label.casefold() for label in self.labels}) < levels:
            raise DataError(f"each level needs a label of its own, not {', '.join(self.labels)}")
        if any(not 0 <= level < levels for level in self.frozen):
            raise DataError(f"frozen levels {list(self.frozen)} are not among the levels 0 to {levels - 1}")
        own = np.array(codes, dtype=np.int64)
        own.setflags(write=False)
        object.__setattr__(self, "codes", own)

    def __len__(self) -> int:
        return len(self.codes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CodeGrid):
            return NotImplemented
        return np.array_equal(self.codes, other.codes) and self._about() == other._about()

    def __hash__(self) -> int:
        return hash((self.codes.tobytes(), self._about()))

    @property
    def bands(self) -> int:
        """Rows of each level."""
        return self.codes.shape[1]

    @property
    def levels(self) -> int:
        """Codes at a position."""
        return self.codes.shape[2]

    @property
    def seconds(self) -> float:
        """Duration of all columns, in s."""
        return len(self) * self.seconds_per_column

    def require_alike(self, other: "CodeGrid") -> None:
        """Require that another grid can be compared with this one, or edited with it.

        Raises:
            ArtifactError: they belong to different models.
            UsageError: the other has other bands or levels.
        """
        self.model.require(other.model, "the other grid")
        if (self.bands, self.levels) != (other.bands, other.levels):
            raise UsageError(
                f"the other grid has {other.bands} bands and {other.levels} levels, not {self.bands} and {self.levels}"
            )

    def with_codes(self, codes: Codes) -> "CodeGrid":
        """The same with other codes `[columns, bands, levels]`.

        Raises:
            DataError: they do not fit.
        """
        return replace(self, codes=codes)

    def _about(self) -> tuple[Any, ...]:
        return (
            self.model,
            self.codebook_size,
            self.labels,
            self.seconds_per_column,
            self.bands_hz,
            self.source,
            self.frozen,
        )


def listed(labels: Sequence[str], levels: Sequence[int]) -> str:
    """The labels of some levels in a row.

    >>> listed(("Structure", "Detail"), [1, 0])
    'Detail, Structure'
    """
    return ", ".join(labels[level] for level in levels)
