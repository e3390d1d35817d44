"""`prisma import-v2`: what an installation of PRISMA v2 has is here afterwards, without any model."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prisma_client import Prisma
from tests import prisma_v2
from tests.stack import Stack

DIMENSION, COUNT = 16, 120
LABELS = [(1, ["Active", "Newer"]), (3, ["Only"])]


def documents() -> list[dict[str, Any]]:
    """Documents with a vector, with one for each of two parts, without one, and with an error."""
    vectors = np.random.default_rng(2).normal(size=(COUNT, DIMENSION)).astype(np.float32).tolist()
    embedded = [
        {
            "external_id": f"review {number}+ä",
            "text": f"Text {number}\nof a review",
            "embedding": vector,
            "status": "done",
        }
        for number, vector in enumerate(vectors)
    ]
    embedded[-1]["embedding"] = [vectors[0], vectors[1]]
    waiting = {"external_id": "waiting", "text": "No vector yet", "status": "pending"}
    failed = {"external_id": "failed", "text": "Too long", "status": "error", "error_message": "refused"}
    return [*embedded, waiting, failed]


def unreadable_weights() -> bytes:
    """A file that looks like one of torch's, which a trainer without torch cannot read, and one with it neither."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"no pickle")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prisma-v2")
    prisma_v2.install(folder)
    prisma_v2.fill(
        folder, documents=documents(), dimension=DIMENSION, labels=LABELS, weights=[unreadable_weights(), None]
    )
    return folder


def test_documents_and_vectors_are_all_there(stack: Stack, installation: Path) -> None:
    result = stack.command("import-v2", str(installation))
    assert result.returncode == 1, result.stderr  # two runs have no usable weights
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    counts = [(row["what"], row["expected"], row["count"]) for row in rows]
    assert counts == [("documents", COUNT, COUNT), ("run", 1, 0), ("labels", 3, 0), ("run", 1, 0), ("labels", 3, 0)]
    assert rows[0]["note"] == "without a vector, left out: 1 error, 1 pending"
    assert "torch" in rows[1]["note"] or "cannot be read" in rows[1]["note"]
    assert rows[3]["note"] == "the file of weights of run 2 is not there"
    with Prisma(stack.url) as prisma:
        data = prisma.datasets.get(rows[0]["dataset"])
        try:
            assert data.message.embedding_model == "given/nomic-embed-text:latest"
            originals = [document for document in documents() if "embedding" in document]
            for original, document in zip(originals, data.documents(), strict=True):
                assert (document.key, document.text) == (original["external_id"], original["text"])
                vector = np.asarray(original["embedding"], np.float32)
                vector = vector.mean(axis=0) if vector.ndim > 1 else vector
                stored = data.document(document.name, with_vector=True).vector
                np.testing.assert_array_equal(np.frombuffer(stored.data, np.float32), vector)
            assert stack.command("import-v2", str(installation)).returncode == 1
            assert len(prisma.datasets.list()) == 2  # none twice
        finally:
            data.delete()


def test_another_folder_is_refused_in_a_sentence(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "db.sqlite3").write_bytes(b"not a database" * 100)
    result = stack.command("import-v2", str(tmp_path))
    assert result.returncode == 2
    assert "db.sqlite3 cannot be read: file is not a database" in result.stderr
    (tmp_path / "db.sqlite3").unlink()
    result = stack.command("import-v2", str(tmp_path))
    assert "expected the folder of an installation of PRISMA v2" in result.stderr
