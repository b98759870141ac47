"""Train a generative audio model on a few sounds of one's own."""

__version__ = "0.1.0"
