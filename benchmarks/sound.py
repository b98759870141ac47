"""What the way from sound to log mel and back, and through the codec, does to what one hears.

Held-out sounds of at most two seconds, each at a peak of 1, go through their true log mel and Griffin-Lim (`true mel`,
the ceiling of the codec) and through the VQ-VAE's as well (`codec`), trained for each set and seed by the pipeline's
own stages. What lies between the two rows is the codec's error, what lies between the first and the sounds themselves
the inverse's. `mp3` is the same as MP3 at 32 kbit/s: it says what a figure means. With `--seeds 0` nothing is trained,
and all sounds of a set go through their true log mels. `--vocoder` adds the ways of the included vocoder, as it is, to
both. `--keep` keeps the trained workspaces.

Means over all sounds: `MOS`, with `--mos`, is ViSQOL's opinion score in audio mode (`pip install visqol-python`) of a
sound with a peak of 0.5, a tenth of a second of silence before and half a second or more behind it; a sound itself has
4.73. LSD-20 is that of measures.py, SC the spectral convergence over windows of 2048, 1024 and 512. Medians over all
sounds: `pre-echo` and `attack` at the attack, with a third of a second of silence and a part of a hop before the sound,
`decay`, the first sample, and the level (waves.py), and `texture` (texture.py). The level through the codec is the one
that a grid of codes knows of its sound. Medians over noisy sounds, of which there are so many: `buzz`, the modulation
at the hop rate, and `regularity`. `partials` is the share that is kept of all partials, `column` the excess of change
where columns meet. The row `original` has the same of the sounds themselves.
"""

import argparse
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

from distill.artifact.model_file import read_model
from distill.audio.mel import MelTransform
from distill.codec.codec import Codec
from distill.codec.load import build_networks
from distill.configs import STRIDE, Inverse, SpectrogramConfig, VocoderConfig
from distill.dataset.store import PreparedDataset
from distill.dataset.walk import find_files
from distill.models.stft_losses import multi_resolution
from distill.models.vocoder import Vocoder, invert
from distill.params import Params, with_settings
from distill.stages.base import SHIPPED_VOCODER, VOCODER_DIGEST, vocoder_weights
from measures import distances
from output import Report, parser, sounds
from texture import column_excess, column_steps, partials_kept, regularity, texture_error
from waves import Samples, attack_of, attack_time, decay_error, first_sample, is_noisy, level, modulation, pre_echo
from workspaces import files, kept, train, waveforms

import numpy as np
import soundfile
import torch
from scipy.signal import correlate

MOST_SECONDS = 2.0
COLUMNS = [
    "set and way",
    "sounds",
    "MOS",
    "LSD-20",
    "SC",
    "pre-echo",
    "attack",
    "decay",
    "first sample",
    "level",
    "texture",
    "noisy",
    "buzz",
    "regularity",
    "partials",
    "column",
]
OF_VOCODER: tuple[Inverse, ...] = ("vocoder", "vocoder+griffin-lim")
# libsndfile's word for the lowest rate of 48 kHz.
_LOWEST_RATE = 0.99

# From samples `[n]` of whole hops to what is heard of them.
Way = Callable[[Samples], Samples]
Score = Callable[[Samples, Samples], float]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", default=["kit", "mixed", "tabla", "digits"], help="folders of sounds")
    options.add_argument("--seeds", type=int, default=3, help="seeds 0 to n-1, each with its own split; 0: no codec")
    options.add_argument("--mos", action="store_true", help="ViSQOL's mean opinion score, which takes its time")
    options.add_argument("--vocoder", action="store_true", help="also the ways of the included vocoder")
    options.add_argument("--set", action="append", default=[], help="section.key=value, as in the command")
    options.add_argument("--keep", type=Path, help="folder for the workspaces; one that is trained is taken as it is")
    args = options.parse_args()
    config = with_settings(Params(), args.set).spectrogram
    torch.set_num_threads(args.threads)
    report, rows = Report(args), list[list[Any]]()
    score = _scorer(config.sample_rate) if args.mos else None
    for name in args.sets:
        if not args.seeds:
            paths = [found.path for found in find_files(sounds(name))]
            found = _beginnings(paths[:4] if args.quick else paths, config)
            ways = {"true mel": _true_mel(config), "mp3": mp3(config)}
            if args.vocoder:
                network = _included_vocoder(config)
                ways |= {f"true mel, {inverse}": _true_mel(config, inverse, network) for inverse in OF_VOCODER}
            rows += _rows(name, found, ways, config, score)
        for seed in range(1 if args.quick and args.seeds else args.seeds):
            codec, held_out = _trained(name, seed, args)
            own = codec.spectrogram
            ways = {"true mel": _true_mel(own), "codec": _through(codec), "mp3": mp3(own)}
            if args.vocoder:
                network = _included_vocoder(own)
                for inverse in OF_VOCODER:
                    ways |= {f"true mel, {inverse}": _true_mel(own, inverse, network)}
                    ways |= {f"codec, {inverse}": _through(codec, inverse, network)}
            rows += _rows(f"{name} {seed}", _beginnings(held_out, own), ways, own, score)
    report.show(COLUMNS, rows, settings={"set": args.set})


def _trained(name: str, seed: int, args: argparse.Namespace) -> tuple[Codec, list[Path]]:
    with kept(name, seed, args) as workspace:
        if not workspace.vqvae.exists():
            train(workspace, "train_vqvae")
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(args.threads)
        model, dataset = read_model(workspace.vqvae), PreparedDataset(workspace.prepared)
        codec = Codec(build_networks(model, workspace.vqvae).vqvae, model.manifest.spectrogram_config)
        return codec, files(dataset, "validation", name)


