"""How far copies of recorded sounds are from them, and different sounds of a folder from each other.

python benchmarks/near_duplicates.py FOLDER...
"""

from collections.abc import Iterator
from io import BytesIO

from distill.audio.mel import MelTransform
from distill.audio.timbre import timbre_of
from distill.dataset.excerpts import CONFIG, MOST_FRAMES, measured
from distill.dataset.scan import scan
from distill.dataset.walk import find_files
from distill.memorization.near_duplicates import ALIKE, CANDIDATES, alike, candidates, distance
from output import Report, parser, sounds

import numpy as np
import soundfile
import soxr
import torch

FOLDERS = ("kit", "drums", "mixed", "tabla", "digits")
# Sounds of a folder that are copied.
MOST_SOUNDS = 30
LIMITS = (0.05, ALIKE, 0.15)


def coded(samples: np.ndarray, rate: int, kind: str, subtype: str) -> tuple[np.ndarray, int]:
    """A sound written and read again."""
    stream = BytesIO()
    soundfile.write(stream, samples, rate, format=kind, subtype=subtype)
    stream.seek(0)
    read, rate = soundfile.read(stream, dtype="float32", always_2d=True)
    return read, rate


def copies(samples: np.ndarray, rate: int, seed: int) -> Iterator[tuple[str, np.ndarray, int]]:
    """Changed copies of a sound `[n, channels]`, each with its name and its sample rate."""
    top = np.abs(samples).max()
    hiss = np.random.default_rng(seed).standard_normal(samples.shape).astype(np.float32)
    if rate in (8_000, 44_100, 48_000):
        yield "mp3", *coded(samples, rate, "MP3", "MPEG_LAYER_III")
    yield "Ogg Vorbis", *coded(samples, rate, "OGG", "VORBIS")
    yield "12 dB softer", samples / 4, rate
    yield "8 bits", np.round(samples / top * 127) / 127, rate
    yield "22,050 Hz", soxr.resample(samples, rate, 22_050), 22_050
    yield "overdriven by 6 dB", np.clip(2 * samples / top, -1, 1), rate
    yield "hiss at -40 dB", samples + 0.01 * top * hiss, rate
    yield "half a second later", np.concatenate([np.zeros((rate // 2, samples.shape[1]), np.float32), samples]), rate
    yield "without its last 30 %", samples[: max(1, round(0.7 * len(samples)))], rate
    yield "1 % higher", soxr.resample(samples, 1.01 * rate, rate), rate
    yield "a semitone higher", soxr.resample(samples, 2 ** (1 / 12) * rate, rate), rate


def main() -> None:
    """Show how far copies are, and how many pairs of each folder are as near."""
    args = parser(__doc__).parse_args()
    torch.set_num_threads(args.threads)
    report, transform = Report(args), MelTransform(CONFIG)
    every: dict[str, list[tuple[float, bool]]] = {}
    pairs: dict[str, list[int]] = {}
    for name in FOLDERS[:1] if args.quick else FOLDERS:
        folder = sounds(name)
        paths = {each.name: each.path for each in find_files(folder)}
        known = {each.name: each.log_mel.astype(np.float32) for each in measured(folder, scan(folder))}
        names, mels = list(known), list(known.values())
        timbres = [timbre_of(each, CONFIG) for each in mels]
        found = alike(timbres, mels.__getitem__, CONFIG, limit=LIMITS[-1])
        pairs[name] = [len(names), *(sum(each.distance < limit for each in found) for limit in LIMITS)]
        for index in np.linspace(0, len(names) - 1, min(len(names), MOST_SOUNDS)).astype(int):
            samples, rate = soundfile.read(paths[names[index]], dtype="float32", always_2d=True)
            for kind, changed, changed_rate in copies(samples, rate, int(index)):
                mono = soxr.resample(changed.mean(1), changed_rate, CONFIG.sample_rate).astype(np.float32)
                mel = transform.log_mel(torch.from_numpy(mono / np.abs(mono).max())).half().float().numpy()
                mel = mel[:, :MOST_FRAMES]
                seen = (int(index), len(mels)) in candidates([*timbres, timbre_of(mel, CONFIG)])
                every.setdefault(kind, []).append((distance(mel, mels[index], CONFIG), seen))
    rows = []
    for kind, each in every.items():
        near = [seen for apart, seen in each if apart < ALIKE]
        median = float(np.median([apart for apart, _ in each]))
        rows.append([kind, median, len(near) / len(each), float(np.mean(near)) if near else None])
    columns = ["copy", "median distance", f"share within {ALIKE}", f"of these among {CANDIDATES} nearest timbres"]
    report.show(columns, rows, sounds_and_pairs_within=dict(limits=list(LIMITS), **pairs))


if __name__ == "__main__":
    main()
