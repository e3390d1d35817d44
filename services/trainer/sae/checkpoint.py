"""Checkpoints: all that a training needs to resume bit for bit. Tensors and a step, no pickle."""

from __future__ import annotations

from pathlib import Path

from safetensors.numpy import load_file, save

from services.chassis.files import whole
from services.trainer.sae.training import Training

PATTERN = "checkpoint*.safetensors"


def name(sibling: int = 0) -> str:
    """The file of a run's own training, 0, or of a sibling's, counted from 1."""
    return f"checkpoint-{sibling}.safetensors" if sibling else "checkpoint.safetensors"


def write(training: Training, folder: Path) -> None:
    """Writes the training's state, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / name(training.sibling)) as file:
        file.write(save(training.state()))


def restore(training: Training, file: Path) -> None:
    """Resumes a training from a checkpoint."""
    training.restore(load_file(file))
