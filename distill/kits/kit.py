"""A folder with a kit, and the zip beside it: sounds, what samplers read, and what they were made from."""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from distill.audio.sound import EXTENSIONS
from distill.codec.codec import Grid, Samples
from distill.errors import DistillError, StorageError, UsageError
from distill.files import digest_file, plain_name, read_json, replacing, require_absent, storage_errors
from distill.generation.conditioning import draw_grids, target_of
from distill.generation.export import ExportSettings, export
from distill.generation.generator import Generator, waveform_blocks
from distill.generation.seeds import variation_seed
from distill.generation.sound_request import Request
from distill.generation.space import width_of, with_space
from distill.generation.variation import vary_codes
from distill.generation.writing import sound_tags
from distill.kits.formats import Instrument, decent, hydrogen, sfz
from distill.kits.pads import Pad

MOST_LAYERS, MOST_TURNS = 8, 8
# How much of a sound is drawn anew for one that alternates with it.
TURN_STRENGTH = 0.15
# A softer touch is duller: each layer below the hardest falls by 3 dB an octave more above this.
DULL_HZ = 2000.0
DOCUMENT, SCHEMA = "kit.json", 1
# No kit is dated, so that the same sounds give the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_LICENCE = (
    "The sounds of this kit were made by {model}, a model of distill. Whoever has the rights in the sounds that it "
    "learned from says what may be done with these."
)

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Kit:
    """A kit on disk.

    Attributes:
        folder: with the sounds, `NAME.sfz`, `drumkit.xml`, `NAME.dspreset`, `LICENSE.txt` and `kit.json`.
        archive: the same as a zip file.
        instruments: its pads with the names of their files.
    """

    folder: Path
    archive: Path
    instruments: tuple[Instrument, ...]


def make_kit(
    model: Path,
    pads: Sequence[Pad],
    folder: Path,
    *,
    request: Request,
    seed: int = 0,
    layers: int = 1,
    turns: int = 1,
    settings: ExportSettings | None = None,
    licence: str | None = None,
    force: bool = False,
    device: str = "cpu",
    tell: Tell = lambda _done, _count: None,
) -> Kit:
    """Make a sound for each pad, and variations of it for touches and turns, and write them as a kit.

    All sounds have the same loudness, as `distill.generation.finish` gives it: how hard a pad is hit sets its level.

    Args:
        model: a `.distill` file with a prior.
        pads: as `pads_of` gives them.
        folder: the kit; its name is the kit's.
        request: of new sounds that end by themselves; a pad's label takes the place of its own.
        seed: of the first pad; each further one has the next.
        layers: sounds for touches of different strength, the softer the duller, 1 to 8.
        turns: alternating sounds (round robins), 1 to 8.
        settings: how sounds are written.
        licence: what may be done with the sounds; by default a word on whose they are.
        force: whether a kit that is there is replaced.
        device: auto, cpu, cuda, cuda:N or mps.
        tell: told how many sounds are written, and of how many; it may raise to end the work.

    Raises:
        UsageError: a number is out of its range, the folder has no name, or the model has no such label.
        ArtifactError, StorageError: the model cannot be used, or the kit cannot be written.
    """
    if not 1 <= layers <= MOST_LAYERS or not 1 <= turns <= MOST_TURNS:
        raise UsageError(f"velocity layers and round robins are 1 to {MOST_LAYERS} each, not {layers} and {turns}")
    request.check(count=len(pads), seed=seed)
    folder = _place(folder, force)
    generator = Generator.load(model, device)
    width = width_of(generator.codec, request.channels, request.width)
    maker = _Maker(generator, request, settings or ExportSettings(), width, layers, turns)
    sounds: list[dict[str, Any]] = []
    with _whole(folder) as temporary:
        for number, (pad, grid) in enumerate(zip(pads, _grids(generator, pads, request, seed), strict=True)):
            for layer, turn in product(range(layers), range(turns)):
                sounds.append(maker.write(temporary, pad, grid, seed + number, layer, turn))
                tell(len(sounds), len(pads) * layers * turns)
        instruments = tuple(map(maker.instrument, pads))
        made = {"model": generator.name, "digest": generator.digest, "request": request.model_dump(mode="json")}
        text = licence or _LICENCE.format(model=generator.name)
        _write_texts(temporary, folder.name, instruments, {**made, "sounds": sounds}, text)
        return _finished(temporary, folder, instruments, force)


