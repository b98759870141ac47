"""Train a generative audio model on a few sounds of one's own."""

import os

# MKL otherwise adds up in an order that depends on where in memory a process happens to hold its numbers. It reads
# this once, before its first product.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

__version__ = "0.1.0"
