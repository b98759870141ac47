"""What is recorded of a workspace's run: parameters, metrics, tags and files; free of MLflow."""

import getpass
import json
import platform
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill import __version__
from distill.adaptive import validation_fraction
from distill.artifact.model_file import read_manifest
from distill.configs import PriorConfig, VQVAEConfig
from distill.dataset.store import PreparedDataset
from distill.errors import DistillError
from distill.files import digest_json
from distill.params import BASE_AUTO, BASE_NONE, Params, overrides
from distill.projects.project import project_of
from distill.stages.pipeline import STAGES
from distill.stages.workspace import Workspace, read_config, read_report
from distill.versions.git import code_state, source_state

# The stages with a history, and the group that their metrics form in MLflow's page.
GROUPS = {"train_vqvae": "vqvae", "train_prior": "prior", "train_vocoder": "vocoder"}

_SHAPING = ("vqvae.num_quantizers", "vqvae.codebook_size", "vqvae.codebook_dim", "vqvae.commitment_weight")
_SOURCES = {"cli": "distill", "dvc": "dvc repro", "prefect": "flows/train.py", "page": "distill ui"}
_NOT_METRICS = {"epoch", "warnings"}
_HEALTH = ("utilization", "perplexity", "dead_codes")


@dataclass(frozen=True)
class Metric:
    """A figure at an epoch."""

    name: str
    value: float
    epoch: int


def metrics_of_row(stage: str, row: dict[str, Any]) -> list[Metric]:
    """The metrics of an epoch's row of a history; missing figures are left out."""
    found = []
    for column, value in row.items():
        if column in _NOT_METRICS or isinstance(value, str) or value is None or value != value:
            continue
        found.append(Metric(metric_name(stage, column), float(value), int(row["epoch"])))
    return found


def metric_name(stage: str, column: str) -> str:
    """The metric that a history's column is recorded as.

    >>> metric_name("train_vqvae", "level_0_dead_codes")
    'codebook/level_0/dead_codes'
    >>> metric_name("train_prior", "train_loss")
    'prior/train_loss'
    """
    level, _, figure = column.removeprefix("level_").partition("_")
    if column.startswith("level_") and figure in _HEALTH:
        return f"codebook/level_{level}/{figure}"
    return f"{GROUPS[stage]}/{column}"


def trains(stage: str, report: Mapping[str, Any]) -> bool:
    """Whether a stage with this report is a training, and switched on."""
    return stage in GROUPS and bool(report.get("enabled", True))


def read_history(workspace: Workspace, stage: str) -> list[dict[str, Any]]:
    """The rows of a stage's history, an epoch each; none when it has not run."""
    path = workspace.history(stage)
    if not path.is_file():
        return []
    import pandas as pd

    return [{str(key): value for key, value in row.items()} for row in pd.read_csv(path).to_dict("records")]


def report_digest(workspace: Workspace, stage: str) -> str | None:
    """Digest of a stage's report; None when there is none."""
    try:
        return digest_json(read_report(workspace, stage))
    except DistillError:
        return None


def run_name(params: Params, dataset: str) -> str:
    """A name that says dataset and settings: everything that differs from the defaults, but for the machine's.

    What shapes the codes comes first and the dataset last, because the page cuts long names.

    >>> run_name(Params(), "kit")
    'kit'
    """
    settings = recorded_settings(params)
    order = [*(key for key in _SHAPING if key in settings), *(key for key in settings if key not in _SHAPING)]
    return " on ".join(filter(None, [" ".join(f"{_short_key(key)}={settings[key]}" for key in order), dataset]))


def _short_key(key: str) -> str:
    """Without the section, where no other section has such a key."""
    section, _, name = key.partition(".")
    both = name in VQVAEConfig.model_fields and name in PriorConfig.model_fields
    return key if both and section in ("vqvae", "prior") else name


def recorded_settings(params: Params) -> dict[str, str]:
    """The parameters that differ from the defaults, but for those of the machine and the names, as `section.key`."""
    default = Params()
    found: dict[str, Any] = {f"vqvae.{key}": value for key, value in overrides(params.vqvae).items()}
    if params.vqvae.base != BASE_AUTO:
        found["vqvae.base"] = params.vqvae.base
    found |= {f"prior.{key}": value for key, value in overrides(params.prior).items()}
    others = {
        "run": {"device", "precision", "threads", "dask"},
        "data": {"path"},
        "spectrogram": set(),
        "vocoder": set(),
    }
    for name, left_out in others.items():
        section, usual = (getattr(each, name).model_dump(mode="json") for each in (params, default))
        for key, value in section.items():
            # One process is not written down.
            if key not in left_out and value != usual.get(key):
                found[f"{name}.{key}"] = value
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}


def parameters_of(workspace: Workspace) -> dict[str, str]:
    """All resolved parameters as `section.key`, with the versions and settings that the model was made under."""
    params = workspace.params()
    sections: dict[str, Any] = {
        "data": {**params.data.model_dump(mode="json"), "validation_fraction": _held_out(workspace, params)},
        "spectrogram": params.spectrogram.model_dump(mode="json"),
        "run": {"preset": params.run.preset},
    }
    for stage, name in (("train_vqvae", "vqvae"), ("train_prior", "prior"), ("check_memorization", "memorization")):
        config = read_config(workspace, stage)
        sections[name] = config[name]
        sections["run"] |= config["runtime"]
    if params.vocoder.enabled:
        sections["vocoder"] = params.vocoder.model_dump(mode="json")
    model = read_manifest(workspace.model(params.model.name))
    if model.vocoder_metadata is not None:
        sections["vocoder"]["base"] = model.vocoder_metadata.base or BASE_NONE
    # A prior that was trained for a given model has the VQ-VAE of that model, not of these parameters.
    sections["vqvae"] = {**model.training_config, "base": model.lineage.parameters.get("base", BASE_NONE)}
    sections["environment"] = model.lineage.environment.model_dump(mode="json")
    return {
        f"{section}.{key}": value if isinstance(value, str) else json.dumps(value)
        for section, values in sections.items()
        for key, value in values.items()
    }


