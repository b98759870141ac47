"""Codes by hand: changing a cell and hearing it, and rendering whole codebooks.

`edit and hear` sets a cell in the middle of a grid, decodes its neighbourhood and puts the new waveform into the old
one, in a process that has the model and the sound loaded. `plain` is the same with the whole grid decoded again. Both
change another cell each turn. The figures of equality compare the two: the greatest difference of the log mels, and
LSD-20 (measures.py) of the mel of each waveform against the decoded one, over the frames that were made anew.

`codebooks` is every entry of every level, each alone for two columns; its plain version decodes and inverts one entry
after the other with one call each.

With --sounds, the files of a folder are encoded, decoded and encoded again, and the share of the codes that change is
counted for each level: by way of the spectrogram, of the sound, of a file with a peak of 1, and encoded like the grid.

Without --model, a network with random weights of the `tuned` preset's size takes its place: the work is the same, the
figures of equality mean less.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from common import interleave
from distill.codec.codec import Codec
from distill.codec.load import Networks
from distill.codes.edits import SetCode
from distill.codes.grid import CodeGrid, ModelIdentity
from distill.codes.model import CodesModel
from distill.codes.playback import entries, hear_entries, render, rerender
from distill.codes.selection import Selection
from distill.codes.sound import encode_file, round_trip
from distill.configs import SpectrogramConfig
from distill.models.levels import level_labels
from distill.models.vqvae import ConvVQVAE
from measures import distances
from output import Report, parser

import numpy as np
import torch

WAYS = ("by_spectrogram", "by_sound", "by_file", "like_grid")


def main() -> None:
    options = parser(__doc__, rounds=12)
    options.add_argument("--model", type=Path, help="a .distill file")
    options.add_argument("--columns", type=int, nargs="+", default=[12, 60], help="lengths of the grids")
    options.add_argument("--entries", type=int, default=32, help="entries of the codebooks that are rendered a turn")
    options.add_argument("--sounds", type=Path, help="a folder of sounds")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    report = Report(args)
    model = random_model() if args.model is None else CodesModel.load(args.model)
    rounds = 2 if args.quick else args.rounds
    rows = [edit_and_hear(model, columns, rounds) for columns in args.columns[: 1 if args.quick else None]]
    rows.append(codebooks(model, 2 if args.quick else args.entries, max(2, rounds // 4)))
    columns = ["work", "ms", "slowest ms", "x faster", "log mel apart", "LSD-20", "LSD-20 whole"]
    values: dict[str, Any] = {"seconds_per_column": model.codec.column_samples / model.sample_rate}
    if args.sounds is not None:
        values["changed"] = round_trips(model, sorted(path for path in args.sounds.iterdir() if path.is_file()))
    report.show(columns, rows, **values)


def edit_and_hear(model: CodesModel, columns: int, rounds: int) -> list[Any]:
    random = np.random.default_rng(0)
    shape = (columns, model.codec.bands, model.codec.levels)
    grid = model.grid(random.integers(0, model.codec.codebook_size, shape))
    before = render(model, grid)
    edits = _edits(grid)
    # Two methods in turn make the same edit.
    both = (edit for edit in edits for _ in range(2))
    timings = interleave(
        {
            "ours": lambda: rerender(model, before, next(both).apply(grid)),
            "plain": lambda: render(model, next(both).apply(grid)),
        },
        rounds,
    )
    apart: list[float] = []
    ours: list[float] = []
    whole: list[float] = []
    transform = model.codec.mel
    for _ in range(min(rounds, 4)):
        after = next(edits).apply(grid)
        near, far = rerender(model, before, after), render(model, after)
        apart.append(float(np.abs(near.log_mel - far.log_mel).max()))
        first, last = (sample // model.codec.spectrogram.hop_length for sample in near.renewed)
        target = transform.to_power(torch.from_numpy(far.log_mel))[None, :, first:last]
        for samples, found in ((near.samples, ours), (far.samples, whole)):
            heard = transform.power(torch.from_numpy(samples))[None, :, first:last]
            found.append(distances(heard, target).lsd_20)
    return [
        f"edit and hear, {columns * model.codec.column_samples / model.sample_rate:.1f} s",
        timings.milliseconds("ours"),
        1000 * max(timings.seconds["ours"]),
        timings.ratio("plain", "ours"),
        max(apart),
        float(np.mean(ours)),
        float(np.mean(whole)),
    ]


def codebooks(model: CodesModel, number: int, rounds: int) -> list[Any]:
    every = entries(model)
    some = [every[round(index)] for index in np.linspace(0, len(every) - 1, number)]
    timings = interleave(
        {
            "ours": lambda: list(hear_entries(model, some)),
            "plain": lambda: [list(hear_entries(model, [entry])) for entry in some],
        },
        rounds,
    )
    share = len(every) / len(some)
    name = f"codebooks, {len(every)} entries (from {len(some)})"
    slowest = 1000 * share * max(timings.seconds["ours"])
    return [name, share * timings.milliseconds("ours"), slowest, timings.ratio("plain", "ours"), None, None, None]


def round_trips(model: CodesModel, files: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Share of the codes of each level that change by each way, over all cells of all files."""
    changed = {way: np.zeros(model.codec.levels) for way in WAYS}
    cells = 0
    for path in files:
        grid = encode_file(model, path)
        found = round_trip(model, grid)
        cells += len(grid) * grid.bands
        for way, number in changed.items():
            number += len(grid) * grid.bands * np.array(getattr(found, way))
    labels = level_labels(model.codec.levels)
    return {way: dict(zip(labels, (number / cells).tolist(), strict=True)) for way, number in changed.items()}


def random_model(codebook_size: int = 256) -> CodesModel:
    """A model of the usual size whose codes are placed on encodings of noise."""
    torch.manual_seed(0)
    vqvae, config = ConvVQVAE(codebook_size=codebook_size).eval(), SpectrogramConfig()
    with torch.no_grad():
        encoded = vqvae.encode(torch.rand(4, 1, config.n_mels, 512) * 8)
        vqvae.quantizer.place_codes(encoded.transpose(0, 1).flatten(1).T)
    identity = ModelIdentity("random", "0" * 64, "0" * 64)
    return CodesModel(Codec(vqvae, config), identity, Networks(vqvae, None, Path("random.distill")))


def _edits(grid: CodeGrid) -> Iterator[SetCode]:
    """Another code for another cell around the middle, without end."""
    middle = len(grid) // 2
    for number in count():
        column, band, level = middle + number % 3 - 1, number % grid.bands, number % grid.levels
        cell = Selection(columns=(column, column + 1), bands=(band,), levels=(level,))
        yield SetCode(selection=cell, code=int(grid.codes[column, band, level] + 1 + number) % grid.codebook_size)


if __name__ == "__main__":
    main()