@dataclass(frozen=True)
class _Maker:
    """Makes the sounds of a kit; attributes as for `make_kit`."""

    generator: Generator
    request: Request
    settings: ExportSettings
    width: float | None
    layers: int
    turns: int

    def instrument(self, pad: Pad) -> Instrument:
        """A pad with the names of its files."""
        turns, layers = range(self.turns), range(self.layers)
        return Instrument(pad, tuple(tuple(self._file_name(pad, layer, turn) for turn in turns) for layer in layers))

    def write(self, folder: Path, pad: Pad, grid: Grid, seed: int, layer: int, turn: int) -> dict[str, Any]:
        """Write the sound of a pad for a velocity layer and a turn; its entry in `kit.json`."""
        codec = self.generator.codec
        name = self._file_name(pad, layer, turn)
        if variation := layer * self.turns + turn:
            mid = vary_codes(
                self.generator.prior,
                codec.without_space(grid),
                strength=TURN_STRENGTH,
                config=self.request.config,
                seed=variation_seed(seed, variation),
            )
            # A variation keeps the place of its sound.
            grid = codec.whole(mid, grid[..., -1])
        samples = _waveform(self.generator, grid, self.request, self.layers - 1 - layer)
        exported = export(
            folder / name,
            codec.in_two_channels([samples], grid, self.width),
            codec.spectrogram.sample_rate,
            settings=self.settings,
            tags=sound_tags(self.generator, seed, pad.name),
            seed=seed,
            finish=True,
            trim=True,
        )
        return {
            "file": name,
            "pad": pad.name,
            "label": pad.label,
            "note": pad.note,
            "seed": seed,
            "layer": layer,
            "turn": turn,
            "gain_db": exported.gain_db,
            "samples_digest": exported.samples_digest,
        }

    def _file_name(self, pad: Pad, layer: int, turn: int) -> str:
        several = layer if self.layers > 1 else None, turn if self.turns > 1 else None
        return _file_name(pad, self.settings.format, *several)


def kit_of(sounds: Sequence[Path], pads: Sequence[Pad], folder: Path, *, force: bool = False) -> Kit:
    """Put sounds that are there on pads, one each, as they are.

    Raises:
        UsageError: a file is no sound, or the folder has no name.
        StorageError: a sound cannot be read, or the kit cannot be written.
    """
    folder = _place(folder, force)
    instruments, listed = list[Instrument](), list[dict[str, Any]]()
    with _whole(folder) as temporary:
        for sound, pad in zip(sounds, pads, strict=True):
            if sound.suffix.lower() not in EXTENSIONS:
                raise UsageError(f"{sound.name} is no sound file; known: {', '.join(EXTENSIONS)}")
            name = _file_name(pad, sound.suffix.lower().removeprefix("."), None, None)
            with storage_errors(sound, "read"):
                shutil.copyfile(sound, temporary / name)
            instruments.append(Instrument(pad, ((name,),)))
            listed.append({"file": name, "pad": pad.name, "note": pad.note, "digest": digest_file(sound)})
        text = "Whoever has the rights in these sounds says what may be done with them."
        _write_texts(temporary, folder.name, instruments, {"sounds": listed}, text)
        return _finished(temporary, folder, tuple(instruments), force)


def _grids(generator: Generator, pads: Sequence[Pad], request: Request, seed: int) -> list[Grid]:
    """A grid for each pad, those of one label drawn together."""
    found: dict[int, Grid] = {}
    codec = generator.codec
    wanted = request.frames(codec.spectrogram.sample_rate)
    settings: dict[str, Any] = {"config": request.config, "natural": True}
    for label in dict.fromkeys(pad.label for pad in pads):
        places = [place for place, pad in enumerate(pads) if pad.label == label]
        seeds = [seed + place for place in places]
        target = target_of(request.model_copy(update={"label": label or request.label}), generator.conditions)
        drawn = draw_grids(generator, seeds, wanted, target, **settings)
        found |= {
            place: with_space(codec, grid, seed=of, config=request.config)
            for place, (of, grid, _) in zip(places, drawn, strict=True)
        }
    return [found[place] for place in range(len(pads))]


