"""Settings of the trainer."""

from __future__ import annotations

from services.chassis.settings import ChassisSettings


class TrainerSettings(ChassisSettings):
    """What the trainer reads at start."""

    trainer_listen: str = "127.0.0.1:50052"
    """Where it listens."""
    trainer_device: str = "auto"
    """What to train on: `auto` (CUDA, MPS, CPU, the first that is there), `cpu`, `cuda:0`, `mps`."""
    trainer_processes: int = 1
    """Processes that train one run together, each on a part of every batch: one a GPU, started by torchrun."""
    trainer_max_weights_bytes: int = 4 << 30
    """Largest file of weights that is imported."""
