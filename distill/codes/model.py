"""A model as far as codes by hand need it: its codec, who it is, and its prior if there is one."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from distill.artifact.container import digest_tensors
from distill.artifact.model_file import read_model
from distill.codec.codec import Codec, Samples
from distill.codec.load import Networks, build_networks, codec_of
from distill.codes.grid import CodeGrid, Codes, ModelIdentity, Source
from distill.configs import STRIDE, SpectrogramConfig
from distill.files import digest_json
from distill.mel_scale import hertz_to_mel, mel_to_hertz
from distill.models.prior import CodePrior


@dataclass(frozen=True)
class CodesModel:
    """A loaded model. One that is loaded serves any number of grids."""

    codec: Codec
    identity: ModelIdentity
    networks: Networks

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> "CodesModel":
        """The model of a `.distill` file.

        Raises:
            ArtifactError: the file is missing, damaged, foreign, or its weights do not fit its configuration.
            StorageError: the file is there and cannot be read.
        """
        model = read_model(path)
        networks = build_networks(model, path)
        spectrogram = model.manifest.spectrogram_config
        meaning = [digest_tensors(model.vqvae_state), spectrogram.model_dump(mode="json")]
        if model.space_state is not None:
            meaning.append(digest_tensors({"entries": model.space_state["entries"]}))
        codec_digest = digest_json(meaning)
        identity = ModelIdentity(model.manifest.metadata.name, model.digest, codec_digest)
        return cls(codec_of(model, networks, device), identity, networks)

    @property
    def prior(self) -> CodePrior:
        """The prior, on the codec's device.

        Raises:
            ArtifactError: the model has none.
        """
        return self.networks.prior.to(self.codec.device)

    @property
    def sample_rate(self) -> int:
        """Of decoded sounds, in Hz."""
        return self.codec.spectrogram.sample_rate

    def grid(self, codes: Codes, source: Source | None = None) -> CodeGrid:
        """A grid of codes `[columns, bands, levels]` of this model, whose last level may be that of space.

        Raises:
            DataError: they do not fit the model.
        """
        return CodeGrid(
            codes=codes,
            model=self.identity,
            codebook_size=self.codec.codebook_size,
            labels=self.codec.labels[: codes.shape[-1]],
            seconds_per_column=self.codec.column_samples / self.sample_rate,
            bands_hz=_bands_hz(self.codec.spectrogram),
            source=source,
        )

    def place(self, codes: Codes, samples: Samples, width: float | None = 1.0) -> Samples:
        """Decoded samples `[n]` of codes in two channels `[2, n]`; as they are where the codes have no space.

        What tells the channels apart is scaled by `width`; None: there is one channel.
        """
        return np.concatenate(list(self.codec.in_two_channels([samples], codes, width))).T

    def require(self, grid: CodeGrid, what: str = "the grid") -> None:
        """Check that a grid belongs to this model.

        Raises:
            ArtifactError: it belongs to another, whose digest the message names beside this one's.
            DataError: it claims to belong to this one and has other bands or levels.
        """
        self.identity.require(grid.model, what)
        # Also refuses a file that was edited by hand.
        self.codec.check_grid(grid.codes)
        self.grid(grid.codes)


def _bands_hz(config: SpectrogramConfig) -> tuple[tuple[float, float], ...]:
    """Where each band of the grid begins and ends, in Hz: half way up the filters at its edges (HTK mel scale)."""
    top = hertz_to_mel(config.sample_rate / 2)
    edges = (np.arange(0, config.n_mels + 1, STRIDE) + 0.5) * top / (config.n_mels + 1)
    edges[[0, -1]] = 0.0, top
    hertz = [round(float(each), 1) for each in mel_to_hertz(edges)]
    return tuple(pairwise(hertz))
