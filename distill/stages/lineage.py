"""What a model follows from: code versions, data, parameters and environment settings."""

import platform
from typing import Any

from distill.artifact.manifest import Environment, Lineage
from distill.dataset.store import PreparedDataset
from distill.stages.versions import CODE_VERSIONS
from distill.stages.workspace import Workspace
from distill.training.runtime import Runtime, environment


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


def of_run(
    workspace: Workspace, dataset: PreparedDataset, stages: tuple[str, ...], sections: dict[str, Any], runtime: Runtime
) -> Lineage:
    """The lineage of what `stages` made with the resolved parameters in `sections`."""
    params = workspace.params()
    parameters = {
        "data": {**params.data.model_dump(mode="json"), "path": dataset.name},
        "spectrogram": params.spectrogram.model_dump(mode="json"),
        "model": params.model.model_dump(mode="json"),
        **sections,
    }
    return Lineage.of(
        code_versions={stage: CODE_VERSIONS[stage] for stage in stages},
        data_digest=dataset.digest,
        parameters=parameters,
        seed=runtime.seed,
        environment=Environment(python=platform.python_version(), **environment(runtime)),
    )
