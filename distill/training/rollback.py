"""Going back to a checkpoint while nobody trains; free of torch."""

from pathlib import Path

from distill.errors import UsageError
from distill.live.folder import RunFolder
from distill.live.journal import ROLLBACK, Journal, effects_of
from distill.training.position import abandon, checkpoint_files, step_of, verified_position


def roll_back_stopped(folder: RunFolder, journal_path: Path, step: int) -> int:
    """Let the next start go on from the checkpoint of a step; how many changes no longer count.

    Raises:
        UsageError: there is no such checkpoint, or it is not on the way that the journal describes.
        StorageError: a training has begun in the meantime, or the journal cannot be written.
        ArtifactError: the checkpoint or the journal is damaged.
    """
    with folder.held():
        state, _ = folder.noted()
        effects = verified_position(state, step).effects
        journal = Journal(journal_path, folder.stage)
        entries = journal.effective()
        if effects_of(entries[: len(effects)]) != effects:
            raise UsageError(
                f"the checkpoint of step {step} does not belong to {journal_path}: the journal was changed"
            )
        abandoned = entries[len(effects) :]
        files = {step_of(path): path for path in checkpoint_files(state)}
        if abandoned:
            newest = max(files)
            kept = entries[len(effects) - 1].seq if effects else 0
            journal.append(newest, "command", {ROLLBACK: step}, {"kept": kept})
        for each, path in files.items():
            if each > step:
                abandon(path)
        return len(abandoned)
