"""Seeds and streams of random numbers that are derived from the seed of a sound."""

import numpy as np

# What a seed is derived for; of the sounds that follow each other each has its number alone.
_CANDIDATE, _KIT_VARIATION = 0, 2
# Which numbers a stream is of: what a variation draws anew, and the codes of space.
VARIED, SPACE = 1, 2


def further_seed(seed: int, number: int) -> int:
    """The seed of the sound of that number among those that follow from one seed; the first has the seed itself."""
    return _derived(seed, number) if number else seed


def candidate_seed(seed: int, number: int) -> int:
    """The seed of a candidate for a sound, which a user can give; the first has the sound's own."""
    return _givable(_derived(seed, _CANDIDATE, number)) if number else seed


def variation_seed(seed: int, number: int) -> int:
    """The seed of a variation within a kit, which a user can give."""
    return _givable(_derived(seed, _KIT_VARIATION, number))


def stream(seed: int, what: int) -> np.random.Generator:
    """A stream of random numbers beside that of the seed itself; `what` is VARIED or SPACE."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(what,))))


def _derived(seed: int, *key: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0])


def _givable(seed: int) -> int:
    """Small enough for a seed that a user can give."""
    return seed >> 2
