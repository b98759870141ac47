"""The sounds that the tab Start lets hear: made by themselves while a run goes on, and kept with all others."""

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from distill.artifact.model_file import EXTENSION
from distill.errors import DistillError
from distill.generation.sidecar import sidecar_of
from distill.generation.sound_request import Request
from distill.library.early_models import early_models, renewed_models
from distill.locks import tried
from distill.registry.catalogue import catalogue
from distill.runs.folder import finished_at, run_folders
from distill.stages.workspace import Workspace
from distill.ui.context import Context
from distill.ui.loading_page import LOADING
from distill.ui.start_state import Standing, standing_of
from distill.ui.training_state import written_model

FIRST, WALL, GREETING = 6, 16, 6
# For a page without a model: sounds of the one that `dvc repro` trains on the bundled sounds of the repository.
SHIPPED = Path(__file__).parents[1] / "shipped" / "greeting"
LOCK = ".making.lock"
# Sounds of training sounds that are longer are cut off here.
MOST_SECONDS = 10.0
LEAST_SECONDS = 1.0
GREETING_SECONDS = 3.0
# Between two looks for sounds that are due, and after what could not be made, until it is tried again.
LOOK_SECONDS, TROUBLE_SECONDS = 3.0, 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Sounds of one model.

    Attributes:
        model: the model's file.
        folder: where the sounds lie.
        count: how many there shall be.
        seconds: how long each may become.
        share: after how much of the prior's training the model was made, from 0 to 1; None: it is finished.
    """

    model: Path
    folder: Path
    count: int
    seconds: float
    share: float | None = None

    @property
    def paths(self) -> list[Path]:
        """Those that are there, in the order of their seeds."""
        return [self._path(seed) for seed in range(self.count) if seed not in self.missing]

    @property
    def missing(self) -> list[int]:
        """The seeds of those that are not there."""
        return [seed for seed in range(self.count) if not self._there(self._path(seed))]

    def _path(self, seed: int) -> Path:
        return self.folder / f"{self.model.stem}_{seed:04d}.wav"

    @staticmethod
    def _there(path: Path) -> bool:
        return path.is_file() and sidecar_of(path).is_file()


class FirstTakes:
    """Makes the sounds of the page's project that are due, in threads of their own, one model at a time."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._lock = threading.Lock()
        self._over = threading.Event()
        # Of models, when it was tried last and what went wrong.
        self._troubles: dict[Path, tuple[float, str]] = {}

    def keep_making(self) -> None:
        """Look for what is due from now on until `close`, whether or not somebody has the page open."""
        threading.Thread(target=self._look, name="takes", daemon=True).start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()

    def of(self, standing: Standing) -> list[Batch]:
        """What there is to hear, the newest first; what is missing of the newest is being made from now on."""
        batches = self._due(standing)
        for batch in batches[:1]:
            tried, _ = self._troubles.get(batch.model, (-TROUBLE_SECONDS, ""))
            waits = time.monotonic() - tried < TROUBLE_SECONDS
            if batch.missing and not waits and not self._lock.locked():
                threading.Thread(
                    target=self._make, args=(batch,), name=f"takes-{batch.model.stem}", daemon=True
                ).start()
        return batches

    def trouble(self, batch: Batch) -> str:
        """Why sounds could not be made; empty where nothing went wrong."""
        _, said = self._troubles.get(batch.model, (0.0, ""))
        return said

    def _due(self, standing: Standing) -> list[Batch]:
        root = standing.root
        if root is None:
            return self._greeting()
        finished = standing.kind == "finished"
        try:
            model = finished_model(self.context.project, root) if finished else None
            early = early_models(root) if finished else renewed_models(root)
            seconds = longest(root) if early or model else 0.0
        except DistillError as error:
            logger.warning("no sounds yet: %s", error)
            return []
        folder = self.context.generated / root.name
        batches = [Batch(model, folder, WALL, seconds)] if model else []
        batches += [Batch(each.path, folder, FIRST, seconds, each.share) for each in early]
        # What was overtaken is shown as far as it was made.
        return [*batches[:1], *(batch for batch in batches[1:] if batch.paths)]

    def _greeting(self) -> list[Batch]:
        """A few sounds of the newest model, for those who have nothing else to hear yet."""
        found = newest_model(self.context.project)
        if found is None:
            return [Batch(SHIPPED / f"bundled{EXTENSION}", SHIPPED, GREETING, GREETING_SECONDS)]
        (model, root), seconds = found, GREETING_SECONDS
        if root is not None:
            # Of a run that was tidied up the model alone is left.
            with suppress(DistillError):
                seconds = longest(root)
            made = Batch(model, self.context.generated / root.name, GREETING, seconds)
            if not made.missing:
                return [made]
        # Nobody asked for these: they do not lie among the generated sounds.
        folder = self.context.project / ".distill" / "greeting" / model.stem
        return [Batch(model, folder, GREETING, seconds)]

    def _look(self) -> None:
        first = True
        while first or not self._over.wait(LOOK_SECONDS):
            try:
                standing = standing_of(self.context.project)
                # Without a run there is nothing that would come due by itself.
                if first or standing.root is not None:
                    self.of(standing)
            except Exception:
                logger.exception("sounds that are due were not looked for")
            first = False

    def _make(self, batch: Batch) -> None:
        """Make what is missing of a batch, unless somebody else does."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            # Another page on the same project makes the same.
            with tried(batch.folder / LOCK) as alone:
                if alone:
                    self._produce(batch)
            self._troubles.pop(batch.model, None)
        except DistillError as error:
            self._troubles[batch.model] = time.monotonic(), str(error)
        except Exception as error:
            logger.exception("sounds could not be made")
            self._troubles[batch.model] = time.monotonic(), f"unexpected {type(error).__name__}: {error}"
        finally:
            self._lock.release()

    def _produce(self, batch: Batch) -> None:
        with LOADING:
            from distill.audio.torchaudio_import import import_torchaudio
            from distill.generation.writing import Destination, produce

            # Otherwise with the first sound, while others are loading.
            import_torchaudio()

        first, last = batch.missing[0], batch.missing[-1]
        # What lies between them is made again as it is.
        destination = Destination(batch.folder, force=True)
        request = Request(seconds=batch.seconds, natural=True, finish=True)
        for _ in produce(batch.model, request, destination, count=last - first + 1, seed=first):
            pass


def finished_model(project: Path, root: Path) -> Path | None:
    """The model file that a finished run delivered."""
    name = written_model(root)
    places = [folder / "models" / f"{name}{EXTENSION}" for folder in (project, root)] if name else []
    return next((path for path in places if path.is_file()), None)


def newest_model(project: Path) -> tuple[Path, Path | None] | None:
    """The model of the run that finished last, with the run's folder; else the first of the library, without one."""
    finished = []
    for root in run_folders(project):
        with suppress(DistillError):
            if (at := finished_at(root)) is not None and (model := finished_model(project, root)) is not None:
                finished.append((at, model, root))
    if finished:
        _, model, root = max(finished, key=lambda each: each[0])
        return model, root
    entries, _ = catalogue(project, registry=False)
    files = [entry.files[0] for entry in entries if entry.files and entry.manifest.prior_metadata]
    return (min(files), None) if files else None


@lru_cache(maxsize=64)
def longest(root: Path) -> float:
    """How long a new sound may become, in s: as long as the longest that the run learned from, within limits."""
    from distill.dataset.store import PreparedDataset

    files = PreparedDataset(Workspace(root).prepared).manifest
    seconds = float(files["seconds"][files["usable"]].max())
    return min(MOST_SECONDS, max(LEAST_SECONDS, seconds))
