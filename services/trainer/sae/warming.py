"""Compiles all kernels, once for a version and a machine: `python -P -m services.trainer.sae.warming`."""

from __future__ import annotations

import numpy as np

from services.trainer.sae.config import Config
from services.trainer.sae.kernels import compiling
from services.trainer.sae.training import Training

ROWS, DIMENSION = 64, 256
"""The least on which all kernels run: smaller encoders aren't screened."""


def warm() -> None:
    """Runs each kernel once, what is needed first comes first. It takes half a minute of one core."""
    if compiling.all_are_kept():
        return
    vectors = np.random.default_rng(0).standard_normal((ROWS, DIMENSION), dtype=np.float32)
    for architecture in ("top_k", "batch_top_k"):
        config = Config(architecture=architecture, expansion=4, k=4, epochs=1).resolved(ROWS, DIMENSION, 1)
        training = Training(vectors, config)
        while training.step < training.total_steps:
            training.advance()
        training.weights.fvu(vectors)
    compiling.keep_all()


if __name__ == "__main__":
    warm()
