"""Generated sounds as the page keeps them: where their files lie, how they look, and how they get to the codes."""

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

import torch

from distill.artifact.model_file import read_manifest
from distill.audio.downmix import place_of
from distill.audio.mel import MelTransform
from distill.audio.samples import to_mono
from distill.audio.sound import EXTENSIONS, read_sound
from distill.audio.waveform import waveform_path
from distill.codec.codec import Grid
from distill.codes.grid import Source
from distill.codes.history import History
from distill.codes.model import CodesModel
from distill.codes.session import EditSession
from distill.configs import STRIDE
from distill.errors import UsageError
from distill.files import storage_errors, write_bytes
from distill.generation.sound_request import Request
from distill.generation.writing import Written
from distill.library.takes import WAVE_POINTS
from distill.pictures import spectrogram_image, top_level_db
from distill.ui.cards import place_values, render_template
from distill.ui.context import Context
from distill.ui.desk import Desk
from distill.ui.grid_files import stem_of

# Width of the picture of a long sound.
MOST_PIXELS = 1000
# The folders of the sounds by which the tab Library lets a model be heard begin with it.
HEARD = "heard-"


@dataclass(frozen=True)
class Result:
    """A generated sound.

    Attributes:
        path: its file.
        seed: the seed that gives it again.
        seconds: duration.
        model_name: what the page calls its model.
        codes: its codes, or of a given sound those of what the model heard or filled.
        source: what a grid of it says of its origin; None where the codes are not those of the whole sound.
        words: how it was made.
        wave: outline of the waveform, as `waveform_path` gives it.
        picture: the spectrogram, a PNG file.
        place: where it lies between its two channels, and how wide it is; None: it is mono.
        kept: whether somebody keeps it.
        key: names it on the page.
    """

    path: Path
    seed: int
    seconds: float
    model_name: str
    codes: Grid = field(repr=False, compare=False)
    source: Source | None
    words: str
    wave: str
    picture: Path
    place: tuple[float, float] | None = None
    kept: bool = False
    key: str = field(default_factory=lambda: token_hex(8))

    @classmethod
    def of(cls, written: Written, request: Request, model: Path, model_name: str, words: str, desk: Desk) -> "Result":
        """The result for a sound that was just written."""
        config = read_manifest(model).spectrogram_config
        sound = read_sound(written.path)
        mono = to_mono(sound, config.sample_rate)
        log_mel = MelTransform(config).log_mel(torch.from_numpy(mono)).numpy()
        log_mel = log_mel[:, :: max(1, log_mel.shape[1] // MOST_PIXELS)]
        picture = desk.lasting() / "pictures" / f"{token_hex(8)}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(picture, spectrogram_image(log_mel, config, top_db=top_level_db(log_mel, config)))
        # A sound decoded from its codes has their level until it is written louder or softer.
        source = None
        if request.action == "generate":
            frames = STRIDE * len(written.codes) - 1
            # The codes of a trimmed sound are those of all that was made.
            made = min(request.seconds or 0.0, frames * config.hop_length / config.sample_rate)
            seconds = made if request.natural and request.finish else written.seconds
            source = Source(written.path.name, seconds, -written.exported.gain_db)
        return cls(
            path=written.path,
            seed=written.seed,
            seconds=written.seconds,
            model_name=model_name,
            codes=written.codes,
            source=source,
            words=words,
            wave=waveform_path(mono, WAVE_POINTS),
            place=place_of(sound.samples) if len(sound.samples) == 2 else None,
            picture=picture,
        )

    def card(self, context: Context) -> str:
        """The sound as a card."""
        return render_template(
            "sound",
            id=self.key,
            name=self.path.stem,
            file=self.path.name,
            kept=str(self.kept).lower(),
            heart="♥" if self.kept else "♡",
            words=self.words,
            seconds=f"{self.seconds:.2f} s",
            sound=context.link(self.path),
            picture=context.link(self.picture),
            wave=self.wave,
            width=WAVE_POINTS,
            **place_values(self.place),
        )

    def to_desk(self, desk: Desk, model: CodesModel) -> None:
        """Put its grid on the desk.

        Raises:
            DataError: the codes do not fit the model, which was replaced by another.
        """
        history = History(model.grid(self.codes, self.source))
        desk.put(EditSession.begin(model, history), self.model_name, self.path.name)


def batch_folder(context: Context) -> Path:
    """A new folder for sounds that are made together, below the project's folder for generated sounds."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return context.generated / f"page-{stamp}-{token_hex(2)}"


def given_file(upload: str | None, context: Context, folder: Path) -> Path:
    """A copy of a sound that somebody gave, beside what will be made of it, under a name that is safe.

    Raises:
        UsageError: nothing was given, it was not uploaded, or it is no sound file.
        StorageError: it cannot be copied.
    """
    if not upload:
        raise UsageError("drop a sound to continue, to fill or to vary")
    path = context.uploaded(upload)
    suffix = path.suffix.lower()
    if suffix not in EXTENSIONS:
        raise UsageError(f"{path.name} is no sound file; known: {', '.join(EXTENSIONS)}")
    target = folder / f"{stem_of(path.name)}{suffix}"
    with storage_errors(target, "write"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return target
