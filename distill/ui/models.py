"""The models that the page offers, by what it calls them, and the few that were used last, ready for use."""

import threading
from collections import OrderedDict
from pathlib import Path

from distill.artifact.model_file import EXTENSION, read_manifest
from distill.codes.model import CodesModel
from distill.errors import UsageError
from distill.library.takes import Take
from distill.registry.catalogue import Entry, catalogue
from distill.registry.registry import file_of, find_version
from distill.ui.context import Context, path_in

MOST_LOADED = 3


class Models:
    """The models of the context's project.

    A model is called by its file's path from the project's folder, or NAME/VERSION in the registry. What comes back
    from a browser is looked up among these names; it is never taken for a path.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._lock = threading.Lock()
        self._loaded: OrderedDict[tuple[Path, int, int], CodesModel] = OrderedDict()

    def choices(self, *, registry: bool = True) -> list[tuple[str, str]]:
        """What can be chosen: words for people, and the name. A model in several places is there once."""
        entries, _ = catalogue(self.context.project, registry=registry)
        found = [(self._words(entry), self.name_of(entry)) for entry in entries]
        return sorted(found, key=lambda choice: choice[0].casefold())

    def has(self, name: str) -> bool:
        """Whether there is a model of that name."""
        # The registry takes a while to answer, and is asked only where the model is in it alone.
        return name in {known for _, known in self.choices(registry=not name.endswith(EXTENSION))}

    def newest(self, called: str | None = None) -> str | None:
        """The model whose file was written last, of all or of those files that are called so; None: there is none."""
        entries, _ = catalogue(self.context.project, registry=False)
        written = {
            self.name_of(entry): max(path.stat().st_mtime for path in entry.files)
            for entry in entries
            if called is None or any(path.stem == called for path in entry.files)
        }
        return max(written, key=lambda name: written[name], default=None)

    def name_of(self, entry: Entry) -> str:
        """What a model is called here: by its file if it has one."""
        if entry.files:
            return path_in(self.context.project, entry.files[0])
        return entry.registered[0].reference

    def of_take(self, take: Take) -> str:
        """What the page calls the model that made a take.

        Raises:
            UsageError: it is not known, or not here.
        """
        said = take.sidecar()
        if said is None:
            raise UsageError(f"{take.name}: nothing beside it says which model made it")
        return self.with_digest(said.model_file.digest, said.model_name)

    def with_digest(self, digest: str, called: str) -> str:
        """What the model with these weights is called here; `called` is what people call it.

        Raises:
            UsageError: it is not here.
        """
        entries, _ = catalogue(self.context.project)
        for entry in entries:
            if entry.manifest.tensor_digest == digest:
                return self.name_of(entry)
        raise UsageError(
            f"the model {called}, which made this sound, is not here any more: import it in the tab Library"
        )

    def path(self, name: str | None) -> Path:
        """The file of a model.

        Raises:
            UsageError: there is no such model.
            ArtifactError: what is registered is damaged.
            TrackingError: the registry cannot be used.
        """
        if not name:
            raise UsageError("choose a model first; the tab Train makes one")
        if not name.endswith(EXTENSION):
            return file_of(find_version(name, self.context.project), self.context.project)
        entries, _ = catalogue(self.context.project, registry=False)
        files = {path_in(self.context.project, path): path for entry in entries for path in entry.files}
        if name not in files:
            raise UsageError(f"{name} is not there any more: choose another model")
        return files[name]

    def maker(self, name: str | None) -> Path:
        """The file of a model that new sounds can be made with.

        Raises:
            UsageError: there is no such model, or it has no prior.
            ArtifactError, StorageError, TrackingError: it cannot be used.
        """
        path = self.path(name)
        if read_manifest(path).prior_metadata is None:
            raise UsageError(f"{name} has no prior, which makes new sounds: choose another model, or train one")
        return path

    def load(self, name: str | None) -> CodesModel:
        """A model, ready for use; the last few stay in memory.

        Raises:
            UsageError: there is no such model.
            ArtifactError: the file cannot be used.
            StorageError: the file cannot be read.
            TrackingError: the registry cannot be used.
        """
        path = self.path(name)
        status = path.stat()
        key = (path, status.st_mtime_ns, status.st_size)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = CodesModel.load(path)
                while len(self._loaded) > MOST_LOADED:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(key)
            return self._loaded[key]

    def _words(self, entry: Entry) -> str:
        metadata = entry.manifest.metadata
        champion = any("champion" in version.aliases for version in entry.registered)
        prior = "" if entry.manifest.prior_metadata else ", no prior"
        return f"{metadata.name} · {self.name_of(entry)}{', champion' if champion else ''}{prior}"