def folder_of(workspace: Workspace) -> str:
    """The folder of a workspace as runs name it: from its project, so that a moved one is known again."""
    root, project = workspace.root.resolve(), project_of(workspace.root).resolve()
    return root.relative_to(project).as_posix() if root.is_relative_to(project) else str(root)


def tags_at_start(workspace: Workspace, *, started_by: str, lineage: str) -> dict[str, str]:
    """The tags that are known before a run trains."""
    params = workspace.params()
    dataset = PreparedDataset(workspace.prepared)
    source, code = source_state(project_of(workspace.root), params.data.path), code_state()
    return {
        **_native(started_by, code.commit),
        "distill.lineage": lineage,
        "distill.started_by": started_by,
        "distill.version": __version__,
        "distill.commit": code.commit or "",
        "distill.project_commit": source.commit or "",
        "distill.dirty": "true" if source.dirty or code.dirty else "false",
        "distill.host": socket.gethostname(),
        "distill.python": platform.python_version(),
        "distill.dataset": dataset.name,
        "distill.data_digest": dataset.digest,
        "distill.workspace": folder_of(workspace),
        "distill.settings": json.dumps(recorded_settings(params), sort_keys=True),
    }


def _native(started_by: str, commit: str | None) -> dict[str, str]:
    """The tags behind the columns of MLflow's own page: source, version and user."""
    tags = {
        "mlflow.source.name": _SOURCES.get(started_by, started_by),
        "mlflow.source.type": "JOB" if started_by == "prefect" else "LOCAL",
    }
    if commit:
        tags["mlflow.source.git.commit"] = commit
    # A user without an account on this machine has no name.
    with suppress(OSError, KeyError):
        tags["mlflow.user"] = getpass.getuser()
    return tags


def tags_at_end(workspace: Workspace) -> dict[str, str]:
    """What the reports say: verdict, health, digest, warnings."""
    made, check = read_report(workspace, "assemble"), read_report(workspace, "check_memorization")
    tags = {
        "distill.digest": made["digest"],
        "distill.lineage": made["lineage"],
        "distill.model": made["model"],
        "distill.verdict": check["verdict"],
        "distill.verdict.reasons": "; ".join(check["reasons"]),
    }
    for stage in STAGES:
        digest = report_digest(workspace, stage)
        if digest:
            tags[f"distill.report.{stage}"] = digest
    for stage in GROUPS:
        report = _report(workspace, stage)
        if "health" in report:
            tags["distill.health"] = f"{report['health']['light']}: {report['health']['words']}"
        for number, warning in enumerate(report.get("warnings", ()), start=1):
            tags[f"distill.warning.{stage}.{number}"] = warning
    return tags


def summary_of(workspace: Workspace) -> dict[str, float]:
    """The few figures that runs are compared by, in one group: the best epoch's quality and use of the codebooks."""
    vqvae, prior = _report(workspace, "train_vqvae"), read_report(workspace, "train_prior")
    found: dict[str, Any] = {"best/prior_perplexity": prior["best"]["validation_perplexity"]}
    if followed := prior.get("following"):
        shares = list(followed["labels"].values())
        found |= {"following/labels": sum(shares) / len(shares) if shares else None}
        found |= {f"following/{name}": value for name, value in followed["knobs"].items()}
    if space := prior.get("space"):
        found |= {
            "space/perplexity": space["perplexity"]["validation"],
            "space/utilization": space["utilization"],
            "space/code_perplexity": space["code_perplexity"],
            "space/level_db": space["level_db"],
            "space/coherence": space["coherence"],
        }
    if vqvae:
        size = read_config(workspace, "train_vqvae")["vqvae"]["codebook_size"]
        levels = list(vqvae["codebook"].values())
        found |= {
            "best/lsd_db": vqvae["best"]["validation_lsd_db"],
            "best/vqvae_loss": vqvae["best"]["validation_loss"],
            "best/utilization_lowest": min(level["utilization"] for level in levels),
            "best/perplexity_share": sum(level["perplexity"] for level in levels) / size / len(levels),
            "best/dead_codes": sum(level["dead_codes"] for level in levels),
        }
    return {key: float(value) for key, value in found.items() if value is not None and value == value}


def files_of(workspace: Workspace) -> Iterator[tuple[Path, str]]:
    """The files to keep with a run, each with its folder there; of the previews only the last epoch's."""
    root = workspace.root
    names = ["params.yaml", "dvc.lock", "config/*.json", "reports/*", "history/*.csv", "plots/**/*", "models/*.md"]
    for name in names:
        for path in sorted(root.glob(name)):
            if path.is_file():
                folder = path.parent.relative_to(root).as_posix()
                yield path, "" if folder == "." else folder
    previews = sorted(workspace.previews.glob("epoch-*"))
    last = previews[-1].name.split("-")[1] if previews else ""
    for path in previews:
        if path.name.split("-")[1] == last:
            yield path, "previews"


def _held_out(workspace: Workspace, params: Params) -> float:
    given = params.data.validation_fraction
    return validation_fraction(PreparedDataset(workspace.prepared).usable_files) if given == "auto" else given


def _report(workspace: Workspace, stage: str) -> dict[str, Any]:
    path = workspace.report(stage)
    return read_report(workspace, stage) if path.is_file() else {}
