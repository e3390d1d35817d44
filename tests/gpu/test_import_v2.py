"""`prisma import-v2` with weights of PRISMA v2: the runs are here, with their labels, and encode as they did there."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import torch

from prisma.trainer.v1 import trainer_service_pb2_grpc
from prisma.trainer.v1.trainer_service_pb2 import ReadCodesRequest
from prisma_client import Prisma
from prisma_common import wire
from tests import prisma_v2
from tests.stack import Stack

DIMENSION, COUNT, K = 16, 120, 4
LABELS = [(1, ["Active", "Newer"]), (3, ["Only"])]
_CODES = """
import io, json, os, sys
import numpy as np, torch
from sae.modules import SAE, SAEConfig
content = torch.load(sys.argv[1])
model = SAE(SAEConfig(**{**content["config"], "device": "cpu"}))
model.load_state_dict(content["model_state"])
vectors = torch.tensor(np.load(sys.argv[2]))
with torch.no_grad():
    _, _, codes = model((vectors - content["zscore_mean"]) / content["zscore_std"])
np.save(sys.argv[3], codes.numpy())
"""


def weights(vectors: np.ndarray) -> bytes:
    """A file as PRISMA v2 saves it, of an autoencoder that was not trained."""
    torch.manual_seed(4)
    encoder, decoder = torch.nn.Linear(DIMENSION, 2 * DIMENSION), torch.nn.Linear(2 * DIMENSION, DIMENSION)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    state |= {f"decoder.{name}": value for name, value in decoder.state_dict().items()}
    rows = torch.tensor(vectors)
    content = {
        "model_state": {**state, "epoch_on_count": torch.zeros(2 * DIMENSION, dtype=torch.long)},
        "config": {"d_in": DIMENSION, "d_latent": 2 * DIMENSION, "k": K},
        "zscore_mean": rows.mean(dim=0),
        "zscore_std": rows.std(dim=0, unbiased=False).clamp_min(1e-6),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def dense_codes(trainer: str, run: str) -> np.ndarray:
    """(N, n) activations of a run."""
    with grpc.insecure_channel(trainer) as channel:
        stub = trainer_service_pb2_grpc.TrainerServiceStub(channel)
        blocks = [block.codes for block in stub.ReadCodes(ReadCodesRequest(run=run)) if block.HasField("codes")]
    codes = wire.concatenate([wire.unpack_codes(block) for block in blocks], 2 * DIMENSION)
    dense = np.zeros((len(codes), 2 * DIMENSION), np.float32)
    dense[np.repeat(np.arange(len(codes)), np.diff(codes.indptr.astype(np.int64))), codes.indices] = codes.values
    return dense


def test_runs_and_labels_are_all_there_and_encode_as_there(stack: Stack, tmp_path: Path) -> None:
    vectors = np.random.default_rng(2).normal(size=(COUNT, DIMENSION)).astype(np.float32)
    folder = tmp_path / "prisma-v2"
    folder.mkdir()
    prisma_v2.install(folder)
    documents = [
        {"external_id": str(row), "text": f"Text {row}", "embedding": vector.tolist(), "status": "done"}
        for row, vector in enumerate(vectors)
    ]
    files = [weights(vectors), weights(vectors[:60])]
    prisma_v2.fill(folder, documents=documents, dimension=DIMENSION, labels=LABELS, weights=files)

    for _attempt in range(2):  # the second adds nothing
        result = stack.command("import-v2", str(folder))
        assert result.returncode == 0, result.stderr + result.stdout
        rows = [json.loads(line) for line in result.stdout.splitlines() if '"expected"' in line]
        counts = [(row["what"], row["expected"], row["count"]) for row in rows]
        expected = [("run", 1, 1), ("labels", 3, 3)]
        assert counts == [("documents", COUNT, COUNT), *expected, *expected]

    (tmp_path / "weights.pt").write_bytes(files[0])
    np.save(tmp_path / "vectors.npy", vectors)
    arguments = [str(tmp_path / name) for name in ("weights.pt", "vectors.npy", "codes.npy")]
    subprocess.run([sys.executable, "-c", _CODES, *arguments], env={"PYTHONPATH": str(folder)}, check=True)
    with Prisma(stack.url) as prisma:
        run = prisma.runs.get(rows[1]["run"])
        assert run.message.code_count == COUNT
        labels = {feature.index: feature.label for feature in run.features() if feature.label.text}
        assert {index: (label.text, label.model) for index, label in labels.items()} == {
            1: ("Active", "prismadb/llama3:8b"),
            3: ("Only", "prismadb/llama3:8b"),
        }
        address = stack.environment["PRISMA_TRAINER_LISTEN"]
        np.testing.assert_allclose(dense_codes(address, run.name), np.load(tmp_path / "codes.npy"), atol=1e-4)
        prisma.datasets.get(rows[0]["dataset"]).delete()
