"""Make docs/sounds/: some of the bundled sounds, and what a model that was trained on them makes.

    python scripts/make_docs_sounds.py models/bundled.distill

The model is the one that `scripts/demo.sh` builds. The files are MP3, which every browser plays.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

import distill
from distill.codec.codec import Samples

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "sounds"
GIVEN = ("kick_punchy", "snare_crisp", "hat_open", "bell_a4", "marimba_a3", "string_d4")
# Six of the first sixteen, of different kinds.
SEEDS = (0, 3, 4, 6, 7, 14)
STRENGTHS = (0.2, 0.5, 0.8)
SERIES = ("kick_deep", "bell_hand_c6")
PEAK = 10 ** (-1 / 20)


def main() -> None:
    """Make all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    TARGET.mkdir(exist_ok=True)
    for name, samples, rate in _sounds(distill.load(parser.parse_args().model)):
        soundfile.write(TARGET / f"{name}.mp3", samples.T, rate, format="MP3")


def _sounds(model: distill.Model) -> Iterator[tuple[str, Samples, int]]:
    for name in GIVEN:
        yield f"given-{name.replace('_', '-')}", *_given(name)
    for seed in SEEDS:
        (made,) = model.generate(seed=seed)
        yield f"new-{seed}", made.samples, made.sample_rate
    snare = _given("snare_crisp")
    for strength in STRENGTHS:
        (made,) = model.vary(*snare, strength=strength)
        yield f"vary-{round(10 * strength)}", made.samples, made.sample_rate
    for number, made in enumerate(model.morph(*_given(SERIES[0]), *_given(SERIES[1]), steps=5), 1):
        yield f"morph-{number}", made.samples, made.sample_rate
    (loop,) = model.generate(bpm=120, bars=2, loop=True, seed=1)
    # Twice, so that the join can be heard.
    yield "loop", np.concatenate([loop.samples, loop.samples]), loop.sample_rate
    kick = _given("kick_punchy")
    codes = model.encode(*kick)
    for name, edited in (("codes-as-they-are", codes), ("codes-reversed", codes[::-1])):
        yield name, _equally_loud(model.decode(edited)), model.sample_rate


def _given(name: str) -> tuple[Samples, int]:
    samples, rate = soundfile.read(ROOT / "sounds" / f"{name}.flac", dtype="float32")
    return samples, rate


def _equally_loud(samples: Samples) -> Samples:
    return samples * np.float32(PEAK / np.abs(samples).max())


if __name__ == "__main__":
    main()
