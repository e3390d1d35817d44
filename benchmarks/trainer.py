"""PRISMA's trainer against PRISMA v2's own autoencoder and recipe, on the same vectors, split, d, n and k.

The vectors are those of the sample. PRISMA v2 is `prismadb` 0.1.0: its `sae/modules.py` is taken from its package at
run time; z-score, AdamW with lr 1e-4, batch 512, 20 epochs, as its own trainer does. FVU is measured in the vectors'
own space for both. A latent is dead that no training row activates at the end. Batches of both are taken from memory,
which favours v2: its own trainer has a slower loader.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prisma_client import sample
from services.embedder.providers import Embedding
from services.embedder.providers.builtin import BuiltinProvider
from services.trainer.sae import kernels
from services.trainer.sae.config import Config
from services.trainer.sae.training import Training

EPOCHS, BATCH, RATE, THREADS = 20, 512, 1e-4, 2
Record = dict[str, Any]
F32 = NDArray[np.float32]


def run() -> list[Record]:
    """All records."""
    kernels.set_threads(THREADS)
    torch.set_num_threads(THREADS)
    vectors = _vectors()
    config = Config().resolved(len(vectors), THREADS)
    Training(vectors, config).advance()  # compiles the kernels
    ours = Training(vectors, config)
    train, held_out = vectors[ours.train_rows], vectors[ours.held_out]
    peer = Peer(train, config)
    seconds: dict[str, list[float]] = {"prisma": [], "prismadb": []}
    for _ in range(EPOCHS):  # in turn, so that both meet the same machine
        seconds["prisma"].append(_timed(lambda: [ours.advance() for _ in range(ours.steps_per_epoch)]))
        seconds["prismadb"].append(_timed(peer.epoch))
    trained = ours.steps_per_epoch * config.batch_size
    indices, _values = ours.weights.encode_dense(held_out)
    all_indices, _values = ours.weights.encode_dense(train)
    latents = ours.weights.latent_count
    results = {
        "prisma": {
            "held_out_fvu": ours.weights.fvu(held_out),
            "l0": float((indices >= 0).sum(axis=1).mean()),
            "dead_share": 1 - len(np.unique(all_indices[all_indices >= 0])) / latents,
            "samples_per_second": trained / statistics.median(seconds["prisma"]),
        },
        "prismadb": {
            **peer.measure(held_out),
            "samples_per_second": len(train) / statistics.median(seconds["prismadb"]),
        },
    }
    units = {"held_out_fvu": "1", "l0": "latents", "dead_share": "1", "samples_per_second": "samples/s"}
    case = f"sample N={len(vectors)} d={vectors.shape[1]} n={latents} k={config.k} epochs={EPOCHS} threads={THREADS}"
    return [
        {
            "benchmark": "trainer",
            "subject": subject,
            "case": case,
            "metric": metric,
            "value": value,
            "unit": units[metric],
        }
        for subject, values in results.items()
        for metric, value in values.items()
    ]


class Peer:
    """PRISMA v2's autoencoder and recipe."""

    def __init__(self, train: F32, config: Config) -> None:
        torch.manual_seed(0)
        self._modules: Any = _peer_modules()
        x = torch.tensor(train)
        self._mean, self._std = self._modules.compute_zscore_stats(x)
        self._x = self._modules.zscore_transform(x, self._mean, self._std)
        d = train.shape[1]
        self._config = self._modules.SAEConfig(d_in=d, d_latent=config.expansion * d, k=config.k, lr=RATE)
        self._model = self._modules.SAE(self._config)
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=RATE)

    def epoch(self) -> None:
        """One pass."""
        self._model.start_epoch()
        for batch in torch.randperm(len(self._x)).split(BATCH):
            self._optimizer.zero_grad()
            loss = self._modules.sae_loss_func(self._model, self._x[batch], self._config.alpha_aux)
            loss.total.backward()
            self._optimizer.step()

    def measure(self, held_out: F32) -> dict[str, float]:
        """Held-out FVU in the vectors' own space, L0, and the share of latents that no training row activates."""
        with torch.no_grad():
            x = torch.tensor(held_out)
            reconstruction, _dense, codes = self._model(self._modules.zscore_transform(x, self._mean, self._std))
            residual = x - (reconstruction * self._std + self._mean)
            _reconstruction, _dense, on_train = self._model(self._x)
            return {
                "held_out_fvu": float(residual.square().sum() / (x - x.mean(dim=0)).square().sum()),
                "l0": float((codes > 0).sum(dim=1).float().mean()),
                "dead_share": float(((on_train > 0).sum(dim=0) == 0).float().mean()),
            }


def _peer_modules() -> ModuleType:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "prismadb==0.1.0"]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            wheel.extract("sae/modules.py", folder)
        spec = importlib.util.spec_from_file_location("prismadb_modules", Path(folder) / "sae/modules.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module


def _vectors() -> F32:
    texts = [each["text"] for each in sample.documents()]
    answers = BuiltinProvider().embed_now(texts)
    return np.stack([each.vector for each in answers if isinstance(each, Embedding)])


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
