"""Model files that are checked to the last weight before anything relies on them."""

from pathlib import Path

from distill.artifact.manifest import Manifest


def checked(path: Path, *, generates: bool = False) -> Manifest:
    """What a model file says of itself, once its weights match their digest and fit the networks.

    Args:
        path: the file.
        generates: whether it must have a prior.

    Raises:
        ArtifactError: the file is missing, damaged, foreign or of another version, or has no prior.
        StorageError: the file is there and cannot be read.
    """
    from distill.artifact.model_file import read_model
    from distill.codec.load import build_networks

    model = read_model(path)
    networks = build_networks(model, path)
    if generates:
        # Asking for it raises where there is none.
        _ = networks.prior
    return model.manifest
