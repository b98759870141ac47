"""Stage configure: parameters and the dataset's size become one resolved file a stage."""

from typing import Any

from distill.dataset.store import PreparedDataset
from distill.errors import UsageError
from distill.params import Params
from distill.stages.base import base_digest
from distill.stages.planning import Planned, planned, sizes_of
from distill.stages.workspace import Call, write_config, write_report
from distill.training.runtime import resolve_runtime

STAGE = "configure"


def run(call: Call) -> dict[str, Any]:
    """Write `config/<stage>.json` for each stage that follows.

    Raises:
        UsageError: the parameters do not fit together.
        ArtifactError: the base cannot be used.
    """
    workspace = call.workspace
    params = workspace.params()
    sizes = sizes_of(PreparedDataset(workspace.prepared))
    plan = planned(params, sizes)
    vqvae, prior = plan.vqvae.model_dump(mode="json"), plan.prior.model_dump(mode="json")
    runtime = resolve_runtime(params.run).values()
    _require_batches(params, plan)
    preset = params.run.preset
    base = base_digest(params, workspace.root)
    based = {"base": base} if base else {}
    write_config(workspace, "train_vqvae", {"vqvae": vqvae, "runtime": runtime, "preset": preset, **based})
    write_config(workspace, "train_prior", {"prior": prior, "runtime": runtime, "preset": preset})
    write_config(
        workspace,
        "check_memorization",
        {"memorization": params.memorization.model_dump(mode="json"), "runtime": runtime},
    )
    return write_report(
        workspace,
        STAGE,
        {
            "preset": preset,
            "files": sizes.files,
            "train_chunks": sizes.train_chunks,
            "vqvae": vqvae,
            "prior": prior,
            "runtime": runtime,
            **based,
        },
    )


def _require_batches(params: Params, plan: Planned) -> None:
    sizes = {"vqvae": plan.vqvae.batch_size, "prior": plan.prior.batch_size}
    if params.vocoder.enabled:
        sizes["vocoder"] = params.vocoder.batch_size
    for name, size in sizes.items():
        if size < params.run.processes:
            raise UsageError(
                f"run.processes: {params.run.processes} processes cannot share batches of {size} items: use processes "
                f"{size}, or raise {name}.batch_size"
            )
