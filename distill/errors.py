"""Every error that a user may see, with the exit code that belongs to it."""

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 3
LONGEST_MESSAGE = 1500


class DistillError(Exception):
    """An error whose message is one line: what is wrong, where, and what to do.

    The command line prints the message alone, without a traceback, and exits with `exit_code`.
    """

    exit_code = EXIT_FAILURE

    def __str__(self) -> str:
        """The message; what a damaged file quotes into it may be of any length, and only its ends are shown."""
        text, half = super().__str__(), LONGEST_MESSAGE // 2
        return text if len(text) <= LONGEST_MESSAGE else f"{text[:half]} ... {text[-half:]}"


class UsageError(DistillError):
    """A parameter, option or argument that cannot be right whatever the data are."""

    exit_code = EXIT_USAGE


class DataError(DistillError):
    """Sounds, folders, models or prepared data that are not there or cannot be used."""


class ArtifactError(DistillError):
    """A model file or another file of ours that is damaged, foreign or of another version."""


class TrainingError(DistillError):
    """A training that cannot go on."""


class StorageError(DistillError):
    """A file or folder that cannot be read or written: permissions, a full disk, a lock that is held, a file that is
    there already.
    """


class TrackingError(DistillError):
    """The record of runs (MLflow) that cannot be reached, read or written."""


class Interrupted(DistillError):
    """The user asked to stop (SIGINT, SIGTERM or SIGHUP); what was done so far is saved."""

    exit_code = EXIT_INTERRUPTED
