"""What one browser has on its desk: a grid that is edited, a second one, and the files that go to the browser."""

import secrets
import shutil
import threading
import time
from base64 import b64encode
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from distill.audio.sound import EXTENSIONS, wav_bytes, write_sound
from distill.codec.codec import Samples
from distill.codes.edits import SetCode
from distill.codes.exchange import are_halves
from distill.codes.file import write_grid
from distill.codes.grid import CodeGrid
from distill.codes.model import CodesModel
from distill.codes.pictures import palette
from distill.codes.playback import Rendering
from distill.codes.session import EditSession
from distill.errors import UsageError
from distill.files import storage_errors
from distill.ui.context import Context
from distill.ui.grid_files import read_history, stem_of
from distill.ui.grid_requests import Wish
from distill.ui.outline import outline

# Sounds of a desk that browsers may still be reading.
_KEPT = 4

# Edited grids whose places others took: the last ones can be had back.
MOST_EARLIER = 8

Which = Literal["mine", "other"]


@dataclass(frozen=True)
class Sheet:
    """A grid on the desk.

    Attributes:
        work: the work on it.
        model_name: what the model is called on the page.
        name: what the grid is called.
        edited: whether it was edited on this desk.
        key: tells it from all others.
    """

    work: EditSession
    model_name: str
    name: str
    edited: bool = False
    key: str = field(default_factory=lambda: secrets.token_hex(8))


