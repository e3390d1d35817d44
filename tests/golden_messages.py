"""Messages in bytes, and what every client makes of them: `python -m tests.golden_messages` writes tests/golden."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from prisma.common.v1.block_pb2 import VECTOR_ENCODING_FLOAT16, CodeBlock, VectorBlock
from prisma.common.v1.job_pb2 import Job
from prisma_common import wire

FOLDER = Path(__file__).parent / "golden"


def messages() -> dict[str, Message]:
    """By the name of the file."""
    return {
        "vectors-float32": _vectors(np.array([[0.1, -1.5, 3e38], [-0.0, 1e-40, np.inf]], np.float32)),
        "vectors-float16": _halves(np.array([[0.1, -1.5, 65504], [-2, 6e-8, np.inf]], np.float32)),
        "codes": _codes(),
        "error": _error(),
        "job": _job(),
    }


def expected() -> dict[str, Any]:
    """What clients show of them, as JSON."""
    return {
        "vectors-float32": _vectors_as_json(messages()["vectors-float32"]),
        "vectors-float16": _vectors_as_json(messages()["vectors-float16"]),
        "codes": {
            "rows": [4, 9, 2**40],
            "indptr": [0, 2, 2, 3],
            "indices": [0, 255, 7],
            "values": [float(np.float32(value)) for value in (0.25, 1.1, 3.7)],
            "latent_count": 256,
        },
        "error": {
            "code": 3,
            "reason": "INVALID_ARGUMENT",
            "message": "run.config.k: expected at least 1, got 0 – “k”",
            "metadata": {"run": "runs/small", "limit": "256"},
            "fields": ["run.config.k", "run_id"],
            "retry_seconds": 1.5,
        },
        "job": {
            "name": "jobs/j1",
            "kind": "train-run",
            "state": "RUNNING",
            "resources": ["runs/small", "datasets/d"],
            "done": 3_000_000_000,
            "total": 5_000_000_000,
            "unit": "steps",
            "rate": 12.5,
            "attempt": 2,
            "created": 1_700_000_000_250,
        },
    }


def _vectors(vectors: wire.Vectors) -> VectorBlock:
    return wire.pack_vectors(vectors, np.array([7, 2**40], np.uint64))


def _halves(vectors: wire.Vectors) -> VectorBlock:
    return wire.pack_vectors(vectors, encoding=VECTOR_ENCODING_FLOAT16)


def _codes() -> CodeBlock:
    """Three rows, the second without a latent."""
    return wire.pack_codes(
        wire.Codes(
            rows=np.array([4, 9, 2**40], np.uint64),
            indptr=np.array([0, 2, 2, 3], np.uint32),
            indices=np.array([0, 255, 7], np.uint32),
            values=np.array([0.25, 1.1, 3.7], np.float32),
            latent_count=256,
        )
    )


def _error() -> Status:
    status = Status(code=3, message="run.config.k: expected at least 1, got 0 – “k”")
    fields = [{"field": "run.config.k", "description": "at least 1"}, {"field": "run_id", "description": "letters"}]
    metadata = {"run": "runs/small", "limit": "256"}
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    for detail in (
        error_details_pb2.ErrorInfo(reason="INVALID_ARGUMENT", domain="prisma", metadata=metadata),
        error_details_pb2.BadRequest(field_violations=fields),
        retry,
    ):
        status.details.add().Pack(detail, deterministic=True)
    return status


def _job() -> Job:
    job = Job(name="jobs/j1", service="trainer", kind="train-run", state=Job.STATE_RUNNING, attempt=2)
    job.resources.extend(["runs/small", "datasets/d"])
    job.progress.CopyFrom(Job.Progress(done=3_000_000_000, total=5_000_000_000, unit="steps", rate=12.5))
    job.create_time.FromMilliseconds(1_700_000_000_250)
    return job


def _vectors_as_json(block: Any) -> Mapping[str, Any]:
    rows, vectors = wire.unpack_vectors(block)
    values = ["infinity" if np.isinf(value) else float(value) for value in vectors.ravel()]
    return {"rows": rows.tolist(), "dimension": vectors.shape[1], "values": values}


def files() -> dict[str, bytes]:
    """All files of the folder, by name."""
    binary = {f"{name}.binpb": message.SerializeToString(deterministic=True) for name, message in messages().items()}
    return {**binary, "expected.json": (json.dumps(expected(), ensure_ascii=False, indent=1) + "\n").encode()}


if __name__ == "__main__":
    for name, data in files().items():
        (FOLDER / name).write_bytes(data)
