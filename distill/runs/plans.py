"""The plans that a training can be done by."""

from dataclasses import dataclass

from distill.errors import UsageError


@dataclass(frozen=True)
class Plan:
    """A way to train: what it is called, and the parameters that are not as by default, as `section.key=value`."""

    name: str
    settings: tuple[str, ...]


SKETCH = Plan("sketch", ("run.preset=sketch", "memorization.sounds=8"))
BEST = Plan("best", ())
PLANS = {plan.name: plan for plan in (SKETCH, BEST)}


def plan_named(name: str) -> Plan:
    """The plan of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in PLANS:
        raise UsageError(f"there is no plan {name!r}; plans: {', '.join(PLANS)}")
    return PLANS[name]