class Desk:
    """What one tab of a browser works on; it ends with its last session. Methods may be called from several threads.

    Attributes:
        sheets: the grids.
        earlier: edited grids whose places in front others took, the last of them at the end.
        results: the sounds that were made, the newest first (see `distill.ui.results`).
        job: the sounds that are being made, until somebody has seen the end of it (see `distill.ui.jobs`).
        order: the sounds that another tab orders in the tab Generate (see `distill.ui.sound_jobs`).
        dropped: the folder of the sounds that were dropped and judged.
        gathering: what tells the copying of dropped files that began last; what one before it copied is left out.
        judging: what tells the judging that began last in the tab Data; one that began before it ends.
        forms: what somebody chose in the forms of tabs, by the form's name and the field's; replaced, never changed.
        left: the forms as they were when the tab was loaded, which bring its fields back; never what was chosen since.
        home: the folder of what lasts until the tab is closed; None: the tab has no name.
        sessions: how many sessions have it: one after each time that the tab is loaded, for an hour or longer.
        session: what Gradio calls the last of them.
        left_at: when the last of them ended, on the monotonic clock; None: there is one.
        closed: whether it is gone.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.lock = threading.RLock()
        # Decoding a long sound takes seconds, in which the grid can be edited.
        self._decoding = threading.Lock()
        self.sheets: dict[Which, Sheet] = {}
        self.earlier: tuple[Sheet, ...] = ()
        self.results: tuple[Any, ...] = ()
        self.job: Any = None
        self.order: Any = None
        self.dropped: Path | None = None
        self.gathering: object = None
        self.judging: object = None
        self.forms: dict[str, dict[str, Any]] = {}
        self.left: dict[str, dict[str, Any]] = {}
        self.home: Path | None = None
        self.sessions = 0
        self.session = ""
        self.left_at: float | None = None
        self.closed = False
        self._folder: Path | None = None
        self._number = 0
        self._outlined: dict[Which, Rendering] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Desk":
        # Gradio copies the first value of a state for each session: each gets a desk of its own.
        return Desk(self.context)

    def close(self) -> None:
        """End a session. A desk whose tab has a name stays for a while behind the last: the tab may be loaded anew."""
        with self.lock:
            self.sessions -= 1
            if self.sessions > 0:
                return
            self.left_at = time.monotonic()
            if self.home is None:
                self.remove()

    def remove(self) -> None:
        """Remove what lay on the desk."""
        with self.lock:
            self.closed = True
            self.sheets.clear()
            self.earlier = ()
            for folder in (self._folder, self.home):
                if folder is not None:
                    shutil.rmtree(folder, ignore_errors=True)
            self._folder = self.home = self.dropped = None

    def sheet(self, which: Which = "mine") -> Sheet:
        """A grid on the desk.

        Raises:
            UsageError: there is none.
        """
        with self.lock:
            if which not in self.sheets:
                what = "a sound or a grid file" if which == "mine" else "a second sound or grid file"
                raise UsageError(f"open {what} first")
            return self.sheets[which]

    def open_file(self, path: Path, model: CodesModel, model_name: str, which: Which = "mine") -> None:
        """Put the grid of a sound, or one from a grid file, on the desk.

        Raises:
            UsageError: the file is of another kind, or too large.
            DataError: the sound cannot be used.
            ArtifactError: the grid file cannot be used, or belongs to another model.
        """
        self.put(EditSession.begin(model, read_history(path, model)), model_name, path.name, which)

    def put(self, work: EditSession, model_name: str, name: str, which: Which = "mine") -> None:
        """Put a grid on the desk; an edited one in its place can be had back, a second one of another model leaves."""
        with self.lock:
            before = self.sheets.get("mine")
            if which == "mine" and before and before.edited:
                self.earlier = (*self.earlier, before)[-MOST_EARLIER:]
            self.lay(which, Sheet(work, model_name, name))

    def go_back(self) -> None:
        """Bring the last of the earlier grids to the front; the one that was there becomes the first of them.

        Raises:
            UsageError: there is none.
        """
        with self.lock:
            if not self.earlier:
                raise UsageError("there is no earlier grid to go back to")
            *others, last = self.earlier
            self.earlier = (self.sheet(), *others)
            self.lay("mine", last)

    def lay(self, which: Which, sheet: Sheet) -> None:
        """Put a grid on the desk as it is; a second one of another model than the first leaves."""
        self.sheets[which] = sheet
        other = self.sheets.get("other")
        if which == "mine" and other and other.work.grid.model.codec_digest != sheet.work.grid.model.codec_digest:
            del self.sheets["other"]

    def change(self, work: EditSession, which: Which = "mine") -> None:
        """Let the work on a grid be at another step."""
        with self.lock:
            before = self.sheet(which)
            edited = before.edited or work.history != before.work.history
            self.sheets[which] = replace(before, work=work, edited=edited)

    def decode(self, which: Which = "mine") -> None:
        """Have the whole sound of a grid ready, at the cost of what changed since the last time."""
        with self._decoding:
            before = self.sheet(which)
            rendering = before.work.rendered().rendering
            with self.lock:
                now = self.sheets.get(which)
                if now and now.key == before.key:
                    self.change(replace(now.work, rendering=rendering), which)

    def fulfil(self, wish: Wish, *, hear: bool, which: Which = "mine") -> dict[str, Any]:
        """Do what a grid asks for; the view of it afterwards.

        Raises:
            UsageError: it cannot be done.
        """
        if wish.what == "play":
            return self.play(which)
        with self.lock:
            work = self.sheet(which).work
            if wish.what == "hear":
                return self.view(which, clip=work.hear(wish.selection))
            if wish.what == "set":
                if wish.code is None:
                    raise UsageError("choose a code for the cells")
                work = work.do(SetCode(selection=wish.selection, code=wish.code))
            else:
                work = self._step(work, which, back=wish.what == "undo")
            self.change(work, which)
            return self.view(which, clip=work.hear_change() if hear else None)

    def _step(self, work: EditSession, which: Which, *, back: bool) -> EditSession:
        """The work after an undo or redo; a swap is undone in the other grid as well, unless that was edited since."""
        other: Which = "other" if which == "mine" else "mine"
        sheet = self.sheets.get(other)
        names = self.sheet(which).name, sheet.name if sheet else ""
        if sheet and are_halves(work.step(back=back), sheet.work.step(back=back), names):
            self.change(sheet.work.undo() if back else sheet.work.redo(), other)
        return work.undo() if back else work.redo()

    def play(self, which: Which = "mine") -> dict[str, Any]:
        """The view of a grid with its whole sound, to be played at once."""
        self.decode(which)
        with self.lock:
            sheet = self.sheet(which)
            work = sheet.work.rendered()
            self.change(work, which)
            path = self.new_file(f"{which}.wav")
            path.write_bytes(wav_bytes(work.samples(), work.model.sample_rate))
            return self.view(which, sound=path, play=True)

    def draw_outline(self, which: Which = "mine", *, anew: bool = True) -> dict[str, Any] | None:
        """How the sound of a grid looks, decoded at the cost of what changed.

        None: it is as it was when this was asked last, and it need not be told anew.

        Raises:
            UsageError: there is no grid.
            StorageError: the picture cannot be written.
        """
        self.decode(which)
        with self.lock:
            sheet = self.sheet(which)
            rendering = sheet.work.rendering
            if rendering is None or (rendering is self._outlined.get(which) and not anew):
                return None
            self._outlined[which] = rendering
            path = self.new_file(f"{which}.png")
        shape = outline(rendering, sheet.work.model.codec.spectrogram, path, self.context.link)
        return {"grid": sheet.key, **shape}

    def save_grid(self) -> dict[str, Any]:
        """The view with the grid file, to be saved by the browser."""
        with self.lock:
            sheet = self.sheet()
            path = self.new_file("grid.json")
            write_grid(path, sheet.work.history)
            return self.view(download=path, name=f"{stem_of(sheet.name)}-codes.json")

    def save_sound(self, kind: str) -> dict[str, Any]:
        """The view with the decoded sound as wav, flac, ogg or mp3, to be saved by the browser.

        Raises:
            UsageError: the format is unknown.
        """
        suffix = f".{kind.lower()}"
        if suffix not in EXTENSIONS:
            raise UsageError(f"unknown format {kind}; known: {', '.join(EXTENSIONS)}")
        self.decode()
        with self.lock:
            sheet = self.sheet()
            work = sheet.work.rendered()
            self.change(work)
            path = self.new_file(f"sound{suffix}")
            write_sound(path, work.samples(), work.model.sample_rate, fine=True)
            return self.view(download=path, name=f"{stem_of(sheet.name)}-edited{suffix}")

    def view(
        self,
        which: Which = "mine",
        *,
        clip: Samples | None = None,
        sound: Path | None = None,
        play: bool = False,
        download: Path | None = None,
        name: str = "",
    ) -> dict[str, Any]:
        """What `<distill-grid>` shows, and what it does once: hear a clip, play, save."""
        with self.lock:
            sheet = self.sheet(which)
            self._number += 1
            number = self._number
        return {
            **_grid_values(sheet.work.grid),
            "grid": sheet.key,
            "version": number,
            "name": sheet.name,
            "undo": sheet.work.undoable,
            "redo": sheet.work.redoable,
            "clip": None if clip is None else _data_address(clip, sheet.work.model.sample_rate),
            "sound": None if sound is None else self.context.link(sound),
            "play": play,
            "download": None if download is None else {"address": self.context.link(download), "name": name},
        }

    def new_file(self, name: str) -> Path:
        """A new file of the desk's; the last few of the same name stay."""
        with self.lock:
            self._number += 1
            for old in sorted(self.folder().glob(f"*-{name}"))[: 1 - _KEPT]:
                old.unlink(missing_ok=True)
            return self.folder() / f"{self._number:08d}-{name}"

    def lasting(self) -> Path:
        """The folder of what stays while the tab is open, also when the page's server is started again."""
        return self.home or self.folder()

    def folder(self) -> Path:
        """The folder of the desk's files, which is gone with the session."""
        with self.lock:
            if self._folder is None:
                self._folder = self.context.files / "desks" / secrets.token_hex(8)
            with storage_errors(self._folder, "write"):
                self._folder.mkdir(parents=True, exist_ok=True)
            return self._folder


def _grid_values(grid: CodeGrid) -> dict[str, Any]:
    return {
        "columns": len(grid),
        "bands": grid.bands,
        "levels": list(grid.labels),
        "frozen": list(grid.frozen),
        "size": grid.codebook_size,
        "seconds": grid.source.seconds if grid.source else grid.seconds,
        "secondsPerColumn": grid.seconds_per_column,
        "bandsHz": [list(band) for band in grid.bands_hz],
        "palette": palette(grid.codebook_size),
        "codes": grid.codes.ravel().tolist(),
    }


def _data_address(samples: Samples, sample_rate: int) -> str:
    return f"data:audio/wav;base64,{b64encode(wav_bytes(samples, sample_rate)).decode()}"