def _included_vocoder(config: SpectrogramConfig) -> Vocoder:
    if config != SpectrogramConfig():
        raise SystemExit("the included vocoder is for the spectrogram as it is by default")
    network = Vocoder(VocoderConfig().hidden, VocoderConfig().blocks, config).eval()
    network.load_state_dict(vocoder_weights(SHIPPED_VOCODER, VOCODER_DIGEST))
    return network


def _true_mel(config: SpectrogramConfig, inverse: Inverse = "griffin-lim", vocoder: Vocoder | None = None) -> Way:
    transform = MelTransform(config)

    def way(samples: Samples) -> Samples:
        log_mel = transform.log_mel(torch.from_numpy(samples))[None]
        made: Samples = invert(log_mel, config, inverse=inverse, vocoder=vocoder)[0].numpy()
        return made

    return way


def _through(codec: Codec, inverse: Inverse = "griffin-lim", vocoder: Vocoder | None = None) -> Way:
    transform = MelTransform(codec.spectrogram)

    def way(samples: Samples) -> Samples:
        log_mel = transform.log_mel(torch.from_numpy(samples)).numpy()
        grid = codec.encode_log_mel(log_mel)
        rebuilt = torch.from_numpy(codec.decode_log_mel(grid)[:, : log_mel.shape[-1]])
        made: Samples = invert(rebuilt[None], codec.spectrogram, inverse=inverse, vocoder=vocoder)[0].numpy()
        return made * np.float32(10 ** (codec.lost_db(log_mel, grid) / 20))

    return way


def mp3(config: SpectrogramConfig) -> Way:
    """The way through MP3 at 32 kbit/s."""
    settings: dict[str, Any] = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT"}

    def way(samples: Samples) -> Samples:
        file = io.BytesIO()
        soundfile.write(file, samples, config.sample_rate, compression_level=_LOWEST_RATE, **settings)
        file.seek(0)
        made, _ = soundfile.read(file, dtype="float32")
        # The codec's own delay says nothing of how it sounds.
        late = int(np.argmax(correlate(made, samples, "full"))) - (len(samples) - 1)
        return np.pad(made, (max(-late, 0), len(samples)))[max(late, 0) :][: len(samples)]

    return way


def _beginnings(paths: list[Path], config: SpectrogramConfig) -> list[Samples]:
    """Beginnings of sounds, of whole hops."""
    whole = [each[: int(MOST_SECONDS * config.sample_rate)] for each in waveforms(paths, config.sample_rate)]
    return [np.pad(each, (0, -len(each) % config.hop_length)) for each in whole]


def _rows(
    name: str, found: list[Samples], ways: dict[str, Way], config: SpectrogramConfig, score: Score | None
) -> Iterator[list[Any]]:
    yield [f"{name}: original", *_figures(found, lambda samples: samples, config, score)]
    for label, way in ways.items():
        yield [f"{name}: {label}", *_figures(found, way, config, score)]


def _figures(found: list[Samples], way: Way, config: SpectrogramConfig, score: Score | None) -> list[Any]:
    rate, hop, transform = config.sample_rate, config.hop_length, MelTransform(config)
    apart, echoes, others, noisy, partials, steps, scores = ([] for _ in range(7))
    for index, samples in enumerate(found):
        made = way(samples)
        waves = [torch.from_numpy(each)[None] for each in (made, samples)]
        convergence, _ = multi_resolution(*waves)
        apart.append((distances(*(transform.power(wave) for wave in waves)).lsd_20, float(convergence)))
        # Attacks lie anywhere between two frames.
        part = index * 97 % hop
        behind = np.pad(samples, (rate // 3 // hop * hop + part, -part % hop))
        attack, heard = attack_of(behind), way(behind)
        echoes.append((pre_echo(heard, rate, attack), attack_time(heard, rate, attack)))
        others.append(
            (
                decay_error(made, samples),
                first_sample(made),
                level(made, samples),
                texture_error(made, samples, rate),
            )
        )
        if is_noisy(samples, rate):
            noisy.append((modulation(made, rate, rate / hop), regularity(made, rate)))
        partials.append(partials_kept(made, samples, rate))
        steps.append(column_steps(made, rate, hop, STRIDE))
        if score:
            scores.append(score(samples, made))
    share, total = (sum(each) for each in zip(*partials, strict=True))
    return [
        len(found),
        mean(scores) if scores else None,
        *(mean(column) for column in zip(*apart, strict=True)),
        *(median(column) for rows in (echoes, others) for column in zip(*rows, strict=True)),
        len(noisy),
        *([median(column) for column in zip(*noisy, strict=True)] or [None, None]),
        share / total if total else None,
        column_excess(steps),
    ]


def _scorer(rate: int) -> Score:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="audio")

    def score(original: Samples, made: Samples) -> float:
        # Of less than a second it has no opinion.
        around = (rate // 10, max(rate // 2, rate - len(original)))
        scaled = (0.5 * each.astype(np.float64) / max(np.abs(each).max(), 1e-9) for each in (original, made))
        ready = [np.pad(each, around) for each in scaled]
        return float(api.measure_from_arrays(ready[0], ready[1], rate).moslqo)

    return score


if __name__ == "__main__":
    main()
