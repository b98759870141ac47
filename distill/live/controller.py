"""Watching a training for plateaus, and what may be done about one: a pure function of state and measurement.

A measurement is one evaluation. Losses and qualities are better when lower.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from distill.configs import LiveConfig

# Weight of the newest measurement in the exponential means.
ALPHA = 0.1

# Improvement that is asked for, by how much of its first value the loss still has (up to which share).
THRESHOLDS = ((0.25, 0.002), (0.5, 0.003), (0.75, 0.004), (math.inf, 0.005))
# The smoothed loss is near the best one up to this ratio; then the least improvement counts.
NEAR_BEST, NEAR_BEST_THRESHOLD = 1.02, 0.001

# Below this share of the true energy in the upper half of the mel bins, held-out sounds count as dull.
DULL = 0.9
MOST_SHIFT = 0.01
SHARPENING, BLURRING = ("weight_full", "weight_l1"), ("weight_quarter", "weight_half")
HIGHEST_WEIGHT = 0.9

BOOST = 1.5
# Evaluations after which half of a boost is left.
BOOST_HALF_LIFE = 3.0
# Closer to 1 than this a boost is over.
BOOST_OVER = 0.01


class Mode(StrEnum):
    """What the controller is about."""

    WARM_UP = "warm-up"
    STABLE = "stable"
    AGGRESSIVE = "aggressive"
    COOLDOWN = "cooldown"


@dataclass(frozen=True)
class Measurement:
    """An evaluation: the held-out loss, a held-out quality that no weight changes, the share of high frequencies.

    `high_frequencies` is the energy of held-out reconstructions in the upper half of the mel bins, divided by the true
    one; None where there is none. `warming_up` says that the learning rate still rises.
    """

    loss: float
    quality: float
    high_frequencies: float | None = None
    warming_up: bool = False


@dataclass(frozen=True)
class State:
    """All that the controller remembers; plain JSON by `asdict`. `boost` multiplies the learning rate's schedule."""

    first_loss: float | None = None
    best_loss: float = 0.0
    best_quality: float = 0.0
    best_smoothed: float = 0.0
    smoothed_loss: float = 0.0
    smoothed_quality: float = 0.0
    counter: int = 0
    cooldown: int = 0
    boost: float = 1.0
    mode: str = Mode.WARM_UP

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> "State":
        """The state from its JSON values; the first one from none."""
        return cls(**values)

    def values(self) -> dict[str, Any]:
        """The state as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Actions:
    """What to do after a measurement: new values of settings, and whether the learning rate is boosted."""

    changes: dict[str, float]
    boosted: bool = False


def threshold(state: State) -> float:
    """The share by which something must improve to count.

    From 0.5 % where the loss still is as high as at the start down to 0.2 %, and 0.1 % near the best attained.
    """
    if state.first_loss is None:
        return THRESHOLDS[-1][1]
    if state.smoothed_loss <= state.best_loss * NEAR_BEST and state.smoothed_loss <= state.first_loss / 2:
        return NEAR_BEST_THRESHOLD
    share = state.smoothed_loss / max(state.first_loss, 1e-12)
    return next(needed for most, needed in THRESHOLDS if share <= most)


def observe(state: State, seen: Measurement, live: LiveConfig, weights: Mapping[str, float]) -> tuple[State, Actions]:
    """The state after a measurement, and what to do; without `live.controller` there is nothing to do.

    Args:
        state: what is known so far.
        seen: the measurement; one that is not finite changes nothing.
        live: patience, durations and whether to act.
        weights: the spectral weights in force, by parameter; empty where there are none.
    """
    if not (math.isfinite(seen.loss) and math.isfinite(seen.quality)):
        return state, Actions({})
    if state.first_loss is None:
        first = State(seen.loss, *(seen.loss, seen.quality, seen.loss), seen.loss, seen.quality)
        return replace(first, mode=_mode(first, seen, live)), Actions({})
    needed = threshold(state)
    smoothed = state.smoothed_loss + ALPHA * (seen.loss - state.smoothed_loss)
    quality = state.smoothed_quality + ALPHA * (seen.quality - state.smoothed_quality)
    pairs = ((seen.loss, state.best_loss), (seen.quality, state.best_quality), (smoothed, state.best_smoothed))
    if any(value < best * (1 - needed) for value, best in pairs):
        counter = 0
    elif any(value < best for value, best in pairs):
        # Too small to count.
        counter = state.counter // 2
    else:
        counter = state.counter + 1
    if counter >= live.plateau_safety_threshold:
        counter = 0
    boost = 1 + (state.boost - 1) * 0.5 ** (1 / BOOST_HALF_LIFE)
    after = replace(
        state,
        best_loss=min(seen.loss, state.best_loss),
        best_quality=min(seen.quality, state.best_quality),
        best_smoothed=min(smoothed, state.best_smoothed),
        smoothed_loss=smoothed,
        smoothed_quality=quality,
        counter=counter,
        cooldown=max(0, state.cooldown - 1),
        boost=boost if abs(boost - 1) > BOOST_OVER else 1.0,
    )
    after = replace(after, mode=_mode(after, seen, live))
    if not live.controller or counter < live.plateau_patience or after.mode in (Mode.WARM_UP, Mode.COOLDOWN):
        return after, Actions({})
    changes = shifted(weights) if after.mode == Mode.AGGRESSIVE else {}
    acted = replace(after, counter=0, cooldown=live.cooldown_duration, boost=BOOST)
    return acted, Actions(changes, boosted=True)


def shifted(weights: Mapping[str, float]) -> dict[str, float]:
    """Up to 0.01 of weight from the coarsest term that has some to the first fine one with room; the sum stays.

    >>> shifted({"weight_full": 0.5, "weight_half": 0.3, "weight_quarter": 0.2, "weight_l1": 0.0})
    {'weight_full': 0.51, 'weight_quarter': 0.19}
    """
    source = next((name for name in BLURRING if weights.get(name, 0.0) > 0), None)
    target = next((name for name in SHARPENING if name in weights and weights[name] < HIGHEST_WEIGHT), None)
    if source is None or target is None:
        return {}
    amount = min(MOST_SHIFT, weights[source], HIGHEST_WEIGHT - weights[target])
    return {target: round(weights[target] + amount, 6), source: round(weights[source] - amount, 6)}


def get_plateau_info(state: State, live: LiveConfig) -> dict[str, Any]:
    """What is known of a plateau: counter, patience, bests, smoothed figures, threshold, and whether it is one.

    `until_reset` counts the evaluations until the safety reset.
    """
    return {
        "counter": state.counter,
        "patience": live.plateau_patience,
        "best_loss": state.best_loss,
        "best_quality": state.best_quality,
        "smoothed_loss": state.smoothed_loss,
        "smoothed_quality": state.smoothed_quality,
        "threshold": threshold(state),
        "is_plateau": state.counter >= live.plateau_patience,
        "until_reset": max(0, live.plateau_safety_threshold - state.counter),
        "mode": str(state.mode),
        "boost": state.boost,
        "acts": live.controller,
    }


def _mode(state: State, seen: Measurement, live: LiveConfig) -> Mode:
    if seen.warming_up:
        return Mode.WARM_UP
    if state.cooldown > 0:
        return Mode.COOLDOWN
    dull = seen.high_frequencies is not None and seen.high_frequencies < DULL
    return Mode.AGGRESSIVE if dull and state.counter >= live.plateau_patience else Mode.STABLE
