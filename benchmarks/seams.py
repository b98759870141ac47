"""Whether one hears where long sounds are put together: novelty at the joints against novelty everywhere.

A long sound has joints where the prior's window moves on, where the decoder's pieces meet, and where the pieces of the
mel inversion meet. Novelty at a place is how much changes there: between spectra (rise of the log mel from frame to
frame, mean over bins) and in the waveform (greatest second difference in a frame, over the loudness around). A joint
may be off by a frame, so each place counts with the greatest novelty of its neighbourhood. `share` is how many joints
exceed the 95th percentile of all places; without seams it is 0.05 on average. Codes change wherever a column begins,
and all of these joints lie there: one is heard as such only if it exceeds `any column`. Where one sound ends and the
next begins there is an attack, which is meant to be heard.

With `--loops` the joints are those where loops go round: as `generate --loop` makes them, and as the same codes sound
when they are played over and over (`not closed`). A new sound begins with an attack, which is meant to be heard: of
loops that `begin within` the first third of the codes stands at the end, so that the join lies where no sound begins.
Each loop is turned so that its join lies in its middle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.audio import invert
from distill.audio.mel import MelTransform
from distill.configs import STRIDE, SpectrogramConfig
from distill.generation.autoregressive import window_columns
from distill.generation.generator import Generator, sample_grids, waveform_blocks
from distill.generation.loops import close_loop, loop_waveform, samples_to_draw
from distill.generation.sampling import sample_sequences
from distill.generation.sound_request import Request
from distill.models.grid import PIECE_COLUMNS
from distill.models.prior import CodePrior
from distill.models.sequences import columns_to_keep
from output import Report, parser

import numpy as np
import numpy.typing as npt
import torch

Values = npt.NDArray[np.float64]
COLUMNS = ["joints of", "novelty of", "joints", "mean percentile", "share beyond 95th"]
_QUANTILE = 0.95
_AROUND = 2


@dataclass(frozen=True)
class Seams:
    """Of so many joints, the mean percentile of their novelty among all places (0.5 without seams) and the share
    beyond the 95th (0.05 without seams)."""

    joints: int
    percentile: float
    share: float


def joints(prior: CodePrior, lengths: Sequence[int], frames: int) -> dict[str, list[int]]:
    """Frames at which the parts of sounds that follow each other, of so many columns, meet, by the kind of joint."""
    window, begins = window_columns(prior), np.cumsum([0, *lengths])
    columns = [
        begin + column
        for begin, length in zip(begins, lengths, strict=False)
        for column in range(window, length, window - columns_to_keep(window))
    ]
    return {
        "prior": [STRIDE * int(column) for column in columns],
        "next sound": [STRIDE * int(begin) for begin in begins[1:-1]],
        "decoder": list(range(STRIDE * PIECE_COLUMNS, frames, STRIDE * PIECE_COLUMNS)),
        "inversion": [first + invert._LEAD_FRAMES for first, _ in invert._bounds(frames)][1:],
    }


def novelty(samples: npt.NDArray[np.float32], config: SpectrogramConfig) -> dict[str, Values]:
    """How much changes at each frame of a sound `[n]`, in the spectrum and in the waveform: `[frames]` each."""
    log_mel = MelTransform(config).log_mel(torch.from_numpy(samples)).numpy().astype(np.float64)
    rise = np.diff(log_mel, axis=1, prepend=log_mel[:, :1]).clip(min=0).mean(0)
    bend = np.abs(np.diff(samples.astype(np.float64), 2, prepend=0.0, append=0.0))
    hop, frames = config.hop_length, log_mel.shape[1]
    centred = np.pad(bend, (hop // 2, frames * hop - len(bend)))[: frames * hop].reshape(frames, hop)
    loudness = np.sqrt(np.convolve((centred**2).mean(1), np.ones(9) / 9, "same")) + 1e-6
    return {"spectrum": _greatest_around(rise), "waveform": _greatest_around(centred.max(1) / loudness)}


def seams(values: Values, places: Sequence[int]) -> Seams:
    """What the novelty `[frames]` at some places says of them."""
    if not places:
        return Seams(0, 0.5, 0.0)
    ranks = np.searchsorted(np.sort(values), values[list(places)]) / len(values)
    return Seams(len(places), float(ranks.mean()), float((ranks > _QUANTILE).mean()))


def _greatest_around(values: Values) -> Values:
    padded = np.pad(values, _AROUND, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * _AROUND + 1).max(-1)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("model", type=Path, help="a .distill file with a prior")
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--count", type=int, default=8, help="sounds")
    options.add_argument("--loops", type=int, default=0, help="so many loops in place of sounds")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    report, generator = Report(args), Generator.load(args.model)
    if args.loops:
        report.show(COLUMNS, loop_rows(generator, 2 if args.quick else args.loops, args.seconds))
        return
    config = generator.codec.spectrogram
    found: dict[tuple[str, str], list[Seams]] = {}
    for seed in range(1 if args.quick else args.count):
        wanted = generator.codec.samples_of(args.seconds)
        [sounds] = sample_sequences(generator.prior, columns=generator.codec.columns_of(wanted), seeds=[seed])
        samples = np.concatenate(list(waveform_blocks(generator, np.concatenate(sounds), wanted)))
        changes = novelty(samples, config)
        frames = len(changes["spectrum"])
        columns = {"any column": list(range(STRIDE, frames, STRIDE))}
        for kind, places in {**joints(generator.prior, list(map(len, sounds)), frames), **columns}.items():
            for name, values in changes.items():
                found.setdefault((kind, name), []).append(seams(values, places))
    rows: list[list[Any]] = [[*key, *_together(values).values()] for key, values in found.items()]
    report.show(COLUMNS, rows)


def loop_rows(generator: Generator, count: int, seconds: float) -> list[list[Any]]:
    """The joins of loops of so many seconds."""
    codec, request = generator.codec, Request(seconds=seconds, loop=True)
    wanted = request.frames(codec.spectrogram.sample_rate)
    found: dict[tuple[str, str], list[Seams]] = {}
    for seed, grid in sample_grids(
        generator, range(count), samples_to_draw(codec, request), config=None, natural=False
    ):
        within = np.roll(grid, -(len(grid) // 3), axis=0)
        ways = {
            "loops": loop_waveform(codec, close_loop(generator, grid, seed=seed), wanted, wanted),
            "loops that begin within": loop_waveform(codec, close_loop(generator, within, seed=seed), wanted, wanted),
            "not closed": np.concatenate(list(waveform_blocks(generator, grid, wanted))),
        }
        for way, samples in ways.items():
            changes = novelty(np.roll(samples, len(samples) // 2), codec.spectrogram)
            join = round(len(samples) // 2 / codec.spectrogram.hop_length)
            for name, values in changes.items():
                found.setdefault((way, name), []).append(seams(values, [join]))
                columns = range(STRIDE, len(values), STRIDE)
                found.setdefault((f"{way}, any column", name), []).append(seams(values, columns))
    return [[*key, *_together(values).values()] for key, values in found.items()]


def _together(values: Sequence[Seams]) -> Mapping[str, float]:
    count = sum(each.joints for each in values)
    return {
        "joints": count,
        "percentile": sum(each.joints * each.percentile for each in values) / max(count, 1),
        "share": sum(each.joints * each.share for each in values) / max(count, 1),
    }


if __name__ == "__main__":
    main()
