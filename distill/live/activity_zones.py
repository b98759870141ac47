"""What the activity of a network's blocks means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Zone = Literal["green", "yellow", "orange", "red"]

# The mean absolute activation up to which a zone goes; the scale ends where red does.
ZONES: tuple[tuple[Zone, float], ...] = (("green", 0.5), ("yellow", 1.0), ("orange", 1.5), ("red", 2.0))
HIGH, VERY_HIGH = 1.5, 2.0


@dataclass(frozen=True)
class Peak:
    """The block with the highest mean absolute activation; `warning` is empty below 1.5."""

    block: str
    value: float
    zone: Zone
    warning: str


def peak_of(blocks: Mapping[str, float | None]) -> Peak | None:
    """The most active block; None where nothing was measured.

    >>> peak_of({"encoder.0": 0.3, "decoder.1": 1.2})
    Peak(block='decoder.1', value=1.2, zone='orange', warning='')
    """
    measured = {name: value for name, value in blocks.items() if value is not None}
    if not measured:
        return None
    block = max(measured, key=lambda name: measured[name])
    value = measured[block]
    warning = ""
    if value > VERY_HIGH:
        warning = f"{block} is far too active: the training is about to run away. Lower max_lr, or roll back."
    elif value > HIGH:
        warning = f"{block} is very active: watch the loss, and lower max_lr if it rises."
    return Peak(block, value, next((zone for zone, most in ZONES if value <= most), "red"), warning)
