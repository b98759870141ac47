"""Whether new sounds repeat the sounds of the base that their model started from.

The memorization check of each model, with the sounds of the base in the place of the training's: new sounds are held
against all of them, and so are the held-out sounds of the set, which cannot be copies of the base's. `--base` is the
folder base/ in which the pipeline of docs/explanation/base.md has prepared its sounds, `--keep` has workspaces
`SET-SEED` with a VQ-VAE and a prior (those of asking.py and new_sounds.py); one that is missing is trained.

- `verdict` and `flagged`: of the check, and how many new sounds come as near to a sound of the base as a copy would;
- `nearest` and `limit`: the least distance of a new sound, and that of a copy;
- `median` and `held out`: the median distance of new sounds, and of held-out ones;
- `codes` and `limit of codes`: the longest run of codes that a new sound shares with one of the base, and that
  of a copy.
"""

from pathlib import Path
from typing import Any

from distill.configs import STRIDE
from distill.dataset.split import TRAIN, VALIDATION
from distill.dataset.store import PreparedDataset
from distill.generation.generator import sample_grids
from distill.generation.sampler import SamplingConfig
from distill.memorization.compare import Findings, compare
from distill.memorization.of_model import DatasetSounds
from distill.memorization.sounds import CheckedSound, Silence
from distill.memorization.verdict import judge
from distill.stages.workspace import Workspace
from output import Report, parser
from workspaces import generator_of, kept, train

import numpy as np
import torch

MOST_SECONDS = 3.0
COLUMNS = ["set", "new", "verdict", "flagged", "nearest", "limit", "median", "held out", "codes", "limit of codes"]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sets", nargs="+", default=["kit", "mixed", "tabla", "digits"], help="folders of sounds")
    options.add_argument("--seeds", type=int, default=1, help="seeds 0 to n-1, each with its own split")
    options.add_argument("--count", type=int, default=32, help="new sounds of each model")
    options.add_argument("--set", action="append", default=[], help="section.key=value, as in the command")
    options.add_argument("--base", type=Path, required=True, help="folder with the prepared sounds of the base")
    options.add_argument("--keep", type=Path, help="folder for the workspaces; one that is trained is taken as it is")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    report, base = Report(args), PreparedDataset(Workspace(args.base).prepared)
    rows, reasons = list[list[Any]](), dict[str, Any]()
    for name in args.sets:
        for seed in range(args.seeds):
            row, reasons[f"{name} {seed}"] = _row(name, seed, base, args)
            rows.append(row)
    report.show(COLUMNS, rows, reasons=reasons)


def _row(name: str, seed: int, base: PreparedDataset, args: Any) -> tuple[list[Any], Any]:
    with kept(name, seed, args) as workspace:
        for stage, file in (("train_vqvae", workspace.vqvae), ("train_prior", workspace.prior)):
            if not file.exists():
                train(workspace, stage)
        findings = _held_against(base, workspace, args.count)
    verdict = judge(findings, file_count=base.usable_files, perplexity={}, memorization_warnings=[])
    distances, sounds = verdict.evidence["distances"], verdict.evidence["generated"]
    row = [
        f"{name} {seed}",
        len(sounds),
        verdict.verdict,
        len(verdict.flagged),
        min(each["distance"] for each in sounds),
        distances["threshold"],
        distances["generated"],
        distances["held_out"],
        max(each["code_run"]["codes"] for each in sounds),
        verdict.evidence["code_runs"]["threshold"],
    ]
    return row, list(verdict.reasons)


def _held_against(base: PreparedDataset, workspace: Workspace, count: int) -> Findings:
    generator = generator_of(workspace)
    codec = generator.codec
    silence, samples = Silence(codec), codec.samples_of(MOST_SECONDS)
    generated = list[CheckedSound]()
    for seed, grid in sample_grids(generator, range(count), samples, config=SamplingConfig(), natural=True):
        log_mel = np.maximum(codec.decode_log_mel(grid), 0.0)
        generated.append(CheckedSound(f"new sound {seed}", log_mel, grid, silence.sounding(log_mel, grid)))
    own = PreparedDataset(workspace.prepared)
    return compare(
        generated,
        DatasetSounds(codec, base, base.segments_of(TRAIN)),
        DatasetSounds(codec, own, own.segments_of(VALIDATION)),
        silence,
        spectrogram=codec.spectrogram,
        most_frames=STRIDE * codec.columns_of(samples),
    )


if __name__ == "__main__":
    main()
