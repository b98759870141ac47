"""From log mel to sound: our Griffin-Lim against torchaudio's with 128 rounds.

Both get the true mels of chunks of one second and are timed in turns on one chunk after another, both on one sound at a
time. `torchaudio 128` spreads the mel power over the Fourier bins with the filter bank's pseudo-inverse, which costs
nearly nothing. The quality is LSD-20 (measures.py) of the mel of what came out against the true one.
"""

from typing import Any

from common import interleave
from distill.audio.invert import ROUNDS, griffin_lim
from distill.audio.mel import MelTransform, mel_filters
from distill.audio.torchaudio_import import import_torchaudio
from distill.configs import SpectrogramConfig
from distill.dataset.walk import find_files
from measures import distances, normalized_chunks
from output import Report, parser, sounds

import torch
from torch import Tensor


class PlainInversion:
    """Pseudo-inverse and torchaudio's Griffin-Lim."""

    def __init__(self, config: SpectrogramConfig, rounds: int) -> None:
        self.inverse = torch.linalg.pinv(mel_filters(config)).T
        self.transform = MelTransform(config)
        self.griffin_lim = import_torchaudio().transforms.GriffinLim(
            n_fft=config.n_fft, n_iter=rounds, hop_length=config.hop_length, power=2.0
        )

    def __call__(self, log_mel: Tensor) -> Tensor:
        """`[1, n_mels, frames]` to `[1, samples]`."""
        power = (self.inverse @ self.transform.to_power(log_mel)).clamp(min=1e-10)
        waveform: Tensor = self.griffin_lim(power)
        return waveform


def main() -> None:
    options = parser(__doc__, rounds=24)
    options.add_argument("--sets", nargs="+", default=["kit", "mixed"], help="folders of sounds")
    options.add_argument("--chunks", type=int, default=48, help="chunks of a set, spread over it, for the quality")
    options.add_argument("--plain-rounds", type=int, default=128)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    report, config = Report(args), SpectrogramConfig()
    transform, plain = MelTransform(config), PlainInversion(config, args.plain_rounds)
    rows: list[list[Any]] = []
    for name in args.sets:
        chunks = normalized_chunks((found.path for found in find_files(sounds(name))), config)
        log_mels = transform.log_mel(_spread(chunks, 2 if args.quick else args.chunks))
        turns = iter(range(10**9))

        def next_mel(log_mels: Tensor = log_mels, turns: Any = turns) -> Tensor:
            # Two methods in turn see the same chunk.
            index = next(turns) // 2 % len(log_mels)
            return log_mels[index : index + 1]

        timings = interleave(
            {"ours": lambda: griffin_lim(next_mel(), config), "torchaudio": lambda: plain(next_mel())},
            2 if args.quick else args.rounds,
        )
        power = transform.to_power(log_mels)
        torch.manual_seed(0)
        made = {
            "ours": torch.cat([griffin_lim(mel[None], config) for mel in log_mels]),
            "torchaudio": torch.cat([plain(mel[None]) for mel in log_mels]),
        }
        for key, label in (
            ("ours", f"ours, {ROUNDS} rounds"),
            ("torchaudio", f"torchaudio, {args.plain_rounds} rounds"),
        ):
            found = distances(transform.power(made[key]), power)
            rows.append(
                [
                    f"{name}: {label}",
                    timings.milliseconds(key),
                    timings.ratio("torchaudio", key),
                    found.lsd_20,
                    found.lsd_0,
                    found.loud,
                ]
            )
    report.show(["set and method", "ms a second", "x faster", "LSD-20", "LSD0", "loud"], rows)


def _spread(chunks: Tensor, count: int) -> Tensor:
    if len(chunks) <= count:
        return chunks
    return chunks[torch.linspace(0, len(chunks) - 1, count).round().long()]


if __name__ == "__main__":
    main()
