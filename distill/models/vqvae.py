"""A convolutional VQ-VAE with residual quantization over log-mel spectrograms."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from distill.configs import STRIDE
from distill.models.quantizer import QuantizerWrapper
from distill.models.shard import BatchNorm2d, Dropout2d

__all__ = ["ConvVQVAE", "QuantizerWrapper", "VQDecoder", "VQEncoder"]

CHANNELS = (1, 32, 64, 128, 256)


class VQEncoder(nn.Module):
    """`[batch, 1, n_mels, frames]` to `[batch, codebook_dim, n_mels / 16, frames / 16]`."""

    def __init__(self, codebook_dim: int, dropout: float) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for inner, outer in pairwise(CHANNELS):
            blocks.append(_block(nn.Conv2d(inner, outer, 3, stride=2, padding=1), outer, dropout))
        self.blocks = nn.Sequential(*blocks)
        self.project = nn.Conv2d(CHANNELS[-1], codebook_dim, 1)

    def forward(self, mel: Tensor) -> Tensor:
        return self.project(self.blocks(mel))


class VQDecoder(nn.Module):
    """`[batch, codebook_dim, bands, columns]` to `[batch, 1, 16 * bands, 16 * columns]`, never negative."""

    def __init__(self, codebook_dim: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Conv2d(codebook_dim, CHANNELS[-1], 1)
        widths = CHANNELS[:0:-1]
        blocks: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            blocks.append(_block(_upsample(inner, outer), outer, dropout))
        self.blocks = nn.Sequential(*blocks)
        self.out = nn.Sequential(_upsample(widths[-1], CHANNELS[0]), nn.Softplus())

    def forward(self, quantized: Tensor) -> Tensor:
        return self.out(self.blocks(self.project(quantized)))


class ConvVQVAE(nn.Module):
    """Encoder, residual quantizer and decoder.

    Input and output are log-mel spectrograms `[batch, 1, n_mels, frames]` of any number of frames, padded with
    silence to multiples of 16 inside and cropped back. A position of the code grid covers 16 bins by 16 frames;
    positions are in row-major order over `[bands, columns]`, the band changing slowest.

    With `trainable=False` it is for evaluation alone, and is there in half the time.
    """

    def __init__(
        self,
        codebook_dim: int = 128,
        codebook_size: int = 256,
        num_quantizers: int = 3,
        decay: float = 0.95,
        commitment_weight: float = 0.25,
        threshold_ema_dead_code: float = 2,
        dropout: float = 0.2,
        *,
        kmeans_iters: int = 10,
        trainable: bool = True,
    ) -> None:
        super().__init__()
        self.codebook_dim = codebook_dim
        self.codebook_size = codebook_size
        self.num_quantizers = num_quantizers
        self.commitment_weight = commitment_weight
        self.encoder = VQEncoder(codebook_dim, dropout)
        self.quantizer = QuantizerWrapper(
            dim=codebook_dim,
            codebook_size=codebook_size,
            num_quantizers=num_quantizers,
            decay=decay,
            threshold_ema_dead_code=threshold_ema_dead_code,
            kmeans_iters=kmeans_iters,
            trainable=trainable,
        )
        self.decoder = VQDecoder(codebook_dim, dropout)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruct `[batch, 1, n_mels, frames]`.

        Returns the reconstruction (same shape), the indices `[batch, bands * columns, levels]` and the unweighted
        commitment distance, a scalar that is the same in training and evaluation mode.
        """
        spatial, indices, commitment = self.quantize(self.encode(mel))
        return self.decode(spatial, (mel.shape[-2], mel.shape[-1])), indices, commitment

    def encode(self, mel: Tensor) -> Tensor:
        """`[batch, 1, n_mels, frames]` to unquantized vectors `[batch, codebook_dim, bands, columns]`."""
        height, width = mel.shape[-2:]
        return self.encoder(functional.pad(mel, (0, -width % STRIDE, 0, -height % STRIDE)))

    def quantize(self, encoded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantize `[batch, codebook_dim, bands, columns]`: the same shape, the indices, the commitment distance."""
        quantized = self.quantizer(encoded.flatten(2).transpose(1, 2))
        spatial = quantized.vectors.transpose(1, 2).reshape(encoded.shape)
        return spatial, quantized.indices, quantized.commitment

    def decode(self, quantized: Tensor, target_shape: tuple[int, int]) -> Tensor:
        """`[batch, codebook_dim, bands, columns]` to `[batch, 1, n_mels, frames]`, cropped to `target_shape`."""
        height, width = target_shape
        return self.decoder(quantized)[..., :height, :width]

    def codes_to_embeddings(self, indices: Tensor, spatial_shape: tuple[int, int]) -> Tensor:
        """`[batch, bands * columns, levels]` to `[batch, codebook_dim, bands, columns]`."""
        vectors = self.quantizer.get_output_from_indices(indices)
        return vectors.transpose(1, 2).reshape(len(indices), self.codebook_dim, *spatial_shape)


def _block(convolution: nn.Module, channels: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(convolution, BatchNorm2d(channels), nn.ReLU(inplace=True), Dropout2d(dropout))


def _upsample(inner: int, outer: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inner, outer, 3, stride=2, padding=1, output_padding=1)
