"""Where each stage's files lie in a workspace, and how its reports and histories are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.configs import Config
from distill.errors import DataError
from distill.files import digest_json, read_json, replacing, write_json
from distill.live.events import Listeners
from distill.live.stop_request import StopRequest
from distill.params import Params, read_params, resolve
from distill.stages.figures import FIGURES
from distill.stages.versions import FORMER_NAMES

CONFIG_SCHEMA = 1
REPORT_SCHEMA = 1


@dataclass(frozen=True)
class Workspace:
    """A folder with a params.yaml in which stages read and write fixed relative paths."""

    root: Path

    @property
    def params_file(self) -> Path:
        return self.root / "params.yaml"

    @property
    def prepared(self) -> Path:
        return self.root / "prepared"

    @property
    def vqvae(self) -> Path:
        """The trained VQ-VAE, a model file without a prior."""
        return self.root / "trained" / "vqvae.distill"

    @property
    def prior(self) -> Path:
        """The trained prior: its weights and metadata."""
        return self.root / "trained" / "prior.safetensors"

    @property
    def vocoder(self) -> Path:
        """The trained vocoder, or the word that there is none."""
        return self.root / "trained" / "vocoder.safetensors"

    @property
    def previews(self) -> Path:
        return self.root / "previews"

    def model(self, name: str) -> Path:
        """The finished model."""
        return self.root / "models" / f"{name}.distill"

    def config(self, stage: str) -> Path:
        """The resolved parameters of a stage."""
        return self.root / "config" / f"{stage}.json"

    def report(self, stage: str) -> Path:
        return self.root / "reports" / f"{stage}.json"

    def metrics(self, stage: str) -> Path:
        """The few figures of a stage that runs are compared by."""
        return self.root / "metrics" / f"{stage}.json"

    def page(self, stage: str) -> Path:
        """What a stage has to show beside its report, to be opened in a browser."""
        return self.root / "reports" / f"{stage}.html"

    def history(self, stage: str) -> Path:
        return self.root / "history" / f"{stage}.csv"

    def plots(self, stage: str) -> Path:
        return self.root / "plots" / stage

    def journal(self, stage: str) -> Path:
        """The live changes to a training, one JSON value a line."""
        return self.root / "journal" / f"{stage}.jsonl"

    def state(self, stage: str, key: str) -> Path:
        """Where a training keeps what it resumes from; not an output."""
        return self.root / ".distill" / "state" / stage / key

    def params(self) -> Params:
        """Read params.yaml.

        Raises:
            StorageError: it cannot be read.
            UsageError: a parameter is wrong.
        """
        return read_params(self.params_file)

    def source(self, params: Params) -> Path:
        """The folder of sounds; a relative path starts at the workspace."""
        return self.root / params.data.path


@dataclass(frozen=True)
class Call:
    """What a stage is called with."""

    workspace: Workspace
    emit: Listeners
    stop: StopRequest


def write_config(workspace: Workspace, stage: str, values: Mapping[str, Any]) -> None:
    """Write the resolved parameters of a stage."""
    write_json(workspace.config(stage), {"schema": CONFIG_SCHEMA, **values})


def read_config(workspace: Workspace, stage: str) -> dict[str, Any]:
    """Read the resolved parameters of a stage.

    Raises:
        DataError: the stage `configure` has not run.
        ArtifactError: the file is damaged or of a newer schema.
    """
    path = workspace.config(stage)
    if not path.is_file():
        raise DataError(f"{path} is missing: run the stage configure first (dvc repro, or distill stage configure)")
    return read_json(path, what="configuration", schema=CONFIG_SCHEMA)


def section(values: Mapping[str, Any], name: str, config: type[Config]) -> Any:
    """One section of a resolved configuration as its model."""
    return resolve(config, values[name], where=f"config, section {name}")


def write_report(workspace: Workspace, stage: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write a stage's report, and the figures to compare; what is given must follow from the stage's inputs alone."""
    report = {"schema": REPORT_SCHEMA, **values}
    if stage in FIGURES:
        write_json(workspace.metrics(stage), FIGURES[stage](report))
    write_json(workspace.report(stage), report)
    return report


def read_report(workspace: Workspace, stage: str) -> dict[str, Any]:
    """Read a stage's report.

    Raises:
        StorageError: the stage has not run.
        ArtifactError: the file is damaged or of a newer schema.
    """
    path = workspace.report(stage)
    if not path.exists():
        former = (workspace.report(old) for old, new in FORMER_NAMES.items() if new == stage)
        path = next(filter(Path.exists, former), path)
    return read_json(path, what="report", schema=REPORT_SCHEMA)


def write_history(workspace: Workspace, stage: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a history with a row an epoch as CSV; numbers as their shortest exact text."""
    import pandas as pd

    # Rows that went through a checkpoint have lost their order of keys.
    first = ("epoch", "step")
    columns = [*first, *sorted({key for row in rows for key in row} - set(first))]
    with replacing(workspace.history(stage)) as temporary:
        pd.DataFrame(list(rows), columns=columns).to_csv(temporary, index=False, lineterminator="\n")


def state_key(*parts: Any) -> str:
    """A short name for the inputs that a training's state belongs to."""
    return digest_json(list(parts))[:16]
