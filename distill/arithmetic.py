"""Importing this before the first computation with torch makes a fresh process compute what every other computes."""

import torch

# MKL picks the code of its vector functions (cos, exp, log, tanh, square root) during the first call. Where two threads
# make that call together, as torch has them do from 2,049 numbers on, one of them sometimes gets other code, with
# other last bits: in about one of a hundred processes for a window of 2,048 samples. A single number needs one thread.
torch.zeros(1).cos()

# A float32 is one on CUDA too, where convolutions otherwise keep 10 bits of each factor (TF32).
torch.backends.cuda.matmul.fp32_precision = "ieee"
torch.backends.cudnn.fp32_precision = "ieee"
