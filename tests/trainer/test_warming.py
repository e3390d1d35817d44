"""What warming compiles is all that trainings call, so that none waits for a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from services.trainer.sae.kernels import compiling
from services.trainer.sae.warming import warm

TRAININGS = """
from pathlib import Path

import numpy as np
from services.trainer.sae.config import Config
from services.trainer.sae.kernels import encoding, forward, products, screening, selecting, update, vnni
from services.trainer.sae.training import Training
from services.trainer.sae.weights import Weights

vectors = np.random.default_rng(0).standard_normal((3000, 96), dtype=np.float32)
for architecture in ("top_k", "batch_top_k", "matryoshka"):
    for expansion in (4, 40):
        config = Config.resolve(*vectors.shape, 2, architecture=architecture, expansion=expansion, epochs=12)
        training = Training(vectors, config)
        while training.step < training.total_steps:
            training.advance()
        training.measure()
        training.weights.encode(vectors, np.arange(3000, dtype=np.uint64))
        Path("weights").write_bytes(training.weights.to_bytes({}))
        served = Weights.load(Path("weights"))
        sent = np.frombuffer(vectors[:7].tobytes(), np.float32).reshape(7, -1)  # read-only, as from a request
        served.unexplained(sent, *served.encode_dense(sent))
for module in (encoding, forward, products, screening, selecting, update, vnni):
    for name, value in vars(module).items():
        if hasattr(value, "stats") and value.stats.cache_misses:
            print(module.__name__, name, *value.stats.cache_misses)
"""


def test_what_comes_after_warming_compiles_nothing(tmp_path: Path) -> None:
    warm()
    assert compiling.all_are_cached()
    paths = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", TRAININGS], cwd=tmp_path, env=paths, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
