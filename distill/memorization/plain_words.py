"""The verdict about memorization in words that need no explanation."""

from collections.abc import Mapping
from typing import Any

CALLED = {"pass": "Nothing was copied", "warn": "Listen before you share it", "fail": "It copies your sounds"}


def in_plain_words(verdict: str, evidence: Mapping[str, Any]) -> str:
    """A verdict in one sentence, with how many of the generated sounds are close to training sounds.

    >>> in_plain_words("fail", {"flagged": [0, 2, 5], "generated": [{}] * 32})
    'It copies your sounds: 3 of 32 new sounds are close to yours.'
    >>> in_plain_words("pass", {})
    'Nothing was copied.'
    """
    close, total = len(evidence.get("flagged") or ()), len(evidence.get("generated") or ())
    if not total:
        return f"{CALLED[verdict]}."
    if not close:
        said = f"none of {total} new sounds is close to one of yours"
        said += "" if verdict == "pass" else ", but together they come nearer than they should"
    else:
        said = f"{close} of {total} new sounds {'is close to one of yours' if close == 1 else 'are close to yours'}"
        said += ", which may be chance" if verdict == "pass" else ""
    return f"{CALLED[verdict]}: {said}."
