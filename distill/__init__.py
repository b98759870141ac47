"""Train a generative audio model on a few sounds of one's own."""

import os

# MKL otherwise adds up in an order that depends on where in memory a process happens to hold its numbers. It reads
# this once, before its first product.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
# Threads of OpenMP otherwise spin while they wait for each other. Beside other work the one that they wait for may have
# lost its core to that work, or to those that spin. It is read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
