"""Tests that need torch, of `make test-gpu`.

They run on the GPU that is there. Without one, torch runs on the CPU and Triton's kernels in their interpreter.
"""

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported
