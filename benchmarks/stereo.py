"""Where sounds lie between two channels: how far the codec and the prior keep it.

The set `made` is 60 mono sounds of kit, drums, tabla and mixed, to each of which its place is given: 20 are panned from
hard left to hard right, 20 have a side of known level that has nothing to do with the mid, 20 stand in a room of known
length. Others are folders of real sounds. For each set and seed a workspace in `--keep` goes through prepare,
configure, train_vqvae and train_prior.

Held-out stereo sounds of at most two seconds go through the codec and back (`codec`), or only their place does, with
the mix as it was (`place alone`):

- `level`, `coherence`: distance of the level differences in dB and of the coherences of 16 bands, median over frames
  and bands that lie 20 dB above the floor;
- `LSD M`, `LSD L`, `LSD R`: log-spectral distance of mix, left and right (LSD-20 of measures.py), mean over sounds;
- `other side`: of sounds that are hard left or right, how far below the channel that sounds the other one lies, in dB,
  the least of them.

`width`: Wasserstein distance of the levels of the side relative to the mix, in dB (-45 for mono), of 128 new sounds
from the training's; `floor`: the same of the held-out sounds. `share`: time that the space takes of train_vqvae and
train_prior together.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distill.audio.downmix import LEAST_SIDE_DB
from distill.audio.invert import griffin_lim
from distill.audio.mel import MelTransform
from distill.audio.samples import mixed, resample, two_channels
from distill.audio.sound import read_sound
from distill.audio.space import BAND_MELS, band_powers, in_two, side_of, space_of_sound
from distill.codec.codec import Codec, Samples
from distill.dataset.store import PreparedDataset
from distill.dataset.walk import find_files
from distill.files import read_json, write_json
from distill.generation.sound_request import Request
from distill.generation.sounds import new_sounds
from distill.live.events import Event, Listeners, Progress
from distill.live.stop_request import StopRequest
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from measures import distances
from output import Report, parser, sounds
from workspaces import files, generator_of, prepared

import numpy as np
import soundfile
import torch
from scipy.stats import wasserstein_distance

MOST_SECONDS, NEW, RATE = 2.0, 128, 48_000
MADE = 60
COLUMNS = [
    "set and way", "sounds", "level", "coherence", "LSD M", "LSD L", "LSD R", "other side", "width", "floor", "share"
]  # fmt: skip


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", default=["made", "tabla", "mixed"], help="made, or folders of sounds")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="each with its own split")
    options.add_argument("--keep", type=Path, required=True, help="folder for the workspaces; what is there is taken")
    options.add_argument("--set", action="append", default=[], help="section.key=value, as in the command")
    args = options.parse_args()
    report, rows = Report(args), list[list[Any]]()
    for name in args.sets:
        folder = str(_made(args.keep / "sounds")) if name == "made" else name
        for seed in args.seeds:
            rows += _rows(f"{name} {seed}", folder, seed, args)
    report.show(COLUMNS, rows)


def _made(folder: Path) -> Path:
    """The set `made`, written where it is not there yet."""
    if folder.is_dir():
        return folder.resolve()
    paths = [found.path for each in ("kit", "drums", "tabla", "mixed") for found in find_files(sounds(each))]
    found: dict[str, Samples] = {}
    for path in paths:
        sound = read_sound(path) if path.suffix.lower() == ".wav" else None
        if sound is not None and len(sound.samples) == 1 and 0.08 < sound.seconds < 2.5:
            samples = resample(sound.samples[0], sound.sample_rate, RATE)
            found.setdefault(path.name, (samples / np.abs(samples).max()).astype(np.float32))
    random = np.random.default_rng(0)
    names = [sorted(found)[index] for index in random.permutation(len(found))[:MADE]]
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        kind, share = ("pan", "width", "room")[number % 3], (number // 3) / (MADE // 3 - 1)
        channels = {"pan": _panned, "width": _widened, "room": _in_room}[kind](found[name], share, random)
        channels *= 0.8 / np.abs(channels).max()
        soundfile.write(folder / f"{number:02d}_{kind}_{share:.2f}.wav", channels.T, RATE, subtype="PCM_24")
    return folder.resolve()


def _panned(samples: Samples, share: float, _random: np.random.Generator) -> np.ndarray:
    return np.array([[np.cos(share * np.pi / 2)], [np.sin(share * np.pi / 2)]]) * samples


def _widened(samples: Samples, share: float, random: np.random.Generator) -> np.ndarray:
    noise = random.standard_normal(960) * np.exp(-np.arange(960) / 192)
    side = np.convolve(samples, noise / np.sqrt(np.sum(noise**2)))[: len(samples)] * (0.1 + 0.9 * share)
    return np.stack([samples + side, samples - side])


def _in_room(samples: Samples, share: float, random: np.random.Generator) -> np.ndarray:
    length = round((0.15 + 0.65 * share) * RATE)
    decay = random.standard_normal((2, length)) * 10 ** (-3 * np.arange(length) / length)
    decay *= 0.5 / np.sqrt(np.sum(decay**2, axis=1, keepdims=True))
    decay[:, :1] += _panned(np.ones(1, np.float32), random.uniform(0.15, 0.85), random)
    return np.stack([np.convolve(samples, channel) for channel in decay])


def _rows(label: str, folder: str, seed: int, args: argparse.Namespace) -> list[list[Any]]:
    workspace = Workspace(args.keep / label.replace(" ", "-"))
    if not workspace.config("train_vqvae").exists():
        prepared(workspace.root, folder, seed, args)
    for stage, made in (("train_vqvae", workspace.vqvae), ("train_prior", workspace.prior)):
        if not made.exists():
            _timed_stage(workspace, stage)
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(args.threads)
    generator, dataset = generator_of(workspace), PreparedDataset(workspace.prepared)
    codec, held_out = generator.codec, files(dataset, "validation", folder)
    stereo = [each for path in held_out if (each := _beginning(path)) is not None]
    rows = [
        [f"{label}: {way}", len(stereo), *_figures(stereo, codec, made), None, None, None]
        for way, made in {"place alone": _placed_alone, "codec": _through}.items()
    ]
    new = new_sounds(generator, Request(seconds=3.0, natural=True), None, range(4 if args.quick else NEW))
    sides = [_side_db(np.concatenate(list(made.blocks)).T) for _, made in new]
    known, learned = ([_side_of_file(path) for path in each] for each in (held_out, files(dataset, "train", folder)))
    rows[-1][-3:] = [wasserstein_distance(sides, learned), wasserstein_distance(learned, known), _share(workspace)]
    return rows


def _beginning(path: Path) -> Samples | None:
    """The first seconds of a stereo sound `[2, n]` in whole hops, its mix at a peak of 1; None: both are alike."""
    channels = two_channels(read_sound(path), RATE)
    if channels is None:
        return None
    part = channels[:, : round(MOST_SECONDS * RATE)]
    part = part / max(float(np.abs(part.mean(0)).max()), 1e-6)
    return np.pad(part, ((0, 0), (0, -part.shape[1] % 512))).astype(np.float32)


def _placed_alone(codec: Codec, channels: Samples) -> Samples:
    return in_two(mid := channels.mean(0), side_of(mid, _coded(codec, channels), codec.spectrogram))


def _through(codec: Codec, channels: Samples) -> Samples:
    log_mel = codec.log_mel(channels.mean(0))
    grid = codec.encode_log_mel(log_mel)
    rebuilt = torch.from_numpy(codec.decode_log_mel(grid)[:, : log_mel.shape[1]])
    mid = griffin_lim(rebuilt[None], codec.spectrogram)[0].numpy()
    mid *= np.float32(10 ** (codec.lost_db(log_mel, grid) / 20))
    return in_two(mid, side_of(mid, _coded(codec, channels), codec.spectrogram))


def _coded(codec: Codec, channels: Samples) -> Samples:
    columns = codec.columns_of(channels.shape[1])
    found = codec.space_of(codec.whole(np.zeros((columns, codec.bands, codec.levels), np.int64),
                                       codec.space_codes(channels, columns)))  # fmt: skip
    assert found is not None
    return found


def _figures(stereo: list[Samples], codec: Codec, way: Callable[[Codec, Samples], Samples]) -> list[Any]:
    transform = MelTransform(codec.spectrogram)
    apart, spectral, others = list[np.ndarray](), list[list[float]](), list[float]()
    for channels in stereo:
        made = way(codec, channels)
        channels = channels[:, : made.shape[1]]
        power = band_powers(transform.power_frames(torch.from_numpy(channels.mean(0))))
        sounding = power > 100 * BAND_MELS * transform.floor
        apart.append(np.abs(space_of_sound(made, transform) - space_of_sound(channels, transform))[sounding])
        waves = [(each.mean(0), each[0], each[1]) for each in (made, channels)]
        pairs = [
            [torch.from_numpy(np.ascontiguousarray(each))[None] for each in pair] for pair in zip(*waves, strict=True)
        ]
        spectral.append([_lsd(transform, *pair) for pair in pairs])
        powers = np.square(channels, dtype=np.float64).sum(1)
        if powers.min() < 1e-4 * powers.max():
            of_made = np.square(made, dtype=np.float64).sum(1)
            others.append(float(10 * np.log10(of_made[powers.argmax()] / max(float(of_made[powers.argmin()]), 1e-12))))
    level, coherence = np.median(np.concatenate(apart), axis=0)
    means = [float(np.nanmean(column)) for column in zip(*spectral, strict=True)]
    return [float(level), float(coherence), *means, min(others, default=None)]


def _lsd(transform: MelTransform, made: torch.Tensor, wave: torch.Tensor) -> float:
    """The log-spectral distance of a wave; NaN of one that is silent."""
    if float(wave.abs().max()) < 1e-3:
        return float("nan")
    return distances(transform.power(made), transform.power(wave)).lsd_20


def _side_db(channels: Samples) -> float:
    found = mixed(channels)[0].side_db
    return LEAST_SIDE_DB if found is None else found


def _side_of_file(path: Path) -> float:
    samples = read_sound(path).samples
    return _side_db(samples) if len(samples) == 2 else LEAST_SIDE_DB


def _timed_stage(workspace: Workspace, stage: str) -> None:
    """Run a stage, and note the seconds that it took, and those from the first step of the space on."""
    times: list[float] = []

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.unit == "steps of the space":
            times.append(time.perf_counter())

    begun = time.perf_counter()
    run_stage(stage, Call(workspace, Listeners([listen]), StopRequest()))
    ended = time.perf_counter()
    noted = {"schema": 1, "seconds": ended - begun, "space": ended - times[0] if times else 0.0}
    write_json(workspace.root / f"{stage}-seconds.json", noted)


def _share(workspace: Workspace) -> float | None:
    """Time of the space over that of both trainings."""
    paths = [workspace.root / f"{stage}-seconds.json" for stage in ("train_vqvae", "train_prior")]
    if not all(path.exists() for path in paths):
        return None
    noted = [read_json(path, what="time", schema=1) for path in paths]
    return float(noted[1]["space"]) / sum(float(each["seconds"]) for each in noted)


if __name__ == "__main__":
    main()
