"""Given vectors: what is taken from files, what is rejected and why, and that every bit is kept."""

from __future__ import annotations

import asyncio
import io
import json
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import json_format
from numpy.typing import NDArray
from pyarrow import ipc

from prisma.common.v1.block_pb2 import VECTOR_ENCODING_FLOAT16, VECTOR_ENCODING_FLOAT32, VectorEncoding
from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1.resources_pb2 import DOCUMENT_VIEW_FULL, Dataset
from prisma_common import wire
from services.chassis.blobs import BlobDamaged, Blobs, Records
from services.chassis.database import Database
from services.chassis.errors import InvalidArgument
from services.embedder.documents import MAX_DIMENSION, Fate, NewDataset, NewDocument, OnDuplicate, QueryModel
from services.embedder.errors import DimensionChanged, GivenVectors, InvalidFile
from services.embedder.files.npy import NpyArray
from services.embedder.store import Store
from services.embedder.tables import BLOBS
from services.embedder.vector_store import VectorStore
from tests.calls import reason
from tests.embedder.test_service import ended

Array = NDArray[Any]
Reason = pb2.ImportDocumentsResponse.Rejection.Reason
MIGRATIONS = Path(__file__).parents[2] / "services/embedder/migrations"
COUNT, DIMENSION = 5000, 384


def npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def with_header(descr: object, shape: object, *, fortran_order: object = False, data: bytes = b"") -> bytes:
    header = repr({"descr": descr, "fortran_order": fortran_order, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def raw_header(*sizes: str) -> bytes:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s)}" % ", ".join(sizes).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(48)


def random_vectors(count: int, dimension: int, dtype: Any = np.float32) -> Array:
    """Vectors with subnormal numbers and minus zeros among them."""
    vectors = np.random.default_rng(0).standard_normal((count, dimension)).astype(dtype)
    vectors[0, :3] = -0.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    return vectors


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"d{n}", "text": f"the text number {n}"} for n in range(count)]


def lines(items: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def table(vectors: Array, kind: str) -> bytes:
    """Documents and their vectors as a table of Parquet, or Arrow with lists of one size or any."""
    count, dimension = vectors.shape
    numbers = pa.array(vectors.reshape(-1))
    lists = pa.FixedSizeListArray.from_arrays(numbers, dimension)
    if kind == "list":
        lists = pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * dimension, pa.int32()), numbers)
    columns = pa.table({"id": [f"d{n}" for n in range(count)], "text": ["a text"] * count, "embedding": lists})
    buffer = io.BytesIO()
    if kind == "parquet":
        pq.write_table(columns, buffer)
    else:
        with ipc.new_file(buffer, columns.schema) as writer:
            writer.write_table(columns)
    return buffer.getvalue()


async def created(stub: Any, *, model: str = "given/minilm", query_model: str = "", dataset_id: str = "d") -> Dataset:
    dataset = Dataset(embedding_model=model, query_model=query_model)
    return await stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id=dataset_id, dataset=dataset))


async def imported(
    stub: Any, data: bytes = b"", vectors: bytes = b"", dataset: str = "datasets/d", **config: Any
) -> pb2.ImportDocumentsResponse:
    async def messages() -> AsyncIterator[pb2.ImportDocumentsRequest]:
        yield pb2.ImportDocumentsRequest(config=pb2.ImportDocumentsRequest.Config(dataset=dataset, **config))
        for start in range(0, len(vectors), 1 << 20):
            yield pb2.ImportDocumentsRequest(vectors=vectors[start : start + (1 << 20)])
        for start in range(0, len(data), 1 << 20):
            yield pb2.ImportDocumentsRequest(chunk=data[start : start + (1 << 20)])

    return await stub.ImportDocuments(messages())


async def refused(stub: Any, *arguments: bytes, **options: Any) -> tuple[str, str]:
    """The reason and the message of an import that is refused as a whole."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await imported(stub, *arguments, **options)
    assert (await stub.GetDataset(pb2.GetDatasetRequest(name="datasets/d"))).document_count == 0
    return reason(caught.value), caught.value.details() or ""


async def stored(stub: Any, encoding: VectorEncoding, dataset: str = "datasets/d") -> bytes:
    """The bytes of all vectors, in the order of the rows."""
    request = pb2.ReadVectorsRequest(dataset=dataset, encoding=encoding)
    return b"".join([block.vectors.data async for block in stub.ReadVectors(request)])


async def test_an_array_is_kept_bit_for_bit(stub: Any) -> None:
    cases = ((np.float32, VECTOR_ENCODING_FLOAT32), (np.float16, VECTOR_ENCODING_FLOAT16))
    for number, (dtype, encoding) in enumerate(cases):
        await created(stub, dataset_id=f"d{number}")
        vectors = random_vectors(COUNT, DIMENSION, dtype)
        report = await imported(stub, lines(rows(COUNT)), npy(vectors), dataset=f"datasets/d{number}")
        assert (report.imported_count, report.rejected_count) == (COUNT, 0)
        dataset = report.dataset
        assert (dataset.dimension, dataset.embedded_count, dataset.pending_count) == (DIMENSION, COUNT, 0)
        assert dataset.vector_encoding == encoding
        assert await stored(stub, encoding, dataset.name) == vectors.tobytes()
    assert await stored(stub, VECTOR_ENCODING_FLOAT32, "datasets/d1") == vectors.astype(np.float32).tobytes()


@pytest.mark.parametrize("kind", ["parquet", "arrow", "list"])
async def test_a_column_is_kept_bit_for_bit(stub: Any, kind: str) -> None:
    cases = ((np.float32, VECTOR_ENCODING_FLOAT32), (np.float16, VECTOR_ENCODING_FLOAT16))
    for number, (dtype, encoding) in enumerate(cases):
        await created(stub, dataset_id=f"d{number}")
        vectors = random_vectors(1200, 32, dtype)
        report = await imported(stub, table(vectors, kind), dataset=f"datasets/d{number}")
        assert (report.imported_count, report.layout.vector_field) == (1200, "embedding"), report
        assert "The vectors are taken from 'embedding'." in report.notes
        assert await stored(stub, encoding, report.dataset.name) == vectors.tobytes()
        document = await stub.GetDocument(pb2.GetDocumentRequest(name=f"{report.dataset.name}/documents/d7"))
        assert not document.metadata.fields


async def test_lists_of_json_are_vectors_and_documents_with_vectors_come_back_unchanged(stub: Any) -> None:
    await created(stub)
    vectors = random_vectors(50, 16)
    items = [{**row, "v": vector.tolist(), "n": 1} for row, vector in zip(rows(50), vectors, strict=True)]
    report = await imported(stub, lines(items))
    assert (report.imported_count, report.layout.vector_field, list(report.notes)) == (
        50,
        "v",
        ["The vectors are taken from 'v'."],
    )
    assert await stored(stub, VECTOR_ENCODING_FLOAT32) == vectors.tobytes()
    [record] = (await stub.ListImports(pb2.ListImportsRequest(parent="datasets/d"))).imports
    assert (record.layout.vector_field, record.added_count) == ("v", 50)
    request = pb2.BatchGetDocumentsRequest(parent="datasets/d", rows=range(50), view=DOCUMENT_VIEW_FULL)
    documents = (await stub.BatchGetDocuments(request)).documents
    await created(stub, dataset_id="copy")
    exported = lines([json_format.MessageToDict(document) for document in documents])
    report = await imported(stub, exported, dataset="datasets/copy")
    assert (report.imported_count, report.rejected_count) == (50, 0)
    assert await stored(stub, VECTOR_ENCODING_FLOAT32, "datasets/copy") == vectors.tobytes()


async def test_float64_is_rounded_and_that_is_said(stub: Any) -> None:
    await created(stub)
    vectors = np.random.default_rng(1).standard_normal((20, 24))
    report = await imported(stub, lines(rows(20)), npy(vectors))
    assert "The vectors are rounded from float64 to float32." in report.notes
    assert await stored(stub, VECTOR_ENCODING_FLOAT32) == vectors.astype(np.float32).tobytes()
    exact = vectors.astype(np.float32).astype(np.float64)
    report = await imported(stub, npy(exact))
    assert not any("rounded" in note for note in report.notes)


async def test_vectors_alone_make_documents_whose_ids_are_their_rows(stub: Any) -> None:
    await created(stub)
    vectors = random_vectors(30, 8)
    for data, as_vectors in ((vectors[:20], b""), (vectors[20:], npy(vectors[20:]))):
        report = await imported(stub, b"" if as_vectors else npy(data), as_vectors)
        assert report.imported_count == len(data)
    listed = await stub.ListDocuments(pb2.ListDocumentsRequest(parent="datasets/d"))
    assert [(document.key, document.text) for document in listed.documents] == [(str(row), "") for row in range(30)]
    assert await stored(stub, VECTOR_ENCODING_FLOAT32) == vectors.tobytes()


async def test_vectors_alone_are_only_added(stub: Any) -> None:
    await created(stub)
    for choice in (pb2.ImportDocumentsRequest.ON_DUPLICATE_SKIP, pb2.ImportDocumentsRequest.ON_DUPLICATE_REPLACE):
        code, message = await refused(stub, npy(random_vectors(3, 8)), on_duplicate=choice)
        assert code == "INVALID_ARGUMENT"
        assert "vectors alone have no ids of their own, so none can be skipped or replaced" in message


async def test_rows_are_counted_once_the_vectors_alone_have_arrived(stub: Any) -> None:
    await created(stub)
    vectors = random_vectors(20, 8192)
    large = npy(np.tile(vectors, (30, 1)))
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def messages() -> AsyncIterator[pb2.ImportDocumentsRequest]:
        yield pb2.ImportDocumentsRequest(config=pb2.ImportDocumentsRequest.Config(dataset="datasets/d"))
        for start in range(0, 16 << 20, 1 << 20):  # so long that the embedder has read the beginning
            yield pb2.ImportDocumentsRequest(chunk=large[start : start + (1 << 20)])
        has_begun.set()
        await may_end.wait()
        yield pb2.ImportDocumentsRequest(chunk=large[16 << 20 :])

    slow = asyncio.ensure_future(stub.ImportDocuments(messages(), timeout=120))
    await has_begun.wait()
    assert (await imported(stub, npy(vectors))).imported_count == 20
    may_end.set()
    report = await slow
    assert report.rejected_count == 0
    assert report.dataset.document_count == 20 + report.imported_count


async def test_imports_of_vectors_alone_at_the_same_time_all_get_rows_of_their_own(stub: Any) -> None:
    await created(stub)
    arrays = [npy(random_vectors(3000, 8) * sign) for sign in (1, -1, 0.5)]
    reports = await asyncio.gather(*(imported(stub, array) for array in arrays))
    assert [(report.imported_count, report.rejected_count) for report in reports] == [(3000, 0)] * 3
    request = pb2.ReadDocumentsRequest(dataset="datasets/d")
    documents = [document async for block in stub.ReadDocuments(request) for document in block.documents]
    assert [document.key for document in documents] == [str(row) for row in range(9000)]


async def test_vectors_alone_are_all_added_where_documents_have_rows_as_ids_already(stub: Any) -> None:
    await created(stub)
    vectors = random_vectors(9, 16)
    items = [{"id": key, "text": "a text"} for key in ("4", "5", "5-2")]
    assert (await imported(stub, lines(items), npy(vectors[:3]))).imported_count == 3
    report = await imported(stub, npy(vectors[3:]), validate_only=True)
    assert (report.imported_count, report.rejected_count) == (6, 0)
    report = await imported(stub, npy(vectors[3:]))
    assert (report.imported_count, report.rejected_count) == (6, 0)
    listed = await stub.ListDocuments(pb2.ListDocumentsRequest(parent="datasets/d"))
    keys = [document.key for document in listed.documents]
    assert keys == ["4", "5", "5-2", "3", "4-2", "5-3", "6", "7", "8"]
    assert await stored(stub, VECTOR_ENCODING_FLOAT32) == vectors.tobytes()


async def test_ids_and_vectors_are_enough(stub: Any) -> None:
    vectors = random_vectors(40, 16)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 16)
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": [f"d{n}" for n in range(40)], "vector": column}), buffer)
    ids = b"id,stars\n" + b"".join(b"d%d,%d\n" % (n, n % 5) for n in range(40))
    for number, (data, array) in enumerate(((buffer.getvalue(), b""), (ids, npy(vectors)))):
        await created(stub, dataset_id=f"d{number}")
        report = await imported(stub, data, array, dataset=f"datasets/d{number}")
        assert (report.imported_count, report.rejected_count) == (40, 0)
        assert "No field holds texts: the documents have none." in report.notes
        listed = await stub.ListDocuments(pb2.ListDocumentsRequest(parent=f"datasets/d{number}"))
        assert [(document.key, document.text) for document in listed.documents] == [(f"d{n}", "") for n in range(40)]
        assert await stored(stub, VECTOR_ENCODING_FLOAT32, f"datasets/d{number}") == vectors.tobytes()
    await created(stub, model="builtin")
    for data, message in (
        (buffer.getvalue(), "no field holds texts, and builtin/wordllama-256 makes the vectors of datasets/d of texts"),
        (ids, "no field holds texts; the fields are 'id', 'stars'"),
    ):
        code, sentence = await refused(stub, data)
        assert (code, message in sentence) == ("INVALID_FILE", True), sentence


async def test_documents_without_texts_come_back_unchanged(stub: Any) -> None:
    await created(stub)
    vectors = random_vectors(20, 8)
    await imported(stub, npy(vectors))
    request = pb2.BatchGetDocumentsRequest(parent="datasets/d", rows=range(20), view=DOCUMENT_VIEW_FULL)
    documents = (await stub.BatchGetDocuments(request)).documents
    exported = lines([json_format.MessageToDict(document) for document in documents])
    await created(stub, dataset_id="copy")
    report = await imported(stub, exported, dataset="datasets/copy")
    assert (report.imported_count, report.rejected_count) == (20, 0), report
    assert await stored(stub, VECTOR_ENCODING_FLOAT32, "datasets/copy") == vectors.tobytes()
    await created(stub, model="builtin", dataset_id="other")
    report = await imported(stub, exported, dataset="datasets/other")
    assert {rejection.reason for rejection in report.rejections} == {Reason.REASON_MISSING_TEXT}


async def test_a_vector_that_cannot_be_used_rejects_its_row_alone(stub: Any) -> None:
    await created(stub)
    good = [0.5] * 16
    bad: dict[str, tuple[Any, int]] = {
        "missing": (None, Reason.REASON_MISSING_VECTOR),
        "short": ([0.5] * 15, Reason.REASON_VECTOR_LENGTH),
        "long": ([0.5] * 17, Reason.REASON_VECTOR_LENGTH),
        "empty": ([], Reason.REASON_VECTOR_LENGTH),
        "zero": ([0.0] * 16, Reason.REASON_ZERO_VECTOR),
        "too small": ([1e-60] * 16, Reason.REASON_ZERO_VECTOR),
        "too large": ([1e60] * 16, Reason.REASON_INVALID_VECTOR),
        "huge": ([10**400] * 16, Reason.REASON_INVALID_VECTOR),
        "null inside": ([None, *good[1:]], Reason.REASON_INVALID_VECTOR),
        "true inside": ([True, *good[1:]], Reason.REASON_INVALID_VECTOR),
        "text": ("0.5 0.5", Reason.REASON_INVALID_VECTOR),
        "object": ({"data": "AAAA"}, Reason.REASON_INVALID_VECTOR),
    }
    items = [{"id": "first", "text": "a text", "v": good}]
    items += [{"id": key, "text": "a text", "v": value} for key, (value, _reason) in bad.items()]
    items += [{"id": "last", "text": "a text", "v": good}]
    report = await imported(stub, lines(items), vector_field="v")
    assert report.imported_count == 2
    assert {rejection.key: rejection.reason for rejection in report.rejections} == {
        key: reason for key, (_value, reason) in bad.items()
    }
    assert [rejection.item for rejection in report.rejections] == list(range(2, len(bad) + 2))


async def test_rows_of_an_array_are_rejected_alone_and_the_others_keep_their_vectors(stub: Any) -> None:
    await created(stub)
    vectors = random_vectors(2000, 200)
    vectors[3, 5], vectors[700, 0], vectors[1999] = np.nan, -np.inf, 0.0
    items = rows(2000)
    items[10]["text"] = ""
    report = await imported(stub, lines(items), npy(vectors))
    assert {rejection.item: rejection.reason for rejection in report.rejections} == {
        4: Reason.REASON_INVALID_VECTOR,
        11: Reason.REASON_INVALID_TEXT,
        701: Reason.REASON_INVALID_VECTOR,
        2000: Reason.REASON_ZERO_VECTOR,
    }
    assert await stored(stub, VECTOR_ENCODING_FLOAT32) == np.delete(vectors, [3, 10, 700, 1999], axis=0).tobytes()
    report = await imported(stub, npy(random_vectors(5, 199)))
    assert [count.reason for count in report.rejection_counts] == [Reason.REASON_VECTOR_LENGTH]
    assert "expected a vector of 200 numbers, got 199" in report.rejections[0].message


HOSTILE = {
    "empty": (b"", "it is empty"),
    "other bytes": (b"hello, I am a text", "it does not begin as one"),
    "a mark alone": (b"\x93NUMPY", "its header is damaged"),
    "version 9": (b"\x93NUMPY\x09\x00" + bytes(100), "its header is damaged, or of a version that is not read"),
    "a header without an end": (b"\x93NUMPY\x01\x00\xff\x00{'descr'", "its header is damaged"),
    "a header of 4 GiB": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "its header is damaged"),
    "code as header": (b"\x93NUMPY\x01\x00\x10\x00__import__('os')", "its header is damaged"),
    "a deep header": (b"\x93NUMPY\x01\x00\x88\x13" + b"(" * 5000, "its header is damaged"),
    "objects": (npy(np.array([["a", None]], dtype=object)), "it holds Python objects, which may run code"),
    "a table": (
        npy(np.zeros(3, dtype=[("a", "<f4"), ("b", "<f4")])),
        "expected float16, float32, float64, got a table",
    ),
    "whole numbers": (npy(np.ones((3, 4), dtype=np.int64)), "expected float16, float32, float64, got '<i8'"),
    "complex numbers": (npy(np.ones((3, 4), dtype=np.complex64)), "got '<c8'"),
    "big-endian": (npy(np.ones((3, 4), dtype=">f4")), "its numbers are big-endian: save `X.astype('<f4')`"),
    "Fortran order": (npy(np.asfortranarray(np.ones((3, 4)))), "Fortran order: save `np.ascontiguousarray(X)`"),
    "one dimension": (npy(np.ones(4)), "expected two dimensions, a row for each item, got the shape (4,)"),
    "three dimensions": (npy(np.ones((2, 2, 2))), "expected two dimensions"),
    "no rows": (npy(np.ones((0, 4))), "expected two dimensions"),
    "a negative shape": (with_header("<f4", (-3, 4)), "expected two dimensions"),
    "a shape of texts": (with_header("<f4", ("3", "4")), "expected two dimensions"),
    "a huge shape": (with_header("<f4", (2**47, 4), data=bytes(64)), "it is cut short"),
    "a shape of 8,000 digits": (raw_header("0x" + "f" * 8000, "4"), "expected two dimensions"),
    "vectors of 8,000 digits": (raw_header("3", "0x" + "f" * 8000), "expected two dimensions"),
    "a number of 8,000 digits as shape": (raw_header("0x" + "f" * 8000), "expected two dimensions"),
    "vectors that OpenSearch refuses": (npy(np.ones((1, 16_001), np.float16)), "at most 16,000 are taken"),
    "huge vectors": (with_header("<f4", (1, 2**40), data=bytes(64)), f"at most {MAX_DIMENSION:,} are taken"),
    "cut short": (npy(np.ones((3, 4)))[:-1], "it is cut short: 3 × 4 float64 have 96 bytes, 95 are there"),
    "too long": (npy(np.ones((3, 4))) + b"x", "it has more than its header says"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_array_is_answered_in_one_sentence(case: str) -> None:
    data, expected = HOSTILE[case]
    with pytest.raises(InvalidFile) as caught:
        NpyArray(io.BytesIO(data))
    assert expected in caught.value.message
    assert len(caught.value.message) < 200
    assert "\n" not in caught.value.message


async def test_an_import_without_a_vector_for_each_item_is_refused_as_a_whole(stub: Any) -> None:
    await created(stub)
    array = npy(random_vectors(9, 16))
    code, message = await refused(stub, lines(rows(10)), array)
    assert (code, message) == (
        "INVALID_FILE",
        "expected a vector for each item: the file has 10 items, the NumPy array 9 rows",
    )
    code, message = await refused(stub, lines(rows(10)))
    assert code == "INVALID_FILE"
    assert "no field of the file holds them: name one (vector_field, --vector-field)" in message
    two = [{**row, "a": [0.5] * 16, "b": [0.5] * 16} for row in rows(3)]
    code, message = await refused(stub, lines(two))
    assert "the fields 'a', 'b' may hold them" in message
    assert (await refused(stub, lines(two), vector_field="c"))[0] == "INVALID_FILE"
    assert (await refused(stub, array, array))[0] == "INVALID_FILE"
    assert "got both" in (await refused(stub, lines(two), npy(random_vectors(3, 16)), vector_field="a"))[1]
    assert (await refused(stub, lines(two), npy(np.ones((3, 4), dtype=object))))[0] == "INVALID_FILE"
    report = await imported(stub, lines(two), vector_field="b", validate_only=True)
    assert (report.imported_count, report.dataset.document_count) == (3, 0)


async def test_a_dataset_whose_vectors_a_model_makes_takes_none(stub: Any) -> None:
    await created(stub, model="builtin")
    array = npy(random_vectors(3, 16))
    for arguments in ((lines(rows(3)), array), (array,)):
        code, message = await refused(stub, *arguments)
        assert code == "GIVEN_VECTORS"
        assert "created with the embedding model `given`" in message
    items = [{**row, "v": [0.5] * 16} for row in rows(3)]
    assert (await refused(stub, lines(items), vector_field="v"))[0] == "GIVEN_VECTORS"
    report = await imported(stub, lines(items))
    assert (report.imported_count, report.dataset.pending_count, report.layout.vector_field) == (3, 3, "")
    assert list(report.notes) == ["Left out, as it seems to hold vectors: 'v'."]


async def test_the_preview_shows_the_field_of_vectors(stub: Any) -> None:
    async def preview(data: bytes, **config: Any) -> pb2.PreviewDocumentsResponse:
        async def messages() -> AsyncIterator[pb2.PreviewDocumentsRequest]:
            yield pb2.PreviewDocumentsRequest(config=pb2.ImportDocumentsRequest.Config(**config))
            yield pb2.PreviewDocumentsRequest(chunk=data)

        return await stub.PreviewDocuments(messages())

    for data in (
        table(random_vectors(30, 16), "parquet"),
        lines([{**row, "embedding": [0.5] * 20} for row in rows(9)]),
    ):
        answer = await preview(data)
        kinds = {column.name: column.kind for column in answer.columns}
        assert kinds["embedding"] == pb2.PreviewDocumentsResponse.Column.KIND_VECTOR
        assert answer.layout.vector_field == "embedding"
        assert not answer.documents[0].metadata.fields
    answer = await preview(npy(random_vectors(1000, 384))[: 1 << 20], is_partial=True)
    assert len(answer.documents) == 20


async def test_nothing_is_to_be_embedded(stub: Any, jobs: Any) -> None:
    await created(stub)
    await imported(stub, npy(random_vectors(3, 16)))
    job = await ended(jobs, await stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d")))
    assert (job.state, job.progress.message) == (
        Job.STATE_SUCCEEDED,
        "nothing to embed: the vectors of datasets/d are given",
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.EmbedDataset(pb2.EmbedDatasetRequest(name="datasets/d", again=True))
    assert reason(caught.value) == "GIVEN_VECTORS"
    assert "import the documents with their vectors again, and replace" in (caught.value.details() or "")


async def test_the_model_of_queries_makes_vectors_of_the_same_length(stub: Any) -> None:
    async def update(**fields: Any) -> Dataset:
        request = pb2.UpdateDatasetRequest(dataset=Dataset(name="datasets/d", **fields))
        request.update_mask.paths.extend(fields)
        return await stub.UpdateDataset(request)

    dataset = await created(stub, query_model="builtin")
    assert (dataset.embedding_model, dataset.query_model) == ("given/minilm", "builtin/wordllama-256")
    report = await imported(stub, npy(random_vectors(3, 255)))
    assert "expected a vector of 256 numbers, got 255" in report.rejections[0].message
    assert (await update(query_model="")).query_model == ""
    assert (await imported(stub, npy(random_vectors(3, 255)))).dataset.dimension == 255
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await update(query_model="builtin")
    assert "expected a model of vectors of 255 numbers, as the given ones" in (caught.value.details() or "")
    for model, query_model, code in (
        ("builtin", "builtin", "INVALID_ARGUMENT"),
        ("given/", "", "INVALID_ARGUMENT"),
        ("given", "given", "EMBEDDING_MODEL_NOT_FOUND"),
        ("given", "onnx/none", "EMBEDDING_MODEL_NOT_FOUND"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await created(stub, model=model, query_model=query_model, dataset_id="other")
        assert reason(caught.value) == code


async def test_a_document_with_a_given_vector_has_no_passages(stub: Any) -> None:
    dataset = Dataset(embedding_model="given")
    dataset.passages.SetInParent()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CreateDataset(pb2.CreateDatasetRequest(dataset_id="d", dataset=dataset))
    assert reason(caught.value) == "INVALID_ARGUMENT"


async def test_a_repeated_import_is_recognised_by_both_files(stub: Any) -> None:
    await created(stub)
    first, other = npy(random_vectors(3, 16)), npy(-random_vectors(3, 16))
    reports = [await imported(stub, lines(rows(3)), first, request_id="once") for _ in range(2)]
    assert reports[0] == reports[1]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await imported(stub, lines(rows(3)), other, request_id="once")
    assert reason(caught.value) == "REQUEST_ID_REUSED"


class Data:
    """The embedder's storage with a dataset of given vectors."""

    def __init__(self, url: str, folder: Path, query_model: QueryModel | None = None) -> None:
        self.database = Database(url, MIGRATIONS)
        self.database.migrate()
        self.blobs = Blobs(folder / "blobs", records=Records(self.database, BLOBS))
        self.store, self.vectors = Store(self.database, self.blobs), VectorStore(self.database, self.blobs)
        new = NewDataset(id="d", display_name=None, description="", embedding_model="given", query_model=query_model)
        self.uid = self.store.create_dataset(new).uid

    def add(self, first: int, vectors: Array, on_duplicate: OnDuplicate = OnDuplicate.REJECT) -> Mapping[str, Fate]:
        documents = [NewDocument(str(first + n), "a text", {}, vector) for n, vector in enumerate(vectors)]
        shard = self.vectors.write_shard(self.uid, vectors)
        return self.store.add_documents("d", self.uid, documents, shard=shard, on_duplicate=on_duplicate)

    def stored(self) -> Array:
        return self.vectors.vectors_after(self.store.dataset("d"), -1, 1000).vectors


