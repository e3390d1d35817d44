"""Vectors, codes and decoders as arrays and files, of a whole stack and of a gateway that fails."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from prisma_client import AsyncPrisma, FailedPrecondition, IncompleteExport, InvalidArgument, Prisma, Unavailable
from prisma_client.array_files import vector_file
from prisma_client.matrices import Keys, Vectors
from prisma_client.sync.datasets import Dataset
from prisma_sae import SparseAutoencoder
from tests.client.scripted_gateway import Answer, reply, scripted, status_json, stream
from tests.stack import COUNT, DATASET, RUN, Stack

Array = np.ndarray[Any, Any]
BLOCK_ROWS = 900


@contextmanager
def own_vectors(prisma: Prisma, vectors: Any, **options: Any) -> Generator[Dataset]:
    """A dataset of given vectors, deleted at the end."""
    data = prisma.datasets.create("arrays", vectors=vectors, **options)
    try:
        yield data
    finally:
        data.delete()


def numbers(dtype: Any, count: int = 3 * BLOCK_ROWS, dimension: int = 300) -> Array:
    """Vectors of several blocks, with minus zero, subnormal and large numbers."""
    vectors = np.random.default_rng(1).standard_normal((count, dimension)).astype(dtype)
    vectors[0, :3] = -0.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    return vectors


def same_bits(first: Array, second: Array) -> bool:
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_vectors_come_back_bit_for_bit_by_array_blocks_and_files(stack: Stack, tmp_path: Path, dtype: Any) -> None:
    vectors = numbers(dtype)
    documents = [{"id": f"d{row} ü", "text": "a text"} for row in range(len(vectors))]
    ids = [document["id"] for document in documents]
    with Prisma(stack.url) as prisma, own_vectors(prisma, vectors, documents=documents) as data:
        stored = data.vectors()
        assert same_bits(stored.values, vectors)
        assert same_bits(np.asarray(stored), vectors)
        assert stored.ids == ids == [document.key for document in data.documents()]
        assert stored.rows.tolist() == list(range(len(vectors)))
        assert stored.passages is None
        parts = list(data.vector_blocks())
        assert len(parts) > 1
        assert same_bits(np.concatenate([part.values for part in parts]), vectors)

        for name in ("v.npy", "v.npz", "v.parquet"):
            file = tmp_path / name
            assert data.export_vectors(file) == file.stat().st_size
        assert same_bits(np.load(tmp_path / "v.npy", allow_pickle=False), vectors)
        arrays = np.load(tmp_path / "v.npz", allow_pickle=False)
        assert same_bits(arrays["values"], vectors)
        assert (arrays["ids"].tolist(), arrays["rows"].tolist()) == (ids, stored.rows.tolist())
        table = pq.read_table(tmp_path / "v.parquet")
        assert table.column_names == ["id", "vector"]
        assert table["id"].to_pylist() == ids
        assert same_bits(table["vector"].combine_chunks().values.to_numpy().reshape(vectors.shape), vectors)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["v.npy", "v.npz", "v.parquet"]
        with own_vectors(prisma, tmp_path / "v.npy") as copy:
            assert same_bits(copy.vectors().values, vectors)
        with own_vectors(prisma, None, documents=tmp_path / "v.parquet", embedding_model="given") as copy:
            assert same_bits(copy.vectors().values, vectors)
            assert copy.vectors().ids == ids


def test_rows_are_selected_by_their_numbers(stack: Stack) -> None:
    vectors = numbers(np.float32, count=1000)
    with Prisma(stack.url) as prisma, own_vectors(prisma, vectors) as data:
        data.delete_documents('key = "5" OR key = "700"')
        assert len(data.vectors()) == 998
        assert data.vectors(range(3, 7)).ids == ["3", "4", "6"]
        scattered = np.arange(0, 1000, 7)
        selected = data.vectors(scattered[::-1])
        expected = [row for row in scattered.tolist() if row not in (5, 700)]
        assert selected.rows.tolist() == expected
        assert same_bits(selected.values, vectors[expected])
        for nothing in ([], range(0), range(5000, 6000), [5]):
            assert data.vectors(nothing).values.shape == (0, 300)
        for wrong, error in (([-1], ValueError), ([0.5], TypeError), (np.ones((2, 2), int), TypeError)):
            with pytest.raises(error, match="rows: expected row numbers"):
                data.vectors(wrong)


def test_codes_and_decoder_are_those_of_the_run(stack: Stack, tmp_path: Path) -> None:
    with Prisma(stack.url) as prisma:
        run, data = prisma.runs.get(RUN), prisma.datasets.get(DATASET)
        vectors, codes, decoder = data.vectors(), run.codes(), run.decoder()
        assert (len(vectors), codes.values.shape) == (COUNT, (COUNT, run.message.latent_count))
        assert (codes.ids, codes.rows.tolist()) == (vectors.ids, vectors.rows.tolist())
        run.export_weights(tmp_path / "w.safetensors")
        estimator = SparseAutoencoder.load(tmp_path / "w.safetensors")
        assert same_bits(decoder.components, estimator.components_)
        assert same_bits(decoder.intercept, estimator.intercept_)
        reconstructed = codes.values @ decoder.components + decoder.intercept
        np.testing.assert_allclose(reconstructed, estimator.inverse_transform(codes.values), rtol=1e-4, atol=1e-5)
        assert (
            np.square(vectors.values - reconstructed).sum() < np.square(vectors.values - vectors.values.mean(0)).sum()
        )

        part = run.codes(range(10, 20))
        assert part.ids == codes.ids[10:20]
        assert (part.values != codes.values[10:20]).nnz == 0
        assert (run.encode(vectors.values) != codes.values).nnz == 0
        assert (run.encode(vectors.values[:3].astype(np.float64)) != codes.values[:3]).nnz == 0
        documents = [document for document in data.documents() if not document.text_truncated]
        assert len(documents) > 256
        rows = [document.row for document in documents]
        assert (run.encode([document.text for document in documents]) != codes.values[rows]).nnz == 0
        assert (run.encode(documents[0].text) != codes.values[rows[:1]]).nnz == 0
        assert run.encode(np.empty((0, vectors.values.shape[1]))).shape == (0, run.message.latent_count)
        for wrong, error in (
            (vectors.values[0], TypeError),
            (["a", 1], TypeError),
            (vectors.values[:, 1:], InvalidArgument),
        ):
            with pytest.raises(error):
                run.encode(wrong)

        for name in ("c.npz", "c.parquet"):
            assert run.export_codes(tmp_path / name) == (tmp_path / name).stat().st_size
        loaded = sparse.load_npz(tmp_path / "c.npz")
        assert isinstance(loaded, sparse.csr_array)
        assert (loaded.dtype, loaded.indices.dtype, loaded.indptr.dtype) == (np.float32, np.int32, np.int32)
        assert (loaded.shape, (loaded != codes.values).nnz) == (codes.values.shape, 0)
        arrays = np.load(tmp_path / "c.npz", allow_pickle=False)
        assert (arrays["ids"].tolist(), arrays["rows"].tolist()) == (codes.ids, codes.rows.tolist())
        table = pq.read_table(tmp_path / "c.parquet")
        assert table.column_names == ["id", "indices", "values"]
        assert table["id"].to_pylist() == codes.ids
        flat = [table[name].combine_chunks().values.to_numpy() for name in ("indices", "values")]
        assert same_bits(flat[0].astype(np.int32), codes.values.indices)
        assert same_bits(flat[1], codes.values.data)

        for name in ("d.npy", "d.npz", "d.parquet"):
            assert run.export_decoder(tmp_path / name) == (tmp_path / name).stat().st_size
        assert same_bits(np.load(tmp_path / "d.npy"), decoder.components)
        assert same_bits(np.load(tmp_path / "d.npz")["intercept"], decoder.intercept)
        components = pq.read_table(tmp_path / "d.parquet")["component"].combine_chunks()
        assert same_bits(components.values.to_numpy().reshape(decoder.components.shape), decoder.components)


def test_a_model_of_queries_ranks_as_in_a_dataset_that_it_embedded(stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        embedded = prisma.datasets.get(DATASET)
        documents = [{"id": document.key, "text": document.text} for document in embedded.documents()]
        options: dict[str, Any] = {
            "embedding_model": "given/wordllama",
            "query_model": embedded.message.embedding_model,
        }
        with own_vectors(prisma, embedded.vectors(), documents=documents, **options) as data:
            assert same_bits(data.vectors().values, embedded.vectors().values)
            for _ in range(600):
                if data.index_status().current:
                    break
                time.sleep(0.1)
            for query in ("open a file for reading", "an event loop of coroutines", "parse dates and times"):
                rankings = [
                    [(hit.key, hit.score) for hit in dataset.search(query, mode="semantic", limit=20).hits]
                    for dataset in (embedded, data)
                ]
                assert len(rankings[0]) == 20
                assert rankings[0] == rankings[1]


def test_passages_have_the_ids_of_their_documents(stack: Stack, tmp_path: Path) -> None:
    text = "A sentence about ships and the sea. " * 20
    with Prisma(stack.url) as prisma:
        data = prisma.datasets.create("long", [{"id": "a", "text": text}, {"id": "b", "text": text}], passages=64)
        try:
            data.embed()
            vectors = data.vectors()
            assert vectors.passages is not None
            count = len(vectors) // 2
            assert vectors.ids == ["a"] * count + ["b"] * count
            assert vectors.passages.tolist() == list(range(count)) * 2
            data.export_vectors(tmp_path / "p.parquet")
            data.export_vectors(tmp_path / "p.npz")
            assert pq.read_table(tmp_path / "p.parquet")["passage"].to_pylist() == vectors.passages.tolist()
            assert np.load(tmp_path / "p.npz")["passages"].tolist() == vectors.passages.tolist()
        finally:
            data.delete()


async def test_the_asynchronous_client_reads_arrays_as_well(stack: Stack, tmp_path: Path) -> None:
    async with AsyncPrisma(stack.url) as prisma:
        data, run = await prisma.datasets.get(DATASET), await prisma.runs.get(RUN)
        vectors = await data.vectors(range(7))
        assert [len(part) async for part in data.vector_blocks(range(7))] == [7]
        assert ((await run.encode(vectors.values)) != (await run.codes(range(7))).values).nnz == 0
        assert await data.export_vectors(tmp_path / "v.npy", rows=range(7)) == (tmp_path / "v.npy").stat().st_size


def test_what_has_no_vectors_is_not_exported(stack: Stack, tmp_path: Path) -> None:
    with Prisma(stack.url) as prisma:
        data = prisma.datasets.create("pending", ["a text", "another"])
        try:
            assert data.vectors().values.shape == (0, 0)
            with pytest.raises(FailedPrecondition, match="has no vectors yet"):
                data.export_vectors(tmp_path / "v.npy")
            data.embed()
            data.add(["a third"])
            with pytest.warns(IncompleteExport, match="1 document has no vector and is left out"):
                data.export_vectors(tmp_path / "v.npy")
            assert len(np.load(tmp_path / "v.npy")) == 2
            with pytest.raises(
                ValueError, match=r"expected a file name that ends in .npy, .npz or .parquet, got 'v.csv'"
            ):
                data.export_vectors(tmp_path / "v.csv")
            assert [path.name for path in tmp_path.iterdir()] == ["v.npy"]
        finally:
            data.delete()


def test_the_commands_write_the_same_files(stack: Stack, tmp_path: Path) -> None:
    for words in (
        ("export", RUN, "codes", "c.npz"),
        ("export", RUN, "decoder", "d.npy"),
        ("export-vectors", DATASET, "v.npy"),
    ):
        *command, name = words
        ended = stack.command(*command, str(tmp_path / name))
        assert ended.returncode == 0, ended.stderr
        assert f'"bytes": {(tmp_path / name).stat().st_size}' in ended.stdout
    with Prisma(stack.url) as prisma:
        assert same_bits(np.load(tmp_path / "v.npy"), prisma.datasets.get(DATASET).vectors().values)
        assert (sparse.load_npz(tmp_path / "c.npz") != prisma.runs.get(RUN).codes().values).nnz == 0
        assert stack.command("export-vectors", DATASET, str(tmp_path / "v.parquet")).returncode == 0
        ended = stack.command("ingest", "again", str(tmp_path / "v.parquet"), "--vector-field", "vector")
        again = prisma.datasets.get("again")
        assert (ended.returncode, again.message.embedding_model) == (0, "given"), ended.stderr
        assert same_bits(again.vectors().values, np.load(tmp_path / "v.npy"))
        assert again.vectors().ids == [document.key for document in prisma.datasets.get(DATASET).documents()]
        again.delete()
    ended = stack.command("export", RUN, "codes", str(tmp_path / "c.csv"))
    assert (ended.returncode, ended.stderr) == (
        2,
        "prisma: expected a file name that ends in .npz or .parquet, got 'c.csv'\n",
    )


def vector_block(first: int, count: int = 2) -> dict[str, Any]:
    data = base64.b64encode(np.ones((count, 4), "<f4").tobytes()).decode()
    rows = [str(first + place) for place in range(count)]
    block = {"rows": rows, "dimension": 4, "encoding": "VECTOR_ENCODING_FLOAT32", "data": data}
    return {"vectors": block, "history": "h"}


def keys_block(first: int, history: str = "h") -> dict[str, Any]:
    return {"documents": [{"row": str(first + n), "key": f"k{first + n}"} for n in range(2)], "history": history}


OF_FLOAT32 = reply(200, {"name": "datasets/d", "dimension": 4, "vectorEncoding": "VECTOR_ENCODING_FLOAT32"})
OF_FLOAT16 = reply(200, {"name": "datasets/d", "dimension": 4, "vectorEncoding": "VECTOR_ENCODING_FLOAT16"})
UNAVAILABLE = {"error": status_json("UNAVAILABLE", "SERVICE_UNAVAILABLE")}
FAILURES: dict[str, tuple[Sequence[Answer], type[Exception]]] = {
    "an error in the stream": ([stream(vector_block(0), UNAVAILABLE), stream(keys_block(0))], Unavailable),
    "a connection that is cut": ([stream(vector_block(0), cut=True), stream(keys_block(0))], Unavailable),
    "keys that are missing": ([stream(vector_block(0)), reply(503, UNAVAILABLE)], Unavailable),
    "another dataset of the name": (
        [stream(vector_block(0)), stream(keys_block(0, history="other"))],
        FailedPrecondition,
    ),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
def test_an_export_that_fails_leaves_an_older_file_as_it_was(tmp_path: Path, name: str, suffix: str) -> None:
    answers, error = FAILURES[name]
    file = tmp_path / f"v{suffix}"
    file.write_bytes(b"an older file")
    with scripted([OF_FLOAT32, OF_FLOAT32, *answers]) as gateway, Prisma(gateway.url) as prisma:
        data = prisma.datasets.get("d")
        with pytest.raises(error):
            data.export_vectors(file)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert file.read_bytes() == b"an older file"


def test_vectors_of_float32_that_came_meanwhile_are_not_rounded(tmp_path: Path) -> None:
    answers = [OF_FLOAT16, OF_FLOAT16, stream(vector_block(0)), OF_FLOAT32]
    with scripted(answers) as gateway, Prisma(gateway.url) as prisma:
        data = prisma.datasets.get("d")
        with pytest.raises(FailedPrecondition, match="got vectors of float32 meanwhile: read it again"):
            data.vectors()


def test_vectors_of_float32_that_came_between_two_requests_are_not_rounded() -> None:
    rows = range(0, 1000, 5)  # 200 ranges, of which a request takes 100
    blocks = [stream(vector_block(0)), OF_FLOAT16, stream(keys_block(0)), stream(vector_block(500)), OF_FLOAT32]
    with scripted([OF_FLOAT16, OF_FLOAT16, *blocks]) as gateway, Prisma(gateway.url) as prisma:
        data = prisma.datasets.get("d")
        with pytest.raises(FailedPrecondition, match="got vectors of float32 meanwhile: read it again"):
            data.vectors(list(rows))
    assert len([request for request in gateway.requests if "vectors" in request]) == 2


def test_blocks_whose_documents_were_all_deleted_have_passages_as_well(tmp_path: Path) -> None:
    of_passages = reply(200, {"name": "datasets/d", "dimension": 4, "passages": {"maxTokens": 64}})
    documents = [{"row": str(row), "key": "a", "passage": {"index": row - 2}} for row in (2, 3)]
    answers = [
        of_passages,
        of_passages,
        stream(vector_block(0), vector_block(2)),
        stream({"history": "h"}),
        stream({"documents": documents, "history": "h"}),
    ]
    with scripted(answers) as gateway, Prisma(gateway.url) as prisma:
        prisma.datasets.get("d").export_vectors(tmp_path / "v.parquet")
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.column_names == ["id", "passage", "vector"]
    assert (table["id"].to_pylist(), table["passage"].to_pylist()) == (["a", "a"], [0, 1])


def write_ids(path: Path, ids: list[str]) -> None:
    """Writes vectors of documents with these ids."""
    with path.open("wb") as file:
        writer = vector_file(path, file, 1, np.float32)
        rows = np.arange(len(ids), dtype=np.uint64)
        writer.add(Vectors(Keys(ids, rows, None), np.zeros((len(ids), 1), np.float32)))
        writer.finish()


def test_ids_are_written_in_little_memory_beside_the_longest_one(tmp_path: Path) -> None:
    ids = [*(f"{number:05} ü" for number in range(20_000)), "a\0b", "x" * 512]
    tracemalloc.start()
    try:
        write_ids(tmp_path / "v.npz", ids)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000  # of the array of ids are 41 MB
    for expected in (ids, []):
        write_ids(tmp_path / "v.npz", expected)
        assert np.load(tmp_path / "v.npz", allow_pickle=False)["ids"].tolist() == expected


def test_an_id_that_numpy_would_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the id 'b\\x00' ends with U\+0000, which .npz cannot hold: write .parquet"):
        write_ids(tmp_path / "v.npz", ["a", "b\0"])


@pytest.mark.parametrize(("name", "file"), [("scipy", "codes()"), ("pyarrow", "export_codes('c.parquet')")])
def test_a_missing_library_is_named(tmp_path: Path, name: str, file: str) -> None:
    program = f"""
import sys
sys.modules["{name}"] = None
from prisma_client import Prisma
from prisma_client.libraries import MissingLibrary
try:
    Prisma(sys.argv[1]).runs.get("r").{file}
except MissingLibrary as error:
    print(error)
"""
    run = reply(200, {"name": "runs/r", "dataset": "datasets/d"})
    with scripted([run, run]) as gateway:
        command = [sys.executable, "-c", program, gateway.url]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert f"needs {name}, which is not installed: pip install {name}" in ended.stdout, ended.stderr
    assert not list(tmp_path.iterdir())
