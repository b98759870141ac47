"""Whether new sounds of a model end by themselves, unless something else is asked for."""

from distill.artifact.manifest import Manifest
from distill.configs import STRIDE


def ends_by_itself(manifest: Manifest) -> bool:
    """Whether a model learned sounds that begin and end: as a rule, a whole one fits into what its prior reads at once.

    Of such a model a new sound is one that ends where the prior ends it; of others, and of those that do not say how
    long their sounds were, it has exactly the duration that is asked for.
    """
    prior, spectrogram, metadata = manifest.prior_config, manifest.spectrogram_config, manifest.metadata
    if prior is None or not metadata.file_count or metadata.seconds is None:
        return False
    columns = prior.context // (prior.bands * prior.num_quantizers)
    window = columns * STRIDE * spectrogram.hop_length / spectrogram.sample_rate
    return 0 < metadata.seconds / metadata.file_count <= window
