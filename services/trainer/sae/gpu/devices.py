"""The GPUs that torch can compute on."""

from __future__ import annotations

import torch


def available_devices() -> dict[str, str]:
    """The first device of each kind that is available, best first: `cuda` → `cuda:0`, `mps` → `mps`."""
    devices: dict[str, str] = {}
    if torch.cuda.is_available():
        devices["cuda"] = "cuda:0"
    if torch.backends.mps.is_available():
        devices["mps"] = "mps"
    return devices