@pytest.fixture
def data(database_url: str, tmp_path: Path) -> Iterator[Data]:
    opened = Data(database_url, tmp_path)
    yield opened
    opened.database.close()


def test_vectors_of_both_types_are_returned_by_row_and_known_documents_keep_theirs(data: Data) -> None:
    half, single = random_vectors(4, 8, np.float16), random_vectors(4, 8)
    assert data.add(0, half) == {}
    assert data.store.dataset("d").is_half
    assert data.add(2, single) == {"2": Fate.REJECTED, "3": Fate.REJECTED}
    assert not data.store.dataset("d").is_half
    assert data.stored().tobytes() == np.concatenate([half.astype(np.float32), single[2:]]).tobytes()
    assert data.store.dataset("d").counts.embedded == 6


def test_a_document_is_replaced_where_its_vector_differs_or_is_damaged(data: Data) -> None:
    vectors = random_vectors(4, 8)
    data.add(0, vectors)
    [first] = data.blobs.folder.rglob("*.npy")
    changed = vectors.copy()
    changed[2] *= -1
    fates = data.add(0, changed, OnDuplicate.REPLACE)
    assert fates == {"0": Fate.SKIPPED, "1": Fate.SKIPPED, "2": Fate.UPDATED, "3": Fate.SKIPPED}
    assert data.stored().tobytes() == changed[[0, 1, 3, 2]].tobytes()
    assert data.add(0, changed, OnDuplicate.REPLACE) == dict.fromkeys("0123", Fate.SKIPPED)
    assert len(list(data.blobs.folder.rglob("*.npy"))) == 2  # what is not used is deleted
    first.unlink()
    with pytest.raises(BlobDamaged):
        data.stored()
    fates = data.add(0, changed, OnDuplicate.REPLACE)
    assert fates == {"0": Fate.UPDATED, "1": Fate.UPDATED, "2": Fate.SKIPPED, "3": Fate.UPDATED}
    assert data.stored().tobytes() == changed[[2, 0, 1, 3]].tobytes()
    assert data.store.dataset("d").counts.embedded == 4


