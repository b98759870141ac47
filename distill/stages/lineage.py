"""What a model follows from: code versions, data, parameters and environment settings."""

import platform
from collections.abc import Sequence
from typing import Any

from distill.artifact.lineage import Environment, Lineage
from distill.artifact.model_file import read_manifest
from distill.dataset.store import PreparedDataset
from distill.live.journal import Journal, for_model_file
from distill.stages import base
from distill.stages.versions import CODE_VERSIONS, FORMER_NAMES
from distill.stages.workspace import Workspace, read_config
from distill.training.runtime import Runtime, environment

# A lineage keeps the names that stages had at first: the same training gives the same bytes.
_FIRST_NAMES = {name: former for former, name in FORMER_NAMES.items()}
# What the training of the VQ-VAE follows from; `base` is the digest of what it starts from, where it does.
_TRAINED = ("vqvae", "runtime", "preset", "base")


def dataset_facts(dataset: PreparedDataset) -> dict[str, Any]:
    """The fields of a model's metadata that describe its dataset."""
    summary = dataset.summary
    return {
        "dataset": dataset.name,
        "file_count": dataset.usable_files,
        "train_files": summary["train_files"],
        "validation_files": summary["validation_files"],
        "train_chunks": summary["train_chunks"],
        "validation_chunks": summary["validation_chunks"],
        "seconds": summary["seconds_used"],
    }


def of_vqvae(
    workspace: Workspace, dataset: PreparedDataset, values: dict[str, Any], journal: Sequence[dict[str, Any]]
) -> Lineage:
    """The lineage of the VQ-VAE that the resolved parameters `values` of its training and a journal give."""
    sections = {name: values[name] for name in _TRAINED if name in values} | _changes("vqvae", journal)
    return _lineage(workspace, dataset, ("prepare", "configure", "train_vqvae"), sections, Runtime(**values["runtime"]))


def of_model(
    workspace: Workspace,
    dataset: PreparedDataset,
    vqvae: Lineage,
    journal: Sequence[dict[str, Any]],
    vocoder_base: str | None,
) -> Lineage:
    """The lineage of the finished model around a VQ-VAE, which may have been trained on other sounds.

    `journal` is that of the prior, `vocoder_base` the digest of what the vocoder starts from. A vocoder that is
    switched off leaves no trace in it.
    """
    values = read_config(workspace, "train_prior")
    before = vqvae.parameters
    sections: dict[str, Any] = {
        **{name: before[name] for name in _TRAINED if name in before},
        "prior": values["prior"],
        # Of a finished model, around whose VQ-VAE another prior was trained, only that part stays.
        "vqvae_lineage": before.get("vqvae_lineage", vqvae.id),
        "memorization": read_config(workspace, "check_memorization")["memorization"],
        **_changes("prior", journal),
    }
    stages = tuple(CODE_VERSIONS)
    vocoder = workspace.params().vocoder
    if vocoder.enabled:
        sections["vocoder"] = vocoder.model_dump(mode="json") | ({"base": vocoder_base} if vocoder_base else {})
    else:
        stages = tuple(stage for stage in stages if stage != "train_vocoder")
    return _lineage(workspace, dataset, stages, sections, Runtime(**values["runtime"]))


def planned_lineage(workspace: Workspace, *, vqvae_trained: bool) -> Lineage:
    """The lineage that the finished model of a configured workspace will have.

    With `vqvae_trained` the VQ-VAE that lies in the workspace counts, else the one that its parameters ask for.

    Raises:
        DataError: the stages prepare and configure have not run.
        ArtifactError: a file of the workspace, or the base, cannot be used.
        UsageError: the base is for other spectrograms or code vectors.
    """
    dataset = PreparedDataset(workspace.prepared)
    if vqvae_trained:
        vqvae = read_manifest(workspace.vqvae).lineage
    else:
        vqvae = of_vqvae(workspace, dataset, read_config(workspace, "train_vqvae"), _journal(workspace, "train_vqvae"))
    params = workspace.params()
    start = base.vocoder_base(params, workspace.root) if params.vocoder.enabled else None
    return of_model(workspace, dataset, vqvae, _journal(workspace, "train_prior"), start and start[1])


def _journal(workspace: Workspace, stage: str) -> list[dict[str, Any]]:
    return for_model_file(Journal(workspace.journal(stage), stage).effective())


def _changes(name: str, journal: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The section of live changes to a training; none where there were none."""
    changes = [{"step": entry["step"], "change": entry["change"]} for entry in journal]
    return {f"{name}_journal": changes} if changes else {}


def _lineage(
    workspace: Workspace, dataset: PreparedDataset, stages: tuple[str, ...], sections: dict[str, Any], runtime: Runtime
) -> Lineage:
    params = workspace.params()
    parameters = {
        "data": {**params.data.model_dump(mode="json"), "path": dataset.name},
        "spectrogram": params.spectrogram.model_dump(mode="json"),
        "model": params.model.model_dump(mode="json"),
        **sections,
    }
    return Lineage.of(
        code_versions={_FIRST_NAMES.get(stage, stage): CODE_VERSIONS[stage] for stage in stages},
        data_digest=dataset.digest,
        parameters=parameters,
        seed=runtime.seed,
        environment=environment_of(runtime),
    )


def environment_of(runtime: Runtime) -> Environment:
    """The environment settings of a run in this process."""
    return Environment(python=platform.python_version(), **environment(runtime))
