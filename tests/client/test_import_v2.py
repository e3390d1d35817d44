"""`prisma import-v2`: what an installation of PRISMA v2 has is here afterwards, without any model."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from prisma_client import Prisma
from prisma_client.sync.runs import Features
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


def usable_weights() -> bytes:
    """Weights in this suite's layout, which a trainer without torch reads too."""
    rng = np.random.default_rng(4)
    encoder = rng.normal(size=(2 * DIMENSION, DIMENSION)).astype(np.float32)
    tensors = {
        "W_enc": encoder,
        "b_enc": np.zeros(2 * DIMENSION, np.float32),
        "W_dec": encoder,
        "b_dec": np.zeros(DIMENSION, np.float32),
        "mean": np.zeros(DIMENSION, np.float32),
        "scale": np.ones(DIMENSION, np.float32),
    }
    return save(tensors, metadata={"prisma": json.dumps({"k": 4})})


def execute(folder: Path, *statements: str) -> None:
    """Changes the database of an installation, also to what its constraints exclude."""
    with closing(sqlite3.connect(folder / "db.sqlite3")) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            database.execute(statement)
        database.commit()


def rows_of(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines() if '"expected"' in line]


LONG = "many words " * 250


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """An installation with texts that are too long or blank, vectors that are no vectors, and a label of no feature."""
    prisma_v2.install(tmp_path)
    prisma_v2.fill(
        tmp_path,
        name="n" * 250,
        description="d" * 12_000,
        documents=documents(),
        dimension=DIMENSION,
        labels=[*LABELS, (4, [LONG]), (5, [" "]), (999, ["Nowhere"])],
        weights=[usable_weights()],
    )
    refused = [{"external_id": "a", "text": "t", "embedding": [1e300, 1.0], "status": "done"}]
    prisma_v2.fill(tmp_path, name="Refused", documents=refused, dimension=2, labels=[], weights=[])
    embeddings = {1: "[1, 2", 2: "[[1, 2], [3]]", 3: "[1, 2]"}
    execute(
        tmp_path,
        *(
            f"UPDATE embeddings_document SET embedding = '{embedding}' WHERE external_id LIKE 'review {number}+%'"
            for number, embedding in embeddings.items()
        ),
    )
    return tmp_path


def test_what_is_damaged_or_refused_is_counted_and_the_rest_is_there(stack: Stack, damaged: Path) -> None:
    result = stack.command("import-v2", str(damaged))
    rows = rows_of(result)
    assert result.returncode == 1, result.stderr
    counts = [(row["what"], row["expected"], row["count"]) for row in rows]
    assert counts == [("documents", COUNT - 2, COUNT - 3), ("run", 1, 1), ("labels", 6, 4), ("documents", 1, 0)]
    assert rows[0]["note"].startswith("without a vector, left out: 1 error, 1 pending, 2 unreadable; 1 rejected (")
    assert "1 left out: it has no text" in rows[2]["note"]
    assert "999" in rows[2]["note"]
    assert rows[3]["note"].startswith("no document was imported: 1 rejected")
    with Prisma(stack.url) as prisma:
        data = prisma.datasets.get(rows[0]["dataset"])
        try:
            assert (len(data.message.display_name), data.message.display_name[-2:]) == (200, "n…")
            assert (len(data.message.description), data.message.description[-2:]) == (10_000, "d…")
            [label] = prisma.runs.get(rows[1]["run"]).features.labels(4)
            assert label.text.endswith(" words…")
            assert label.description.startswith("About many words")
            assert (len(label.text) <= 200, len(label.description) <= 2000) == (True, True)
            check_repetitions(stack, damaged, prisma.runs.get(rows[1]["run"]).features)
            assert len(prisma.datasets.list()) == 3  # with the stack's own
        finally:
            data.delete()
            prisma.datasets.get(rows[3]["dataset"]).delete()


def check_repetitions(stack: Stack, folder: Path, features: Features) -> None:
    """Nothing is written twice, what is new is written once, and a person's label stays active."""
    original = [label.text for label in features.labels(1)]
    assert original == ["Active", "Newer"]
    features.set_label(1, "Mine")
    assert rows_of(stack.command("import-v2", str(folder)))[2]["count"] == 4
    assert [label.text for label in features.labels(1)] == ["Mine", *original]
    columns = "feature_id, description, llm_model, temperature, system_prompt, evidence_docs, created_at"
    execute(
        folder,
        f"INSERT INTO explorer_interpretation (label, {columns}) "
        f"SELECT 'Later', {columns} FROM explorer_interpretation WHERE label = 'Newer'",
    )
    for _attempt in range(2):
        row = rows_of(stack.command("import-v2", str(folder)))[2]
        assert (row["expected"], row["count"]) == (7, 5)
        labels = features.labels(1)
        assert [label.text for label in labels] == ["Later", "Mine", *original]
        assert [label.text for label in labels if label.active] == ["Mine"]


def test_another_folder_is_refused_in_a_sentence(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "db.sqlite3").write_bytes(b"not a database" * 100)
    result = stack.command("import-v2", str(tmp_path))
    assert result.returncode == 2
    assert "db.sqlite3 cannot be read: file is not a database" in result.stderr
    (tmp_path / "db.sqlite3").unlink()
    result = stack.command("import-v2", str(tmp_path))
    assert "expected the folder of an installation of PRISMA v2" in result.stderr
