"""The trainer's peers, as subjects of its benchmark. They need torch: the extra `bench`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.sae_subjects import BATCH, F32


def set_threads(count: int) -> None:
    """Threads of torch."""
    torch.set_num_threads(count)


def torch_product(x: F32, weights: F32, result: F32) -> Callable[[], object]:
    """What computes x (B, d) · weights (n, d)ᵀ into result (B, n) by torch's BLAS."""
    tensors = torch.from_numpy(x), torch.from_numpy(weights), torch.from_numpy(result)
    return lambda: torch.mm(tensors[0], tensors[1].T, out=tensors[2])


class PrismaDb:
    """PRISMA v2: `sae/modules.py` of `prismadb` 0.1.0, taken from its package at run time, with its own recipe:
    z-score, AdamW with lr 1e-4. Batches are taken from memory, which favours it: its own loader is slower."""

    name = "prismadb"

    def __init__(self, train: F32, latents: int, k: int) -> None:
        torch.manual_seed(0)
        self._modules: Any = _prismadb_modules()
        x = torch.tensor(train)
        self._mean, self._std = self._modules.compute_zscore_stats(x)
        self._x = self._modules.zscore_transform(x, self._mean, self._std)
        self._config = self._modules.SAEConfig(d_in=train.shape[1], d_latent=latents, k=k, lr=1e-4)
        self._model = self._modules.SAE(self._config)
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=1e-4)

    def epoch(self) -> None:
        self._model.start_epoch()
        for batch in torch.randperm(len(self._x)).split(BATCH):
            self._optimizer.zero_grad()
            loss = self._modules.sae_loss_func(self._model, self._x[batch], self._config.alpha_aux)
            loss.total.backward()
            self._optimizer.step()

    def reconstruct(self, vectors: F32) -> tuple[F32, NDArray[np.bool_]]:
        with torch.no_grad():
            x = self._modules.zscore_transform(torch.tensor(vectors), self._mean, self._std)
            reconstruction, _dense, codes = self._model(x)
        return (reconstruction * self._std + self._mean).numpy(), (codes > 0).numpy()

    def decoder(self) -> F32:
        matrices = [array for name, array in self._model.named_parameters() if array.ndim == 2 and "dec" in name]
        weight = matrices[0].detach()
        directions = weight.T if weight.shape[0] == self._config.d_in else weight
        return (directions * self._std).numpy()


class SaeLens:
    """SAELens' own Top-K trainer (`SAETrainer.step`), its defaults but for the learning rate; on z-scored vectors, with
    the warm-up, the decay and the dead window that PRISMA has, for without them it does worse."""

    name = "sae-lens"

    def __init__(self, train: F32, latents: int, k: int, epochs: int, learning_rate: float) -> None:
        from sae_lens.config import LoggingConfig, SAETrainerConfig
        from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.training.sae_trainer import SAETrainer

        torch.manual_seed(0)
        x = torch.tensor(train)
        self._mean, self._std = x.mean(dim=0), x.std(dim=0).clamp(min=1e-6)
        self._x = (x - self._mean) / self._std
        steps = epochs * (len(x) // BATCH)
        config: Any = TopKTrainingSAEConfig(d_in=train.shape[1], d_sae=latents, k=k)
        self._sae: Any = TopKTrainingSAE(config)
        self._trainer: Any = SAETrainer(
            SAETrainerConfig(
                n_checkpoints=0,
                checkpoint_path=None,
                save_final_checkpoint=False,
                total_training_samples=steps * BATCH,
                device="cpu",
                autocast=False,
                lr=learning_rate,
                lr_end=learning_rate / 10,
                lr_scheduler_name="constant",
                lr_warm_up_steps=steps // 20,
                lr_decay_steps=3 * steps // 10,
                adam_beta1=0.9,
                adam_beta2=0.999,
                n_restart_cycles=1,
                train_batch_size_samples=BATCH,
                dead_feature_window=4 * (len(x) // BATCH),
                feature_sampling_window=10_000_000,
                logger=LoggingConfig(log_to_wandb=False),
            ),
            self._sae,
            iter(()),
        )

    def epoch(self) -> None:
        for batch in torch.randperm(len(self._x)).split(BATCH):
            if len(batch) == BATCH:
                self._trainer.step(self._x[batch])
                self._trainer.n_training_steps += 1

    def reconstruct(self, vectors: F32) -> tuple[F32, NDArray[np.bool_]]:
        with torch.no_grad():
            codes = self._sae.encode((torch.tensor(vectors) - self._mean) / self._std)
            return (self._sae.decode(codes) * self._std + self._mean).numpy(), (codes > 0).numpy()

    def decoder(self) -> F32:
        return (self._sae.W_dec.detach() * self._std).numpy()


def _prismadb_modules() -> ModuleType:
    if "prismadb_modules" in sys.modules:
        return sys.modules["prismadb_modules"]
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
