"""How new sounds of a model begin, go on and end, beside the sounds that it learned from.

New sounds are as the prior ends them, of at most so many seconds, drawn from one seed after the other, and finished as
`distill generate` does. Levels are those of 20 ms against the loudest 20 ms of the sound. Counted are sounds that are

- `silent`: nothing is heard of them;
- `late`: silent for more than a column before they begin, before they are finished;
- `restart`: rise by 12 dB again, to within 30 dB, after they have begun;
- `cut`: end above -40 dB;
- `moan`: go on to the limit;
- `quiet end`: silent (below -60 dB) for more than a tenth of a second at the end;
- `soft`: rise from a tenth to nine tenths within more than 20 ms (waves.py);
- `buzz`: noise that swells at the hop rate by more than .4 (waves.py);
- `clean`: none of all that.

`duration` (s) and `end` (dB) are medians; `durations` is the Wasserstein distance of the durations from the originals'.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from distill.audio.spool import Spool
from distill.codec.codec import Samples
from distill.configs import SpectrogramConfig
from distill.dataset.walk import find_files
from distill.generation.finish import finish_of
from distill.generation.generator import Generator, is_audible, sample_grids, waveform_blocks
from distill.stages.workspace import Workspace
from output import Report, parser
from waves import attack_of, attack_time, is_noisy, modulation
from workspaces import generator_of, waveforms

import numpy as np
import torch
from scipy.stats import wasserstein_distance

FLAGS = ("late", "restart", "cut", "moan", "quiet end", "soft", "buzz")
COLUMNS = ["sounds", "count", "silent", *FLAGS, "clean", "duration", "end", "durations"]
_BLOCK_SECONDS = 0.02
_BEGUN_DB, _AGAIN_DB, _CUT_DB, _SILENT_DB = -30.0, 12.0, -40.0, -60.0
_SOFT_MS, _BUZZ = 20.0, 0.4


@dataclass(frozen=True)
class Described:
    """One sound: its duration in s, the level of its last 20 ms in dB, and what is wrong with it, of FLAGS."""

    seconds: float
    end_db: float
    flags: frozenset[str]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("model", type=Path, help="a .distill file with a prior, or a trained workspace")
    options.add_argument("sounds", type=Path, help="folder of the sounds that it learned from")
    options.add_argument("--count", type=int, default=32, help="new sounds")
    options.add_argument("--seconds", type=float, default=5.0, help="their greatest duration")
    options.add_argument("--seed", type=int, default=0, help="of the first")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    report = Report(args)
    generator = generator_of(Workspace(args.model)) if args.model.is_dir() else Generator.load(args.model)
    spectrogram = generator.codec.spectrogram
    originals = waveforms([found.path for found in find_files(args.sounds)], spectrogram.sample_rate)
    known = [_described(each, spectrogram) for each in originals]
    new = list(_new(generator, args))
    heard = [each for each in new if each]
    report.show(COLUMNS, [_row("originals", known, 0, known), _row("new", heard, len(new) - len(heard), known)])


def _row(name: str, of: Sequence[Described], silent: int, known: Sequence[Described]) -> list[Any]:
    counts = [sum(flag in each.flags for each in of) for flag in FLAGS]
    durations = [[each.seconds for each in some] for some in (of, known)]
    middle = [median(durations[0]), median(each.end_db for each in of)]
    clean = sum(not each.flags for each in of)
    return [name, len(of) + silent, silent, *counts, clean, *middle, float(wasserstein_distance(*durations))]


def _new(generator: Generator, args: argparse.Namespace) -> Iterator[Described | None]:
    codec = generator.codec
    rate, wanted = codec.spectrogram.sample_rate, codec.samples_of(args.seconds)
    seeds = range(args.seed, args.seed + args.count)
    for _, grid in sample_grids(generator, seeds, wanted, config=None, natural=True):
        if not is_audible(codec, grid):
            yield None
            continue
        raw = np.concatenate(list(waveform_blocks(generator, grid, wanted)))
        with Spool() as spool:
            spool.add(raw[:, None])
            form = finish_of(spool, rate, trim=True, most_gain=1.0)
            samples = np.concatenate(list(form.blocks(spool)))[:, 0]
        late, moan = form.first > codec.column_samples, len(raw) >= wanted
        yield _described(samples, codec.spectrogram, late=late, moan=moan)


def _described(
    samples: Samples, spectrogram: SpectrogramConfig, *, late: bool = False, moan: bool = False
) -> Described:
    rate = spectrogram.sample_rate
    size = round(_BLOCK_SECONDS * rate)
    # The last 10 ms of a new sound fade.
    whole = samples[len(samples) % (size // 2) :]
    windows = np.lib.stride_tricks.sliding_window_view(whole.astype(np.float64), size)[:: size // 2]
    power = np.square(windows).mean(1)
    level = 10 * np.log10(power / power.max() + 1e-12)
    begun = int(np.argmax(level > -3))
    lowest = np.minimum.accumulate(level[begun:])
    again = (level[begun:] > lowest + _AGAIN_DB) & (level[begun:] > _BEGUN_DB)
    silent = len(level) - 1 - int(np.flatnonzero(level > _SILENT_DB)[-1])
    end = float(level[-2] if len(level) > 1 else level[-1])
    wrong = {
        "late": late,
        "restart": again.any(),
        "cut": end > _CUT_DB,
        "moan": moan,
        "quiet end": silent * _BLOCK_SECONDS / 2 > 0.1,
        "soft": attack_time(samples, rate, attack_of(samples)) > _SOFT_MS,
        "buzz": is_noisy(samples, rate) and modulation(samples, rate, rate / spectrogram.hop_length) > _BUZZ,
    }
    return Described(len(samples) / rate, end, frozenset(name for name, is_so in wrong.items() if is_so))


if __name__ == "__main__":
    main()
