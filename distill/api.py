"""distill from Python: models that make, change, encode and decode sounds, and trainings.

Sounds are numpy arrays: float32, `[n]` for one channel or `[channels, n]`, full scale 1.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from distill.artifact.manifest import Manifest
from distill.artifact.model_file import read_manifest
from distill.audio.sound import Sound
from distill.audio.spool import Spool
from distill.codec.codec import Grid, Samples
from distill.errors import DataError, UsageError
from distill.generation.conditioning import target_of
from distill.generation.continuation import as_known, space_codes
from distill.generation.ending import ends_by_itself
from distill.generation.finish import Frames, form_of
from distill.generation.generator import Generator
from distill.generation.sound_request import Request, request_of
from distill.generation.sounds import Made, changed_sound, new_sounds
from distill.generation.space import width_of
from distill.generation.writing import require_series

if TYPE_CHECKING:
    from distill.library.model_check import CheckResult
    from distill.live.events import Listener

AnySamples = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class NewSound:
    """A sound that a model made.

    Attributes:
        samples: float32, `[n]` or, of a model that learned from stereo sounds, `[2, n]`; `[channels, n]` where a sound
            was continued or filled.
        sample_rate: in Hz.
        seed: the seed that gives it again.
        codes: `[columns, bands, levels]`, the last level being that of space where the model has one; of a given sound
            those of what the model heard, or of the whole.
        label: what it is, as far as its model knows labels.
        knobs: what it has, in the knobs' units, as far as its model knows knobs.
        distance: how far a variation is from the given sound, from 0 to 1.41.
    """

    samples: Samples
    sample_rate: int
    seed: int
    codes: Grid = field(repr=False)
    label: str | None = None
    knobs: Mapping[str, float | None] = field(default_factory=dict)
    distance: float | None = None


class Model:
    """A model file, loaded.

    Args:
        path: a `.distill` file with a prior.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        ArtifactError: the file cannot be used, or has no prior.
        StorageError: the file cannot be read.
        UsageError: the device is not present.
    """

    def __init__(self, path: Path | str, device: str = "cpu") -> None:
        self.path = Path(path)
        self.manifest: Manifest = read_manifest(self.path)
        self._generator = Generator.load(self.path, device)

    def __repr__(self) -> str:
        return f"Model({str(self.path)!r})"

    @property
    def name(self) -> str:
        """What it is called."""
        return self._generator.name

    @property
    def sample_rate(self) -> int:
        """Of new sounds, in Hz."""
        return self._generator.codec.spectrogram.sample_rate

    @property
    def labels(self) -> tuple[str, ...]:
        """The kinds of sound that it can be asked for."""
        return () if self._generator.conditions is None else self._generator.conditions.labels

    @property
    def knobs(self) -> tuple[str, ...]:
        """The knobs that it can be asked for."""
        return () if self._generator.conditions is None else tuple(self._generator.conditions.knobs)

    def info(self) -> dict[str, Any]:
        """All that the file says of itself, as `distill model info --json` prints it beside its signature."""
        return self.manifest.document()

    def generate(
        self,
        count: int = 1,
        *,
        seconds: float | None = None,
        seed: int = 0,
        natural: bool | None = None,
        finish: bool = True,
        **settings: Any,
    ) -> list[NewSound]:
        """Make new sounds, as `distill generate` does with these settings.

        Args:
            count: number of sounds.
            seconds: exact duration of each; with `natural` the greatest one. 3 s without it, or bars.
            seed: of the first sound; each further one has the next.
            natural: end a sound where the prior ends it; by default where the sounds of the training end by themselves.
            finish: trim what ends by itself, and make all equally loud.
            settings: those of `distill.generation.sound_request.Request`: `label`, `bright` and the other knobs,
                `guidance`, `best_of`, `bpm` and `bars`, `loop`, `temperature`, `top_k`, `top_p`, `min_p`, `channels`,
                `width`.

        Raises:
            UsageError: a setting is invalid.
            ArtifactError: the weights are damaged.
        """
        exact = settings.get("loop") or settings.get("bpm") is not None
        if natural is None:
            natural = not exact and ends_by_itself(self.manifest)
        if seconds is None and settings.get("bpm") is None:
            seconds = 3.0
        request = request_of({"seconds": seconds, "natural": natural, "finish": finish, **settings})
        request.check(count=count, seed=seed)
        target = target_of(request, self._generator.conditions)
        made = new_sounds(self._generator, request, target, range(seed, seed + count))
        return [self._new(each, of, request) for of, each in made]

    def vary(
        self,
        samples: AnySamples,
        sample_rate: int,
        *,
        strength: float = 0.3,
        count: int = 1,
        seed: int = 0,
        keep: Literal["attack", "structure"] | None = None,
        **settings: Any,
    ) -> list[NewSound]:
        """Make variations of a sound, as `distill vary` does.

        Raises:
            DataError: the sound is silent.
            UsageError: a setting is invalid.
        """
        request = request_of({"action": "vary", "strength": strength, "keep": keep, **settings})
        return self._changed(request, [_sound(samples, sample_rate)], count, seed)

    def continue_(
        self,
        samples: AnySamples,
        sample_rate: int,
        *,
        seconds: float,
        count: int = 1,
        seed: int = 0,
        natural: bool = False,
        **settings: Any,
    ) -> list[NewSound]:
        """Go on from a sound, which stays as it is; `seconds` are those of what is new.

        Raises:
            DataError: the sound is silent or too short, or the model always ends it where it is.
            UsageError: a setting is invalid.
        """
        request = request_of({"action": "continue", "seconds": seconds, "natural": natural, **settings})
        return self._changed(request, [_sound(samples, sample_rate)], count, seed)

    def fill(
        self,
        samples: AnySamples,
        sample_rate: int,
        *,
        start: float,
        end: float,
        levels: Sequence[int] | None = None,
        count: int = 1,
        seed: int = 0,
        **settings: Any,
    ) -> list[NewSound]:
        """Renew the part of a sound between two times in s, in all levels or in some.

        Raises:
            DataError: the sound is silent or too short.
            UsageError: a setting is invalid.
        """
        chosen = None if levels is None else tuple(levels)
        request = request_of({"action": "fill", "start": start, "end": end, "levels": chosen, **settings})
        return self._changed(request, [_sound(samples, sample_rate)], count, seed)

    def morph(
        self,
        samples: AnySamples,
        sample_rate: int,
        other: AnySamples,
        other_rate: int,
        *,
        steps: int = 8,
        **settings: Any,
    ) -> list[NewSound]:
        """Make a series from one sound to another, as `distill morph` does.

        Raises:
            DataError: a sound is silent.
            UsageError: the number of steps is out of range.
        """
        require_series(steps)
        given = [_sound(samples, sample_rate), _sound(other, other_rate)]
        requests = [request_of({"action": "morph", "weight": step / (steps - 1), **settings}) for step in range(steps)]
        return [made for request in requests for made in self._changed(request, given, 1, 0)]

    def encode(self, samples: AnySamples, sample_rate: int) -> Grid:
        """The codes of a sound, `[columns, bands, levels]`.

        Raises:
            DataError: the sound is silent.
        """
        codec, known = self._generator.codec, as_known(self._generator, _sound(samples, sample_rate))
        grid = codec.encode(known.samples)
        return codec.whole(grid, space_codes(codec, known, len(grid)))

    def decode(
        self, codes: npt.NDArray[np.integer[Any]], *, channels: int | None = None, width: float = 1.0
    ) -> Samples:
        """The sound of codes `[columns, bands, levels]`, at the model's sample rate and level.

        It is `[n]`, or `[2, n]` where the codes have a level of space, unless one channel is asked for; what tells the
        channels apart is scaled by `width`.

        Raises:
            DataError: the codes do not fit the model.
            ArtifactError: the weights are damaged.
        """
        grid, codec = np.asarray(codes), self._generator.codec
        if grid.dtype.kind not in "iu":
            raise DataError(f"codes are whole numbers, not {grid.dtype}")
        grid = grid.astype(np.int64)
        codec.check_grid(grid)
        samples = codec.column_waveform(codec.decode_log_mel(grid))
        return np.concatenate(list(codec.in_two_channels([samples], grid, width_of(codec, channels, width)))).T

    def _new(self, made: Made, seed: int, request: Request) -> NewSound:
        with Spool() as spool:
            for block in made.blocks:
                spool.add(np.asarray(block, np.float32).reshape(len(block), -1))
            form = form_of(
                spool,
                made.sample_rate,
                level_given=made.level_given,
                finish=request.finish,
                trim=request.natural,
                goes_round=request.loop,
            )
            frames: Frames = np.concatenate(list(form.blocks(spool))) * np.float32(form.gain)
        frames = frames[: made.frames]
        samples = frames[:, 0] if frames.shape[1] == 1 else frames.T
        got = {} if made.got is None else made.got.model_dump()
        return NewSound(samples, made.sample_rate, seed, made.codes, **got)

    def _changed(self, request: Request, given: Sequence[Sound], count: int, seed: int) -> list[NewSound]:
        request.check(count=count, seed=seed)
        made = [(each, *changed_sound(self._generator, request, given, each)) for each in range(seed, seed + count)]
        return [
            NewSound(sound.samples, sound.sample_rate, of, sound.grid, **({} if got is None else got.model_dump()))
            for of, sound, got in made
        ]


def load(reference: Path | str, *, device: str = "cpu", project: Path | str | None = None) -> Model:
    """The model of a file, or of NAME/VERSION, NAME@ALIAS or NAME in the registry of a project.

    Raises:
        ArtifactError: there is no such file, it cannot be used, or has no prior.
        StorageError: the file cannot be read.
        DataError: the registry has no such model.
        UsageError: it is not a reference, or the device is not present.
    """
    from distill.projects.project import current_project
    from distill.registry.registry import resolve

    return Model(resolve(str(reference), current_project(project)), device)


def train(
    sounds: Path | str,
    output: Path | str | None = None,
    *,
    plan: str = "best",
    settings: Iterable[str] = (),
    listener: "Listener | None" = None,
    force: bool = False,
) -> Path:
    """Train a model on a folder of sounds, as `distill train` does; the same call resumes an interrupted training.

    Args:
        sounds: the folder.
        output: the model file; by default `models/NAME.distill` of the project around the current folder, or else of
            the user folder.
        plan: `best` or `sketch`.
        settings: parameters as `section.name=value`, as in docs/reference/parameters.md.
        listener: told what happens.
        force: whether a model file that exists is replaced.

    Returns:
        The model file.

    Raises:
        DataError: no sound can be used.
        UsageError: a parameter is invalid.
        StorageError: a file cannot be read or written.
    """
    # Whoever only makes sounds needs none of it.
    from distill.instructions import use
    from distill.live.events import Listeners
    from distill.live.stop_request import StopRequest
    from distill.params import Params, with_settings
    from distill.projects.project import current_project
    from distill.runs.local import Options, train_folder
    from distill.runs.plans import plan_named

    params = with_settings(with_settings(Params(), plan_named(plan).settings, where="plan"), settings, where="settings")
    use(params.run.arithmetic)
    listeners = Listeners([] if listener is None else [listener])
    target = None if output is None else Path(output)
    options = Options(current_project(), None, target, False, listeners, StopRequest())
    outcome = train_folder(Path(sounds), params, options, force=force)
    assert outcome.model is not None
    return outcome.model


def check(reference: Path | str, *, project: Path | str | None = None, **options: Any) -> "CheckResult":
    """Check whether a model gives back its training sounds; writes a report and a page beside it.

    Options and errors are those of `distill.library.model_check.check`.
    """
    from distill.library.model_check import check as check_model
    from distill.projects.project import current_project

    return check_model(str(reference), current_project(project), **options)


def _sound(samples: AnySamples, sample_rate: int) -> Sound:
    given = np.asarray(samples)
    if given.dtype.kind != "f":
        raise UsageError(f"a sound is an array of floating-point numbers with full scale at 1, not of {given.dtype}")
    array = given.astype(np.float32)
    if array.ndim == 2 and array.shape[0] > array.shape[1]:
        raise UsageError(f"a sound of shape {array.shape} has more channels than samples: give [channels, n]")
    if array.ndim not in (1, 2) or not array.size or not np.isfinite(array).all():
        raise UsageError(f"a sound is an array [n] or [channels, n] of finite numbers, not one of shape {array.shape}")
    if not 1000 <= sample_rate <= 1_000_000:
        raise UsageError(f"the sample rate must lie between 1000 and 1000000 Hz, not {sample_rate}")
    return Sound(array.reshape(-1, array.shape[-1]), int(sample_rate), "FLOAT", "array")
