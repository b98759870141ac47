"""The trained vocoder with half of its numbers' bits, as distill ships it: `python ship.py`."""

from pathlib import Path

from distill.artifact.model_file import read_manifest
from distill.artifact.vocoder_file import VocoderFile, read_vocoder, write_vocoder

TRAINED = Path("trained")


def main() -> None:
    """Write `trained/vocoder-half.safetensors`."""
    vqvae = read_manifest(TRAINED / "vqvae.distill").tensor_digest
    found = read_vocoder(TRAINED / "vocoder.safetensors", vqvae_digest=vqvae)
    if found is None:
        raise SystemExit("params.yaml has no vocoder.enabled")
    state = {name: tensor.half() for name, tensor in found.state.items()}
    half = VocoderFile(found.config, found.metadata, found.inverse, vqvae, state)
    print(write_vocoder(TRAINED / "vocoder-half.safetensors", half))  # noqa: T201, the digest for distill/stages/base.py


if __name__ == "__main__":
    main()
