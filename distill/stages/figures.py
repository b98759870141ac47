"""The few figures of a stage's report that runs are compared by (`dvc metrics`)."""

from collections.abc import Callable, Mapping
from typing import Any

Report = Mapping[str, Any]


def _prepare(report: Report) -> dict[str, Any]:
    return {"sounds": report["usable"], "seconds": report["seconds_used"]}


def _train_vqvae(report: Report) -> dict[str, Any]:
    levels = report["codebook"].values()
    return {
        "lsd_db": report["best"]["validation_lsd_db"],
        "utilization": min(level["utilization"] for level in levels),
        "dead_codes": sum(level["dead_codes"] for level in levels),
    }


def _train_prior(report: Report) -> dict[str, Any]:
    return {"perplexity": report["best"]["validation_perplexity"]}


def _check_memorization(report: Report) -> dict[str, Any]:
    return {"verdict": report["verdict"]}


# By stage, in the order of the stages: held-out distance in dB and lowest use of a codebook of the VQ-VAE's best epoch,
# held-out perplexity of the prior's.
FIGURES: dict[str, Callable[[Report], dict[str, Any]]] = {
    "prepare": _prepare,
    "train_vqvae": _train_vqvae,
    "train_prior": _train_prior,
    "check_memorization": _check_memorization,
}
