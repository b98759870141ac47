"""How well new sounds are what was asked for: labels, knobs and notes, of sets of sounds with labels.

For each set and seed a workspace in `--keep` goes through prepare, configure, train_vqvae and train_prior with
`prior.conditions`, and a second prior is trained on the same codes without. Sets: `bundled` (the sounds of this
project), `tabla`, `digits` and `oneshots` (drum machines' sounds of kit, drums and mixed), labelled by their files'
names.

- `held out`: share of the held-out sounds whose label the judge finds (the nearest mean timbre of a label);
- `label`: share of the new sounds that have the label that they were asked for, as one draw and as is usual (the best
  of three, and of up to twelve while none has the label);
- a knob: Spearman's correlation of the rank that was asked for and the value that came, the same two ways;
- `cents`: how far sounds that were asked for with the note A3 lie from it, median over those that have a pitch, as it
  is found again in them; `partials`: the same of their lowest strong partial near one of the note, by the spectrum;
- `unasked`: held-out perplexity of the prior that can be asked, nothing being asked of it, over that of the other;
- `asked time`: time to draw with a label (the default guidance, one draw) over that without, timed in turns.

Verdicts of the memorization check of both are in the JSON and below the table.
"""

import argparse
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from common import interleave
from distill.artifact.model_file import read_model
from distill.artifact.prior_file import read_prior
from distill.audio.knobs import KNOBS
from distill.audio.pitch import pitch_of
from distill.audio.timbre import timbre_of
from distill.dataset.store import PreparedDataset
from distill.dataset.walk import find_files
from distill.generation.conditioning import Target, draw_grids, target_of
from distill.generation.generator import Generator
from distill.generation.sound_request import Request
from distill.generation.sounds import new_sounds
from distill.params import parse_params, with_settings, write_params
from distill.stages.workspace import Workspace, read_report
from output import Report, parser, sounds
from workspaces import QUICK, generator_of, train

import numpy as np
import pandas as pd

RANKS = (0.1, 0.3, 0.5, 0.7, 0.9)
MOST_SECONDS, NOTE, NOTE_HZ = 3.0, "A3", 220.0
BUNDLED = Path(__file__).parent.parent / "sounds"
# By set the folders, and by label the names; a sound of no label is left out of `oneshots` and unlabelled elsewhere.
SETS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "bundled": ((), {name: rf"{name}_" for name in ("bell", "hat", "kick", "snare", "string")}),
    "tabla": (
        ("tabla",),
        {"loofa": r".*loofa_A", "bahia": r".*bahia", "high": r".*_hi_", "low": r".*_lower|.*_bass"},
    ),
    "digits": (("digits",), {str(digit): rf"{digit}_" for digit in range(10)}),
    "oneshots": (
        ("kit", "drums", "mixed"),
        {
            "cymbal": r".*(crash|ride|cymbal)|cr_|cc_",
            "hat": r"ho_|.*(openhat|open_hat|hh\.|opendhh|closedhh)",
            "kick": r".*kick|808bd|bd_",
            "snare": r".*snare|808sd",
            "tom": r"[hl]t_|.*tom",
        },
    ),
}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="each with its own split")
    options.add_argument("--count", type=int, default=8, help="new sounds for each label, and for each rank of a knob")
    options.add_argument("--keep", type=Path, required=True, help="folder for the workspaces; what is there is taken")
    options.add_argument("--set", action="append", default=[], help="section.key=value, as in the command")
    args = options.parse_args()
    report, rows, verdicts = Report(args), list[list[Any]](), dict[str, Any]()
    columns = ["set", "draws", "held out", "label", *KNOBS, "cents", "partials", "unasked", "asked time"]
    for name in args.sets:
        for seed in args.seeds:
            asked, plain = (_trained(name, seed, conditions, args) for conditions in (True, False))
            verdicts[f"{name} {seed}"] = {"asked": _verdict(asked), "plain": _verdict(plain)}
            rows += _rows(f"{name} {seed}", asked, plain, args.count)
    report.show(columns, rows, verdicts=verdicts)


def _trained(name: str, seed: int, conditions: bool, args: argparse.Namespace) -> Workspace:
    """A workspace whose prior is trained and checked; that of a prior without conditions has the same VQ-VAE."""
    root = args.keep / f"{name}-{seed}{'' if conditions else '-plain'}"
    workspace = Workspace(root)
    if not workspace.params_file.exists():
        values = {
            "data": {"path": str(_labelled(name, args.keep / f"{name}-sounds"))},
            "run": {"seed": seed, "device": "cpu", "threads": args.threads},
            "prior": {"conditions": conditions},
        }
        root.mkdir(parents=True)
        write_params(workspace.params_file, with_settings(parse_params(values, where="the benchmark"), _settings(args)))
    if not workspace.prepared.exists():
        train(workspace, "prepare")
    if not workspace.config("train_vqvae").exists():
        train(workspace, "configure")
    if not workspace.vqvae.exists():
        if conditions:
            train(workspace, "train_vqvae")
        else:
            workspace.vqvae.parent.mkdir(exist_ok=True)
            shutil.copyfile(Workspace(args.keep / f"{name}-{seed}").vqvae, workspace.vqvae)
    for stage in ("train_prior", "check_memorization"):
        if not workspace.report(stage).exists():
            train(workspace, stage)
    return workspace


def _settings(args: argparse.Namespace) -> list[str]:
    return [*args.set, *(QUICK if args.quick else [])]


def _labelled(name: str, folder: Path) -> Path:
    """A folder of copies of a set's sounds, sorted into folders by label."""
    if folder.is_dir():
        return folder
    origins, labels = SETS[name]
    for origin in [sounds(each) for each in origins] or [BUNDLED]:
        for found in find_files(origin):
            label = next((each for each, pattern in labels.items() if re.match(pattern, found.path.name, re.I)), "")
            if label or name != "oneshots":
                (folder / label).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found.path, folder / label / f"{origin.name}_{found.path.name}")
    return folder