def test_the_transaction_takes_no_vectors_of_another_length(data: Data) -> None:
    data.add(0, random_vectors(2, 8))
    with pytest.raises(DimensionChanged):
        data.add(2, random_vectors(2, 9))
    assert data.store.dataset("d").counts.rows == 2
    with pytest.raises(InvalidArgument):
        data.store.update_dataset("d", {"query_model": "onnx/x", "query_dimension": 9})
    dataset = data.store.update_dataset("d", {"query_model": "onnx/x", "query_dimension": 8})
    assert dataset.query_model == QueryModel("onnx/x", 8)


def test_a_dataset_with_documents_without_vectors_cannot_have_given_ones(data: Data) -> None:
    dataset = data.store.update_dataset("d", {"embedding_model": "builtin/wordllama-256"})
    data.store.add_documents("d", dataset.uid, [NewDocument("k", "a text", {})])
    with pytest.raises(GivenVectors):
        data.store.update_dataset("d", {"embedding_model": "given"})


@pytest.mark.parametrize("model", ["given", "builtin/wordllama-256"])
def test_vectors_are_not_committed_once_a_model_makes_them_nor_texts_once_they_are_given(
    data: Data, model: str
) -> None:
    data.store.update_dataset("d", {"embedding_model": model})
    with pytest.raises(GivenVectors, match="has another embedding model since this import began: import again"):
        if model == "given":
            data.store.add_documents("d", data.uid, [NewDocument("k", "a text", {})])
        else:
            data.add(0, random_vectors(2, 8))
    assert data.store.dataset("d").counts.rows == 0
    assert not list(data.blobs.folder.rglob("*.npy"))


def test_an_array_is_read_in_blocks(tmp_path: Path) -> None:
    vectors = random_vectors(3000, 384)
    path = tmp_path / "vectors.npy"
    np.save(path, vectors)
    with path.open("rb") as file:
        array = NpyArray(file)
        block = array.rows(2000)
        assert 1 < len(block) < 1000
        assert block.tobytes() == vectors[2000 : 2000 + len(block)].tobytes()
        assert array.rows(2999).tobytes() == vectors[2999:].tobytes()
    assert block.nbytes <= wire.BLOCK_BYTES
