"""The device to train on."""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec
from pathlib import Path

INSTALL_TORCH = (
    "install the extra trainer-gpu where the trainer runs, in a checkout with `uv pip install -e '.[trainer-gpu]'`, "
    "from wheels with `pip install --find-links FOLDER 'prisma-suite[trainer-gpu]'`"
)
"""Advice for who needs torch and does not have it."""
_GPU_DEVICE_FILES = ("nvidiactl", "dxg", "kfd")
_log = logging.getLogger(__name__)


def device_of(requested: str = "auto") -> str:
    """The device to train on: the requested one; for `auto` CUDA, MPS or the CPU, the first that is available.

    Without torch that is the CPU, with a warning if there seems to be a GPU. Raises ValueError for a device that is not
    available.
    """
    if requested == "cpu":
        return "cpu"
    gpu = sys.platform == "darwin" or any(Path("/dev", name).exists() for name in _GPU_DEVICE_FILES)
    if requested == "auto" and not gpu:
        return "cpu"  # without importing torch, which takes two seconds
    if not torch_is_installed():
        if requested == "auto":
            _log.warning("training on the CPU, since a GPU needs torch: %s", INSTALL_TORCH)
            return "cpu"
        raise ValueError(f"the device {requested!r} needs torch, which is not installed: {INSTALL_TORCH}")
    from services.trainer.sae.gpu.devices import available_devices

    available = available_devices()
    if requested == "auto":
        return next(iter(available.values()), "cpu")
    if requested.split(":")[0] in available:
        return requested
    raise ValueError(
        f"expected auto, cpu, or a device that is available, got {requested!r}; available: {list(available.values())}"
    )


def torch_is_installed() -> bool:
    """Whether the extra `trainer-gpu` is installed; without it the CPU trains, in one process."""
    return find_spec("torch") is not None
