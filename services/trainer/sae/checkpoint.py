"""Checkpoints: all that a training needs to go on, bit for bit. Tensors and a step, no pickle."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from safetensors.numpy import load_file, save_file

from services.trainer.sae.training import Training

NAME = "checkpoint.safetensors"


def write(training: Training, folder: Path) -> None:
    """Writes the training's state, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{NAME}.{uuid.uuid4().hex}"
    save_file(training.state(), temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(folder / NAME)


def restore(training: Training, file: Path) -> None:
    """Takes the state of a checkpoint up again."""
    training.restore(load_file(file))