def _rows(name: str, asked: Workspace, plain: Workspace, count: int) -> list[list[Any]]:
    model = read_model(asked.vqvae)
    trained, other = (read_prior(each.prior, vqvae_digest=model.digest) for each in (asked, plain))
    generator = generator_of(asked)
    perplexity, before = (each.metadata.perplexity.validation or 0.0 for each in (trained, other))
    # The two are timed first, while no others' caches are warm.
    ratio = _asked_time(generator)
    first = [_held_out(generator, asked), *_followed(generator, count, 1), None, None, perplexity / before - 1, ratio]
    usual = [None, *_followed(generator, count, None), *_cents(generator, 2 * count), None, None]
    return [[name, "one", *first], ["", "usual", *usual]]


def _held_out(generator: Generator, workspace: Workspace) -> float | None:
    """Share of the held-out sounds with a label whose label the judge finds."""
    conditions, dataset = generator.conditions, PreparedDataset(workspace.prepared)
    assert conditions
    labels = dataset.labels
    right = [
        conditions.label_of(timbre_of(dataset.segment(row), generator.codec.spectrogram)) == labels[row]
        for row in dataset.segments_of("validation")
        if labels[row] in conditions.labels
    ]
    return float(np.mean(right)) if right else None


def _followed(generator: Generator, count: int, best_of: int | None) -> list[float | None]:
    """Share of labels that are right, and Spearman's correlation for each knob."""
    conditions = generator.conditions
    assert conditions
    right = [
        got.label == label
        for label in conditions.labels
        for got in _got(generator, {"label": label}, count, best_of)
        if got is not None
    ]
    found: list[float | None] = [float(np.mean(right)) if right else None]
    for knob in KNOBS:
        if knob not in conditions.knobs:
            found.append(None)
            continue
        pairs = [
            (rank, got.knobs[knob])
            for rank in RANKS
            for got in _got(generator, {knob: rank}, count, best_of)
            if got is not None
        ]
        table = pd.DataFrame(pairs, columns=["asked", "got"]).dropna().rank()
        found.append(float(table["asked"].corr(table["got"])) if len(table) > len(RANKS) else None)
    return found


def _got(generator: Generator, asks: dict[str, Any], count: int, best_of: int | None) -> list[Any]:
    target, samples = _ask(generator, asks, best_of), generator.codec.samples_of(MOST_SECONDS)
    return [got for _, _, got in draw_grids(generator, range(count), samples, target, config=None, natural=True)]


def _ask(generator: Generator, asks: dict[str, Any], best_of: int | None) -> Target | None:
    request = Request.model_validate({"seconds": MOST_SECONDS, "natural": True, "best_of": best_of, **asks})
    return target_of(request, generator.conditions)


def _cents(generator: Generator, count: int) -> tuple[float | None, float | None]:
    """How far sounds that were asked for with a note lie from it, in cents, by their pitch and by a partial."""
    conditions = generator.conditions
    if conditions is None or "pitch" not in conditions.knobs:
        return None, None
    request = Request.model_validate({"seconds": MOST_SECONDS, "natural": True, "pitch": NOTE})
    rate = generator.codec.spectrogram.sample_rate
    by_pitch, by_partial = list[float](), list[float]()
    for _, made in new_sounds(generator, request, target_of(request, conditions), range(count)):
        samples = np.concatenate([np.asarray(each, np.float32).reshape(-1) for each in made.blocks])
        found = pitch_of(samples, rate)
        # What had none kept its speed.
        if found is None or abs(1200 * np.log2(found / NOTE_HZ)) > 100:
            continue
        by_pitch.append(abs(1200 * float(np.log2(found / NOTE_HZ))))
        away = _away(samples, rate)
        by_partial += [] if away is None else [abs(away)]
    return (median(by_pitch) if by_pitch else None), (median(by_partial) if by_partial else None)


def _away(samples: np.ndarray, rate: int) -> float | None:
    """Cents between a harmonic of the note and the peak near it, for the lowest that is strong; None: there is none."""
    # Zeros behind the sound put a bin every 0.1 Hz or less.
    size = max(10 * rate, len(samples))
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size)) ** 2
    hertz = rate / size
    for harmonic in range(1, 6):
        low, high = (round(harmonic * NOTE_HZ * 2 ** (cents / 1200) / hertz) for cents in (-60, 60))
        at = low + int(np.argmax(power[low:high]))
        if low < at < high - 1 and power[at] > 0.05 * power.max():
            return float(1200 * np.log2(at * hertz / (harmonic * NOTE_HZ)))
    return None


def _asked_time(generator: Generator) -> float | None:
    """How many times as long drawing takes where something is asked for."""
    conditions = generator.conditions
    assert conditions
    asks = {"label": conditions.labels[0]} if conditions.labels else {next(iter(conditions.knobs)): 0.5}

    def drawing(target: Target | None) -> Callable[[], object]:
        samples = generator.codec.samples_of(MOST_SECONDS)
        # All sounds have as many columns, so that what is timed is the drawing alone.
        return lambda: list(draw_grids(generator, range(16), samples, target, config=None, natural=False))

    timings = interleave({"asked": drawing(_ask(generator, asks, 1)), "unasked": drawing(None)}, 5)
    return timings.ratio("asked", "unasked")


def _verdict(workspace: Workspace) -> Any:
    report = read_report(workspace, "check_memorization")
    return {key: report.get(key) for key in ("verdict", "reasons", "labels")}


if __name__ == "__main__":
    main()