def _waveform(generator: Generator, codes: Grid, request: Request, softer: int) -> Samples:
    wanted = request.frames(generator.codec.spectrogram.sample_rate)
    samples = np.concatenate(list(waveform_blocks(generator, codes, wanted)))
    return duller(samples, generator.codec.spectrogram.sample_rate, softer) if softer else samples


def duller(samples: Samples, rate: int, softer: int) -> Samples:
    """A sound `[n]` for a touch that is so many layers below the hardest."""
    # Silence behind it keeps what the filter puts before the beginning from the end.
    count = 2 * len(samples)
    hertz = np.fft.rfftfreq(count, 1 / rate)
    spectrum = np.fft.rfft(samples, count) * (1 + (hertz / DULL_HZ) ** 2) ** (-softer / 4)
    return np.fft.irfft(spectrum, count)[: len(samples)].astype(np.float32)


def _file_name(pad: Pad, suffix: str, layer: int | None, turn: int | None) -> str:
    parts = [plain_name(pad.name), f"{pad.note}"]
    parts += [f"v{layer + 1}"] if layer is not None else []
    parts += [f"r{turn + 1}"] if turn is not None else []
    return f"{'-'.join(parts)}.{suffix}"


def _place(folder: Path, force: bool) -> Path:
    """Where a kit goes, with a name.

    Raises:
        UsageError: it has none.
        StorageError: something is in the way that may not be replaced.
    """
    folder = folder.resolve()
    if not folder.name:
        raise UsageError(f"{folder} cannot become a kit: name a folder in it")
    _require_free(folder, force)
    return folder


def _require_free(folder: Path, force: bool) -> None:
    archive = _archive_of(folder)
    for path in (folder, archive):
        if not force:
            require_absent(path, "choose another name, or replace it with --force")
    # Only a kit is ever replaced.
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder} is a file: choose another name")
    if folder.exists():
        if (foreign := _foreign(folder)) is not None:
            raise StorageError(f"{folder} is no kit alone, {foreign} is in it: choose another name")
    elif archive.exists():
        raise StorageError(f"{archive} has no kit beside it: choose another name")


def _foreign(folder: Path) -> str | None:
    """What in a folder is not of a kit; None: nothing."""
    try:
        said = read_json(folder / DOCUMENT, what="list of a kit", schema=SCHEMA)
        known = {DOCUMENT, *said["texts"], *(sound["file"] for sound in said["sounds"])}
    except (DistillError, KeyError, TypeError, OSError):
        known = set()
    return next((path.name for path in sorted(folder.iterdir()) if path.name not in known), None)


def _archive_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.zip")


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder beside the kit's that takes its place when it is finished."""
    with storage_errors(folder, "write"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".kit-"))
        temporary.chmod(0o755)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_texts(
    folder: Path, name: str, instruments: Sequence[Instrument], made: dict[str, Any], licence: str
) -> None:
    stem = plain_name(name)
    texts: dict[str, str] = {
        f"{stem}.sfz": sfz(name, instruments),
        "drumkit.xml": hydrogen(name, instruments, info="Made with distill", licence=licence),
        f"{stem}.dspreset": decent(instruments),
        "LICENSE.txt": f"{licence}\n",
    }
    document = {"schema": SCHEMA, "name": name, "texts": sorted(texts), **made}
    texts[DOCUMENT] = json.dumps(document, indent=2, sort_keys=True) + "\n"
    for file, text in texts.items():
        with storage_errors(folder, "write"):
            (folder / file).write_text(text, encoding="utf-8")


def _finished(temporary: Path, folder: Path, instruments: tuple[Instrument, ...], force: bool) -> Kit:
    # Something may have appeared there meanwhile.
    _require_free(folder, force)
    archive, before = _archive_of(folder), temporary.with_name(f"{temporary.name}-old")
    with storage_errors(folder, "write"):
        if folder.is_dir():
            folder.rename(before)
        try:
            temporary.rename(folder)
        except OSError:
            if before.is_dir():
                before.rename(folder)
            raise
    shutil.rmtree(before, ignore_errors=True)
    with replacing(archive) as target, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(f"{folder.name}/{path.name}", _DATE)
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, path.read_bytes())
    return Kit(folder, archive, instruments)
