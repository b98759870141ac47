"""The conditions of a prior: labels, and knobs by their rank among the training sounds."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from distill.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# What a rank means to the prior is linear between so many points from 0 to 1: few sounds tell no more.
KNOTS = 5
# A knob is known by so many quantiles of the training's sounds, and by no fewer sounds than it has knots.
QUANTILES = 17
# Column by column a sound dies away too soon, unless its length is set from the start.
DRAWN = ("length",)
# Within labels timbres differ by so much at least, in dB.
LEAST_SPREAD = 3.0

Vector: TypeAlias = "npt.NDArray[np.float32]"
Curve: TypeAlias = "tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]"


class Conditions(BaseModel):
    """The labels that the training's sounds had, and how each knob lay among them.

    Attributes:
        labels: in the order that the prior knows them by.
        knobs: by name, quantiles of the training's sounds, ascending, evenly from the least to the greatest.
        centres: for each label the mean timbre of its sounds (see `distill.audio.timbre`).
        spreads: the standard deviation of each number of a timbre within the labels.
        drawn: knobs that an unconditioned new sound draws for itself, so that they lie among the new sounds
            as they do among the training's.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    labels: tuple[str, ...] = Field((), max_length=64)
    knobs: dict[str, tuple[float, ...]] = {}
    centres: tuple[tuple[float, ...], ...] = ()
    spreads: tuple[PositiveFloat, ...] = ()
    drawn: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _ascending(self) -> "Conditions":
        for name, quantiles in self.knobs.items():
            rises = all(low <= high for low, high in pairwise(quantiles))
            if len(quantiles) < 2 or not rises or quantiles[0] == quantiles[-1]:
                raise ValueError(f"the quantiles of {name} must ascend")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("a label is there twice")
        if len(self.centres) != len(self.labels) or any(len(each) != len(self.spreads) for each in self.centres):
            raise ValueError("each label needs a centre, and each number of a centre a spread")
        if not set(self.drawn) <= self.knobs.keys():
            raise ValueError("only what is a knob can be drawn")
        return self

    @classmethod
    def of(
        cls,
        learned: Sequence[str],
        labels: Sequence[str],
        knobs: "Mapping[str, npt.NDArray[np.floating]]",
        timbres: "npt.NDArray[np.float64]",
    ) -> "Conditions":
        """The conditions that some sounds teach.

        A knob that too few sounds have, or that is the same for the middle half of them, is left out: it
        tells little apart.

        Args:
            learned: the labels to learn.
            labels: of each sound.
            knobs: by name the value of each sound, NaN where it has none.
            timbres: of each sound, `[sounds, numbers]`.
        """
        # Lists of models read conditions without loading numpy.
        import numpy as np

        of_label = [timbres[[label == each for label in labels]] for each in learned]
        centres = [each.mean(0) for each in of_label]
        within = [each - centre for each, centre in zip(of_label, centres, strict=True)]
        spreads = np.sqrt((np.concatenate(within) ** 2).mean(0) + LEAST_SPREAD**2) if within else np.zeros(0)
        known = {name: values[np.isfinite(values)] for name, values in knobs.items()}
        at = np.linspace(0.0, 1.0, QUANTILES)
        quantiles = {
            name: tuple(np.quantile(values.astype(np.float64), at).tolist())
            for name, values in known.items()
            if len(values) >= KNOTS and np.quantile(values, 0.25) < np.quantile(values, 0.75)
        }
        return cls(
            labels=tuple(learned),
            knobs=quantiles,
            centres=tuple(tuple(centre.tolist()) for centre in centres),
            spreads=tuple(spreads.tolist()),
            drawn=tuple(name for name in DRAWN if name in quantiles),
        )

    @property
    def names(self) -> list[str]:
        """The knobs in the order in which they stand in a vector, whatever the order in a file."""
        return sorted(self.knobs)

    @property
    def width(self) -> int:
        """Length of a vector."""
        return len(self.labels) + KNOTS * len(self.knobs)

    @property
    def parts(self) -> list[slice]:
        """Where in a vector the labels stand, then each of `names`."""
        first = len(self.labels)
        return [slice(0, first), *(slice(at, at + KNOTS) for at in range(first, self.width, KNOTS))]

    def distances(self, timbre: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
        """How far a sound is from the centre of each label, in spreads, `[labels]`."""
        import numpy as np

        away = (np.array(self.centres) - timbre) / np.array(self.spreads)
        found: npt.NDArray[np.float64] = np.sqrt((away**2).mean(1))
        return found

    def label_of(self, timbre: "npt.NDArray[np.float64]") -> str:
        """The label whose centre is nearest; only where there are labels."""
        return self.labels[int(self.distances(timbre).argmin())]

    def rank(self, name: str, value: float) -> float:
        """How a value lies among the training's, from 0 to 1, in the middle of those that have it; NaN stays."""
        import numpy as np

        rising, falling = _curves(self.knobs[name])
        return float(0.5 * (np.interp(value, *rising) - np.interp(-value, *falling)))

    def value(self, name: str, rank: float) -> float:
        """The value that has a rank."""
        import numpy as np

        (quantiles, at), _ = _curves(self.knobs[name])
        return float(np.interp(rank, at, quantiles))

    def vector(self, label: str | None, ranks: Mapping[str, float]) -> Vector:
        """The vector that conditions the prior, `[width]`: 0 for whatever is not given, or a rank that is NaN.

        Raises:
            UsageError: a label or a knob is not known here, or a rank is not from 0 to 1.
        """
        import numpy as np

        found = np.zeros(self.width, np.float32)
        if label is not None:
            if label not in self.labels:
                raise UsageError(f"there is no label {label}; {self._known('labels', self.labels)}")
            found[self.labels.index(label)] = 1.0
        names = self.names
        for name, rank in ranks.items():
            if name not in self.knobs:
                raise UsageError(f"there is no knob {name}; {self._known('knobs', names)}")
            if rank != rank:
                continue
            if not 0.0 <= rank <= 1.0:
                raise UsageError(f"{name} must lie between 0 and 1, not {rank:g}")
            # A value that many sounds have has one rank.
            place, share = divmod(self.rank(name, self.value(name, rank)) * (KNOTS - 1), 1.0)
            part = found[self.parts[1 + names.index(name)]]
            part[int(place)] += 1.0 - share
            if share:
                part[int(place) + 1] += share
        return found

    def drawn_vector(self, seed: int) -> Vector:
        """The vector of an unconditioned new sound, `[width]`: its `drawn` knobs at ranks that follow from its seed."""
        import numpy as np

        # Its codes are drawn from the same seed, by other numbers.
        generator = np.random.Generator(np.random.Philox(seed).jumped())
        return self.vector(None, dict(zip(self.drawn, generator.random(len(self.drawn)).tolist(), strict=True)))

    @staticmethod
    def _known(what: str, names: Sequence[str]) -> str:
        return f"the model's {what}: {', '.join(names)}" if names else f"the model knows no {what}"


@lru_cache(maxsize=256)
def _curves(values: tuple[float, ...]) -> "tuple[Curve, Curve]":
    """Quantiles and their ranks as they rise, and the negatives of both, which rise from the other end."""
    import numpy as np

    quantiles, at = np.array(values), np.linspace(0.0, 1.0, len(values))
    return (quantiles, at), (-quantiles[::-1], -at[::-1])
