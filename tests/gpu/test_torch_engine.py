"""The engine on torch, with and without Triton's kernels, by the contract of all engines."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.trainer.sae.devices import device_of
from services.trainer.sae.engines import Plan
from services.trainer.sae.gpu.torch_engine import TorchEngine
from tests.trainer.engine_contract import EngineContract, MakeEngine

DEVICE = "cuda:0" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module", params=["torch", "triton"])
def make_engine(request: pytest.FixtureRequest) -> MakeEngine:
    def make(plan: Plan, state: dict[str, np.ndarray]) -> TorchEngine:
        engine = TorchEngine(DEVICE, plan, state, triton=request.param == "triton")
        assert engine.name == request.param
        return engine

    return make


class TestTorchEngine(EngineContract):
    """The contract."""


def test_auto_is_the_gpu_that_is_there() -> None:
    assert device_of("auto") == DEVICE
