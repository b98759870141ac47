"""Ten seconds of new sound in process, and the memory that a minute and ten minutes of it take.

`ours` is generation.generator.generate on loaded models: codes from the smallest prior, the decoder, Griffin-Lim. It
makes one sound that does not end, ten sounds of a second, and with `--model` what a trained model puts into the time.
`plain` makes ten sounds of a second, one after the other: the whole sequence read again for each code
(`plain_prior.py`), the decoder, torchaudio's Griffin-Lim with 128 rounds. The floor is what must happen in any case:
two Fourier transforms a frame in each round, and each weight of the prior read once for each position or code that
follows from it. Other weights are random, which changes no time. Memory is the peak (VmHWM) of `distill generate` to a
file.
"""

import argparse
import json
import sys
import tempfile
from contextlib import redirect_stdout
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from codes import random_model
from common import interleave, make_audible
from distill.audio.invert import ROUNDS
from distill.cli.main import app
from distill.configs import STRIDE
from distill.generation.generator import Generator, generate
from distill.models.prior import CodePrior
from inversion import PlainInversion
from memory import peak, peak_of_child
from output import Report, parser
from plain_prior import PlainPrior
from prior_step import heads_of, read_weights, sample_plainly
from startup import write_example

import torch
from torch import Tensor

# Of the adaptive settings for up to 20 files.
HIDDEN, LAYERS, CODES = 128, 2, 64


def main() -> None:
    options = parser(__doc__, rounds=6)
    options.add_argument("--seconds", type=int, default=10)
    options.add_argument("--model", type=Path, help="a .distill file with the smallest prior")
    options.add_argument("--memory", type=float, nargs="+", default=[60.0, 600.0], help="durations in s")
    options.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.child:
        model, seconds = args.child
        command = ["generate", model, "--duration", seconds, "--output", str(Path(model).parent), "--quiet"]
        with redirect_stdout(sys.stderr):
            app(command, standalone_mode=False)
        sys.stdout.write(json.dumps(peak()))
        return
    torch.set_num_threads(args.threads)
    report, generator = Report(args), random_generator()
    seconds, rounds = (1, 2) if args.quick else (args.seconds, args.rounds)
    plain = Plain(generator)
    trained = {}
    if args.model:
        model, seeds = Generator.load(args.model), count()
        trained["ours, trained"] = lambda: generate(model, seconds=seconds, seed=next(seeds))
    timings = interleave(
        {
            "ours, one sound": lambda: generate(generator, seconds=seconds),
            f"ours, {seconds} sounds": lambda: generate(generator, seconds=1, count=seconds),
            "plain": lambda: [plain() for _ in range(seconds)],
            "floor": partial(floor, generator, seconds),
            **trained,
        },
        rounds,
    )
    rows: list[list[Any]] = [
        [f"{seconds} s, {name}", timings.milliseconds(name), timings.ratio("plain", name), timings.ratio(name, "floor")]
        for name in ("ours, one sound", *trained, f"ours, {seconds} sounds", "plain")
    ]
    memory = {f"{duration:g} s": memory_of(duration) for duration in ([1.0, 2.0] if args.quick else args.memory)}
    report.show(["work", "ms", "x faster", "x floor"], rows, memory_mib=memory)


def memory_of(seconds: float) -> float:
    """Peak in MiB of the command that writes a sound of so many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.distill"
        write_example(model, layers=1)
        return peak_of_child([__file__, "--child", str(model), str(seconds)])


def random_generator() -> Generator:
    """The smallest prior of the adaptive settings, whose sounds do not end, with the codec of `codes.py`."""
    codec = random_model(CODES).codec
    make_audible(codec.vqvae)
    prior = CodePrior(
        HIDDEN,
        LAYERS,
        heads_of(HIDDEN),
        codebook_size=codec.codebook_size,
        num_quantizers=codec.levels,
        bands=codec.bands,
    ).eval()
    with torch.no_grad():
        prior.head.bias[prior.end] = -50.0
    prior.trained_columns.fill_(_columns_a_second(codec.column_samples, codec.spectrogram.sample_rate))
    return Generator(codec, prior)


class Plain:
    """A second of sound, nothing kept from code to code."""

    def __init__(self, generator: Generator) -> None:
        self.codec = generator.codec
        self.columns = _columns_a_second(self.codec.column_samples, self.codec.spectrogram.sample_rate)
        self.shape = (self.columns, self.codec.bands, self.codec.levels)
        size, tokens = self.codec.codebook_size, self.columns * self.codec.bands * self.codec.levels
        self.prior = PlainPrior(
            HIDDEN, LAYERS, heads_of(HIDDEN), batch_size=1, tokens=tokens, codes=size, levels=self.codec.levels
        ).eval()
        self.invert = PlainInversion(self.codec.spectrogram, 128)

    def __call__(self) -> Tensor:
        tokens = sample_plainly(self.prior, self.prior.tokens.shape[1] - 1)
        log_mel = torch.from_numpy(self.codec.decode_log_mel(tokens[0, 1:].view(self.shape).numpy()))
        return self.invert(log_mel[None])


@torch.inference_mode()
def floor(generator: Generator, seconds: int) -> None:
    """What cannot be left out."""
    config, prior = generator.codec.spectrogram, generator.prior
    positions = seconds * prior.bands * _columns_a_second(STRIDE * config.hop_length, config.sample_rate)
    read_weights(prior, positions)
    window = torch.hann_window(config.n_fft)
    spectrum = torch.stft(
        torch.zeros(seconds * config.sample_rate), config.n_fft, config.hop_length, window=window, return_complex=True
    )
    for _ in range(ROUNDS):
        waveform = torch.istft(spectrum, config.n_fft, config.hop_length, window=window)
        torch.stft(waveform, config.n_fft, config.hop_length, window=window, return_complex=True)


def _columns_a_second(column_samples: int, sample_rate: int) -> int:
    return -(-sample_rate // column_samples)


if __name__ == "__main__":
    main()
