"""Sounds made and written one after the other, each with its sidecar."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from distill import __version__
from distill.audio.sound import BLOCK_FRAMES, Sound, read_sound
from distill.codec.codec import Grid
from distill.errors import DataError, UsageError
from distill.files import digest_file, require_absent, require_folder
from distill.generation.autoregressive import heard_columns
from distill.generation.conditioning import Target, target_of
from distill.generation.continuation import part_in_columns
from distill.generation.export import Exported, ExportSettings, Tags, export
from distill.generation.generator import Generator
from distill.generation.limits import MAX_COUNT, MAX_SEED
from distill.generation.sidecar import (
    Environment,
    NamedFile,
    Properties,
    Sidecar,
    WrittenSound,
    export_part,
    named_file,
    sidecar_of,
    write_sidecar,
)
from distill.generation.sound_request import Request
from distill.generation.sounds import Made, changed_sound, new_sounds
from distill.generation.space import width_of

logger = logging.getLogger(__name__)

MOST_STEPS = 99


@dataclass(frozen=True)
class Destination:
    """Where sounds go.

    Attributes:
        folder: made where it is missing.
        settings: how they are written.
        sidecars: whether each gets one.
        force: whether files that exist are replaced.
    """

    folder: Path
    settings: ExportSettings = field(default_factory=ExportSettings)
    sidecars: bool = True
    force: bool = False


@dataclass(frozen=True)
class Written:
    """A sound on disk; `sidecar` is None where none was asked for, `got` where nothing was that is measured.

    Its codes are those of what is new and, of a given sound, of what the model heard or of the whole that became of it.
    """

    path: Path
    sidecar: Path | None
    seed: int
    exported: Exported
    codes: Grid = field(repr=False, compare=False)
    got: Properties | None = None

    @property
    def seconds(self) -> float:
        """Duration in s."""
        return self.exported.frames / self.exported.sample_rate


def produce(
    model: Path,
    request: Request,
    destination: Destination,
    *,
    count: int = 1,
    seed: int | None = 0,
    seeds: Sequence[int] | None = None,
    source: Path | None = None,
    device: str = "cpu",
) -> Iterator[Written]:
    """Make sounds and write each as soon as it is there, as `STEM_SEED.FORMAT`.

    STEM is the model's, or the given sound's with what was done to it. Everything that can be wrong with the call is
    found before the first sound is made.

    Args:
        model: a `.distill` file with a prior.
        request: what to make.
        destination: where to.
        count: number of sounds.
        seed: seed of the first; each further one has the next. None: the first behind those of the sounds that are
            there already, or 0 where files may be replaced.
        seeds: those of all sounds, in place of `count` and `seed`, for which no file stands in the way.
        source: the sound to continue, to fill or to vary.
        device: auto, cpu, cuda, cuda:N or mps.

    Returns:
        The written sounds, each when it is there.

    Raises:
        UsageError: a number is out of its range, or the format cannot hold the sounds.
        StorageError: a file exists (without `force`) or cannot be read or written.
        ArtifactError: the model cannot be used.
        DataError: the given sound cannot be used.
    """
    request.check(count=count, seed=seed or 0)
    if (source is None) != (request.action == "generate"):
        raise UsageError("a sound to continue, to fill or to vary must be given, and only there")
    # Loaded first: what is wrong with the settings counts more than a file that is there.
    producer = Producer.load(model, request, [source] if source else [], destination, device)
    stem = model.stem if source is None else f"{source.stem}_{request.action}"
    seeds = free_seeds(stem, destination, count=count, seed=seed) if seeds is None else seeds
    request.check(count=count, seed=seeds[0])
    return producer.run(seeds, [_named(stem, destination, each) for each in seeds])


def free_seeds(stem: str, destination: Destination, *, count: int, seed: int | None) -> Sequence[int]:
    """Seeds of sounds of a stem for which no file stands in the way; of no seed at all those behind what is there.

    Raises:
        StorageError: a file exists, and may not be replaced.
    """
    if seed is None:
        seed = 0 if destination.force else _next_seed(destination.folder, stem)
    seeds = range(seed, seed + count)
    require_free([_named(stem, destination, each) for each in seeds], destination, "another folder or seed")
    return seeds


def _named(stem: str, destination: Destination, seed: int) -> Path:
    return destination.folder / f"{stem}_{seed:04d}.{destination.settings.format}"


def require_series(steps: int) -> None:
    """Require that a series from one sound to another can have so many.

    Raises:
        UsageError: it cannot.
    """
    if not 2 <= steps <= MOST_STEPS:
        raise UsageError(f"a series has 2 to {MOST_STEPS} sounds, not {steps}")


def morph(
    model: Path,
    sound: Path,
    other: Path,
    destination: Destination,
    *,
    steps: int,
    ends: bool = True,
    first: int = 1,
    request: Request | None = None,
    device: str = "cpu",
) -> Iterator[Written]:
    """Make a series from one sound to another and write each as soon as it is there, as `STEM_OTHER_01.FORMAT` on.

    With `ends` the first and the last are what the model makes of the two sounds themselves.

    Args:
        model: a `.distill` file with a prior.
        sound: where the series begins.
        other: where it ends.
        destination: where to.
        steps: sounds of the series, 2 or more.
        ends: whether the series has both ends.
        first: the number of the first file.
        request: of one of the sounds, for its channels and width.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        UsageError, StorageError, ArtifactError, DataError: as `produce`.
    """
    require_series(steps)
    weights = (
        [step / (steps - 1) for step in range(steps)] if ends else [step / (steps + 1) for step in range(1, steps + 1)]
    )
    series = request or Request(action="morph", weight=0.0)
    requests = [series.model_copy(update={"weight": weight}) for weight in weights]
    producer = Producer.load(model, requests[0], [sound, other], destination, device)
    suffix = destination.settings.format
    paths = [destination.folder / f"{sound.stem}_{other.stem}_{first + step:02d}.{suffix}" for step in range(steps)]
    require_free(paths, destination)

    def made() -> Iterator[Written]:
        for index, (request, path) in enumerate(zip(requests, paths, strict=True)):
            yield from replace(producer, request=request).run([0], [path], index)

    return made()


def _next_seed(folder: Path, stem: str) -> int:
    """The first seed behind those of the sounds of this stem in a folder, whatever their format."""
    seeds = re.compile(re.escape(stem) + r"_([0-9]{4,})\.[^/]+")
    there = [match for path in folder.glob("*") if (match := seeds.fullmatch(path.name))]
    # Behind the largest seeds there are not enough.
    return max((seed for match in there if (seed := int(match[1])) < MAX_SEED - MAX_COUNT), default=-1) + 1


@dataclass(frozen=True)
class _Given:
    """A given sound, where it lies, and the digest of its file."""

    path: Path
    digest: str
    sound: Sound

    @classmethod
    def read(cls, path: Path) -> "_Given":
        given = cls(path, digest_file(path), read_sound(path))
        if given.sound.note:
            logger.warning("%s: %s", path, given.sound.note)
        return given


@dataclass(frozen=True)
class Producer:
    """A loaded model with a request; what it makes depends on the seed alone."""

    model: Path
    generator: Generator
    request: Request
    given: tuple[_Given, ...]
    destination: Destination
    environment: Environment
    target: Target | None

    @classmethod
    def load(
        cls, model: Path, request: Request, sources: Sequence[Path], destination: Destination, device: str
    ) -> "Producer":
        given = tuple(map(_Given.read, sources))
        generator = Generator.load(model, device)
        request.config.of_levels(generator.codec.levels)
        if request.action in ("continue", "fill"):
            [of] = given
            destination.settings.require_held(
                destination.settings.sample_rate or of.sound.sample_rate, len(of.sound.samples)
            )
        environment = Environment.here(generator.codec.device.type)
        target = target_of(request, generator.conditions)
        width_of(generator.codec, request.channels, request.width)
        return cls(model, generator, request, given, destination, environment, target)

    def run(self, seeds: Sequence[int], paths: Sequence[Path], index: int = 0) -> Iterator[Written]:
        """Make and write a sound a seed; `index` is the place of the first among those that are made together."""
        self._say_what_is_heard()
        for place, (seed, made) in enumerate(self._sounds(seeds)):
            yield self._write(made, seed, paths[place], index + place)

    def _sounds(self, seeds: Sequence[int]) -> Iterator[tuple[int, Made]]:
        if not self.given:
            rate = self.destination.settings.sample_rate
            yield from new_sounds(self.generator, self.request, self.target, seeds, rate)
            return
        for seed in seeds:
            try:
                sound, got = changed_sound(self.generator, self.request, [each.sound for each in self.given], seed)
            except DataError as error:
                raise DataError(f"{' and '.join(str(each.path) for each in self.given)}: {error}") from error
            frames = sound.samples.T
            blocks = (frames[first : first + BLOCK_FRAMES] for first in range(0, len(frames), BLOCK_FRAMES))
            yield seed, Made(blocks, sound.sample_rate, level_given=True, frames=None, codes=sound.grid, got=got)

    def _say_what_is_heard(self) -> None:
        if self.request.action not in ("continue", "fill"):
            return
        [given] = self.given
        codec, seconds = self.generator.codec, given.sound.seconds
        column = codec.column_samples / codec.spectrogram.sample_rate
        if self.request.action == "continue":
            heard = heard_columns(self.generator.prior) * column
            if seconds > heard:
                logger.info("%s is longer than the model's context: it hears only the last %.1f s", given.path, heard)
            return
        first, last = part_in_columns(codec, given.sound, self.request.start or 0.0, self.request.end or 0.0)
        begin, end = first * column, min(last * column, seconds)
        logger.info("%s: made again from %.3f s to %.3f s (whole columns of %.3f s)", given.path, begin, end, column)
        if begin == 0 and end == seconds and self.request.levels is None:
            logger.warning("%s: that is all of the sound; nothing of it stays", given.path)

    def _write(self, made: Made, seed: int, path: Path, index: int) -> Written:
        generator, sidecar = self.generator, sidecar_of(path)
        # Somebody else may have written there meanwhile.
        require_free([path], self.destination)
        exported = export(
            path,
            made.blocks,
            made.sample_rate,
            settings=self.destination.settings,
            tags=sound_tags(generator, seed, path.stem if self.given else None),
            seed=seed,
            level_given=made.level_given,
            frames=made.frames,
            finish=self.request.finish,
            trim=self.request.natural,
            loop=made.loop,
        )
        if made.level_given and exported.gain_db:
            logger.info("%s is %.2f dB softer than the given sound, so that nothing clips", path, -exported.gain_db)
        if not self.destination.sidecars:
            # One from before would speak of another sound.
            sidecar.unlink(missing_ok=True)
            return Written(path, None, seed, exported, made.codes, made.got)
        sound = WrittenSound(file=path.name, seed=seed, index=index, **vars(exported))
        given: list[NamedFile | None] = [named_file(each.path, each.digest, sidecar) for each in self.given]
        given_file, other_file, *_ = [*given, None, None]
        write_sidecar(
            sidecar,
            Sidecar(
                sound=sound,
                request=self.request,
                export=export_part(self.destination.settings),
                model_name=generator.name,
                model_file=named_file(self.model, generator.digest, sidecar),
                given_file=given_file,
                other_file=other_file,
                environment=self.environment,
                got=made.got,
            ),
        )
        return Written(path, sidecar, seed, exported, made.codes, made.got)


def sound_tags(generator: Generator, seed: int, title: str | None = None) -> Tags:
    """The words within a sound's file; the title is by default that of a new sound."""
    comment = f"model {generator.name} {generator.digest}, seed {seed}"
    return Tags(title=title or f"{generator.name} {seed}", software=f"distill {__version__}", comment=comment)


def require_free(paths: Sequence[Path], destination: Destination, instead: str = "another folder") -> None:
    """Make sure that sounds and their sidecars may be written; `instead` is what else can be chosen.

    Raises:
        StorageError: a file exists, and may not be replaced.
        UsageError: a file lies where the folder is to be, or a name has a backslash.
    """
    require_folder(destination.folder)
    for sound in paths if destination.sidecars else ():
        if "\\" in sound.name:
            raise UsageError(
                f"{sound.name}: a sound's name cannot have a backslash; rename the file that it comes from"
            )
    if destination.force:
        return
    for sound in paths:
        for path in (sound, sidecar_of(sound)):
            require_absent(path, f"choose {instead}, or replace it with --force")
