"""The CPU trains, encodes, evaluates, exchanges weights and resumes where torch is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BLOCKED = """
import sys

class Blocked:
    '''As if torch and what comes with it were not installed.'''

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "triton", "sae_lens"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
import importlib.util
importlib.util.find_spec = lambda name, find=importlib.util.find_spec: None if name == "torch" else find(name)
"""

TRAINING = """
import zipfile, io
from pathlib import Path

import numpy as np
import pytest

from services.trainer.sae import checkpoint, comparing, exchange
from services.trainer.sae.codes import load_codes, save_codes
from services.trainer.sae.evaluating import evaluate
from services.trainer.sae.devices import device_of
from services.trainer.sae.tensor_files import TorchMissing
from services.trainer.sae.weights import Weights
from tests.archives import zipped
from tests.trainer.examples import begun, clusters

vectors = clusters(1000, 16)
for architecture in ("top_k", "batch_top_k", "matryoshka"):
    training = begun(vectors, architecture=architecture, expansion=2, k=4, batch_size=64, epochs=4)
    while training.step < training.total_steps // 2:
        training.advance()
    checkpoint.write(training, Path("."))
    training = begun(vectors, architecture=architecture, expansion=2, k=4, batch_size=64, epochs=4)
    checkpoint.restore(training, Path(checkpoint.name()))
    while training.step < training.total_steps:
        training.advance()
    assert training.measure() < 0.5
    Path("weights").write_bytes(training.weights.to_bytes({}))
    weights = Weights.load(Path("weights"))
    assert evaluate(weights, vectors[training.held_out]).fvu < 0.5
    save_codes(Path("codes.npz"), weights.encode(vectors, np.arange(1000, dtype=np.uint64)))
    assert len(load_codes(Path("codes.npz"))) == 1000
    comparing.match(comparing.directions(weights), comparing.directions(weights))
    assert exchange.read(Path("weights").read_bytes())[1] == "prisma"
    assert exchange.read(zipped(exchange.to_sae_lens(weights, {})))[1] == "sae-lens"
for file in (b"\\x80\\x02}.", zipped({"archive/data.pkl": b""})):
    with pytest.raises(exchange.UnknownLayout, match="uv pip install -e '..trainer-gpu.'"):
        exchange.read(file)
assert device_of("auto") == "cpu"
with pytest.raises(ValueError, match="uv pip install -e '..trainer-gpu.'"):
    device_of("cuda:0")
assert "torch" not in sys.modules
print("done")
"""

SERVICE = """
import os

import pytest

import services.trainer.__main__
from services.trainer.settings import TrainerSettings

assert "torch" not in sys.modules
os.environ["PRISMA_TRAINER_PROCESSES"] = "2"
with pytest.raises(ValueError, match="uv pip install -e '..trainer-gpu.'"):
    TrainerSettings()
print("done")
"""


def run(code: str, folder: Path) -> str:
    root = Path(__file__).parents[2]
    process = subprocess.run(
        [sys.executable, "-c", BLOCKED + code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (root, root / "protos/python")))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_the_autoencoder_needs_no_torch(tmp_path: Path) -> None:
    assert run(TRAINING, tmp_path) == "done\n"


def test_the_service_needs_no_torch_and_says_when_a_setting_does(tmp_path: Path) -> None:
    assert run(SERVICE, tmp_path) == "done\n"
