"""Compiles all kernels, once per version and machine: `python -P -m services.trainer.sae.warming`.

It prints its progress: lines with the number of compiled functions and that of all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from services.trainer.sae.config import Config
from services.trainer.sae.kernels import compiling
from services.trainer.sae.training import Training

ROWS, DIMENSION = 64, 256
"""The least on which all kernels run: smaller encoders are not screened."""


def warm(report: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Runs each kernel once, those that a training needs first. It takes half a minute of one core.

    `report` is called with the functions compiled so far, and those that there are.
    """
    if compiling.all_are_cached():
        return
    vectors = np.random.default_rng(0).standard_normal((ROWS, DIMENSION), dtype=np.float32)
    with compiling.progress_to(report):
        for architecture in ("top_k", "batch_top_k"):
            config = Config.resolve(ROWS, DIMENSION, 1, architecture=architecture, expansion=4, k=4, epochs=1)
            training = Training(vectors, config)
            while training.step < training.total_steps:
                training.advance()
            training.weights.fvu(vectors)
    compiling.mark_all_cached()


if __name__ == "__main__":
    warm(lambda done, total: print(done, total, flush=True))  # noqa: T201 - its output is for the trainer to read
