"""The reports that imports leave: what they say, whatever ends the import, and how much of them is kept."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest
from sqlalchemy import func, select, update

from services.chassis.blobs import Blobs, Records
from services.chassis.database import Database
from services.chassis.errors import Code, InvalidArgument
from services.chassis.moments import utc_now
from services.embedder import import_records
from services.embedder import imports as data_plane
from services.embedder.documents import Dataset, Fate, NewDataset
from services.embedder.errors import DatasetNotFound, FileTooLarge, ImportNotFound, InvalidFile
from services.embedder.files.formats import FileOptions
from services.embedder.import_records import ImportRecords
from services.embedder.imports import BATCH, Chunk, FileReuse, Importer, ImportPlan, Upload
from services.embedder.items import FieldOptions, Reason
from services.embedder.preview_files import PreviewFiles
from services.embedder.providers import EmbeddingModels
from services.embedder.reports import ImportState, StoredImport
from services.embedder.store import Store
from services.embedder.tables import BLOBS, IMPORTS, REJECTIONS
from services.embedder.vector_store import VectorStore
from tests.archives import zipped

MIGRATIONS = Path(__file__).parents[2] / "services/embedder/migrations"


@dataclass(frozen=True)
class Imports:
    """Imports into a dataset `d`."""

    database: Database
    blobs: Blobs
    store: Store
    records: ImportRecords
    dataset: Dataset
    folder: Path

    def plan(self, *, validate_only: bool) -> ImportPlan:
        return ImportPlan(
            dataset_id="d",
            file_name="reviews.jsonl",
            file=FileOptions(),
            fields=FieldOptions(),
            max_text_bytes=1000,
            validate_only=validate_only,
            request_id="",
            request=b"",
        )

    def service(self, *, max_bytes: int = 1 << 30) -> data_plane.Imports:
        return data_plane.Imports(
            store=self.store,
            records=self.records,
            vectors=VectorStore(self.database, self.blobs),
            models=cast(EmbeddingModels, None),
            folder=self.folder,
            max_bytes=max_bytes,
        )

    def importer(self, *, validate_only: bool = False) -> Importer:
        return Importer(
            store=self.store,
            records=self.records,
            vectors=VectorStore(self.database, self.blobs),
            dataset=self.dataset,
            plan=self.plan(validate_only=validate_only),
            folder=self.folder,
            max_bytes=1 << 30,
        )

    def run(self, items: Sequence[Any]) -> StoredImport:
        importer = self.importer()
        importer.run(lines(items))
        assert importer.uid is not None
        return self.records.get("d", importer.uid)

    def rejected_items(self, stored: StoredImport) -> list[tuple[int, Reason]]:
        parts = list(self.records.rejections("d", stored.uid))
        return [(rejection.item, rejection.reason) for part in parts for rejection in part]


@pytest.fixture
def imports(database_url: str, tmp_path: Path) -> Iterator[Imports]:
    database = Database(database_url, MIGRATIONS)
    database.migrate()
    blobs = Blobs(tmp_path / "blobs", records=Records(database, BLOBS))
    store = Store(database, blobs)
    new = NewDataset(id="d", display_name=None, description="", embedding_model="builtin/wordllama-256")
    yield Imports(
        database=database,
        blobs=blobs,
        store=store,
        records=ImportRecords(database),
        dataset=store.create_dataset(new),
        folder=tmp_path,
    )
    database.close()


def lines(items: Sequence[Any]) -> Upload:
    return Upload(io.BytesIO(b"\n".join(json.dumps(item).encode() for item in items)), None, b"")


def texts(count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"id": f"key {n}", "text": f"text {n}"} for n in range(start, start + count)]


def test_an_import_is_kept_with_all_that_it_did(imports: Imports) -> None:
    items: list[Any] = texts(BATCH + 10)
    items[3] = {"id": "no text"}
    items[BATCH + 5] = items[0]
    stored = imports.run(items)
    assert (stored.state, stored.failure, stored.file_name) == (ImportState.SUCCEEDED, None, "reviews.jsonl")
    assert stored.file_bytes == lines(items).documents.seek(0, io.SEEK_END)
    assert stored.end_time is not None
    assert stored.end_time >= stored.create_time
    report = stored.report
    assert report is not None
    assert (report.read, report.imported, report.counts.total()) == (BATCH + 10, BATCH + 8, 2)
    assert dict(report.counts) == {Reason.MISSING_TEXT: 1, Reason.DUPLICATE_IN_FILE: 1}
    assert (report.layout.format, report.fields.text_fields) == ("JSON_LINES", ("text",))
    assert imports.rejected_items(stored) == [(4, Reason.MISSING_TEXT), (BATCH + 6, Reason.DUPLICATE_IN_FILE)]
    again = imports.run(items)
    assert again.report is not None
    assert (again.report.imported, again.stored_rejections) == (0, BATCH + 10)
    assert [item for item, _reason in imports.rejected_items(again)] == list(range(1, BATCH + 11))
    assert [listed.uid for listed in imports.records.list("d", None, 10)] == [again.uid, stored.uid]


def test_each_rejection_says_in_which_table_its_item_is(imports: Imports) -> None:
    tables = {"a.csv": b"id,text\n1,one\n2,\n", "b.csv": b"id,text\n3,three\n1,again\n4,four\n"}
    for expected in (
        [(2, "a.csv", 2), (4, "b.csv", 2)],
        [(1, "a.csv", 1), (2, "a.csv", 2), (3, "b.csv", 1), (4, "b.csv", 2), (5, "b.csv", 3)],
    ):
        importer = imports.importer()
        report = importer.run(Upload(io.BytesIO(zipped(tables)), None, b""))
        assert importer.uid is not None
        [stored] = imports.records.rejections("d", importer.uid)
        assert stored == report.rejections
        assert [(rejection.item, rejection.table, rejection.table_item) for rejection in stored] == expected
        assert all(rejection.message.startswith(f"{rejection.table}, item ") for rejection in stored)


def test_more_rejections_than_a_response_lists_are_kept_in_the_order_of_the_file(imports: Imports) -> None:
    items: list[Any] = [{"id": f"bad {n}"} if n % 3 else text for n, text in enumerate(texts(7000))]
    stored = imports.run(items)
    assert stored.stored_rejections == sum(n % 3 != 0 for n in range(7000))
    assert [item for item, _reason in imports.rejected_items(stored)] == [n + 1 for n in range(7000) if n % 3]


def test_a_check_alone_leaves_no_report(imports: Imports) -> None:
    importer = imports.importer(validate_only=True)
    assert importer.run(lines(texts(3))).imported == 3
    assert importer.uid is None
    assert imports.records.list("d", None, 10) == []


@pytest.mark.parametrize("count", [0, 3])
async def test_an_import_whose_file_did_not_arrive_says_so(imports: Imports, count: int) -> None:
    is_waiting = asyncio.Event()

    async def chunks() -> AsyncIterator[Chunk]:
        for _ in range(count):
            yield Chunk(b"x" * 1000)
        is_waiting.set()
        await asyncio.Event().wait()

    plan = imports.plan(validate_only=False)
    work = asyncio.create_task(imports.service().run(plan, chunks(), lambda *_report: b""))
    await is_waiting.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    [stored] = imports.records.list("d", None, 10)
    assert (stored.state, stored.file_name, stored.report) == (ImportState.CANCELLED, "reviews.jsonl", None)
    assert stored.file_bytes == 1000 * count
    assert stored.end_time is not None
    assert stored.failure is not None
    assert stored.failure.message == (
        f"the file did not arrive whole: after {1000 * count:,} bytes the caller went away, its time was over, or the "
        "server stopped; this call imported nothing"
    )


async def test_a_file_that_is_too_large_leaves_a_report_and_a_check_none(imports: Imports) -> None:
    async def chunks() -> AsyncIterator[Chunk]:
        for _ in range(3):
            yield Chunk(b"x" * 1000)

    for validate_only in (True, False):
        assert imports.records.list("d", None, 10) == []
        with pytest.raises(FileTooLarge) as refused:
            plan = imports.plan(validate_only=validate_only)
            await imports.service(max_bytes=2000).run(plan, chunks(), lambda *_report: b"")
    [stored] = imports.records.list("d", None, 10)
    assert stored.state == ImportState.FAILED
    assert stored.failure is not None
    assert stored.failure.message == refused.value.message


def test_a_file_that_cannot_be_read_leaves_a_report_with_the_reason(imports: Imports) -> None:
    importer = imports.importer()
    with pytest.raises(InvalidFile) as refused:
        importer.run(Upload(io.BytesIO(b"%PDF-1.7 \x00\x01"), None, b""))
    [stored] = imports.records.list("d", None, 10)
    assert (stored.uid, stored.state, stored.report) == (importer.uid, ImportState.FAILED, None)
    assert stored.failure is not None
    assert (stored.failure.reason, stored.failure.message) == ("INVALID_FILE", refused.value.message)


def _fail_in_the_third_batch(imports: Imports, importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    add, calls = imports.store.add_documents, [0]

    def add_twice(*arguments: Any, **options: Any) -> Mapping[str, Fate]:
        calls[0] += 1
        if calls[0] == 3:
            raise OSError("the disk is gone")
        return add(*arguments, **options)

    monkeypatch.setattr(imports.store, "add_documents", add_twice)


def _fail_at_the_commit_of_the_third_batch(
    imports: Imports, importer: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = imports.records.write, [0]

    def write_twice(*arguments: Any) -> None:
        write(*arguments)
        calls[0] += 1
        if calls[0] == 3:
            raise OSError("the disk is gone")

    monkeypatch.setattr(imports.records, "write", write_twice)


def _stop_after_the_second_batch(imports: Imports, importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    add, calls = imports.store.add_documents, [0]

    def add_and_stop(*arguments: Any, **options: Any) -> Mapping[str, Fate]:
        calls[0] += 1
        fates = add(*arguments, **options)
        if calls[0] == 2:
            importer.stop()
        return fates

    monkeypatch.setattr(imports.store, "add_documents", add_and_stop)


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (_fail_in_the_third_batch, ImportState.FAILED),
        (_fail_at_the_commit_of_the_third_batch, ImportState.FAILED),
        (_stop_after_the_second_batch, ImportState.CANCELLED),
    ],
)
def test_an_import_that_ends_early_says_what_was_committed(
    imports: Imports,
    monkeypatch: pytest.MonkeyPatch,
    ending: Callable[[Imports, Importer, pytest.MonkeyPatch], None],
    state: ImportState,
) -> None:
    importer = imports.importer()
    items: list[Any] = texts(3 * BATCH)
    items[7] = {"id": "no text"}
    ending(imports, importer, monkeypatch)
    try:
        importer.run(lines(items))
    except OSError:
        assert state == ImportState.FAILED
    [stored] = imports.records.list("d", None, 10)
    count = imports.store.dataset("d").counts.rows
    assert count == 2 * BATCH
    assert stored.state == state
    assert (stored.failure is not None) == (state == ImportState.FAILED)
    assert stored.report is not None
    assert (stored.report.imported, stored.report.counts.total()) == (count, 1)
    assert imports.rejected_items(stored) == [(8, Reason.MISSING_TEXT)]


def test_an_import_whose_process_was_killed_is_reported_as_interrupted(
    imports: Imports, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer = imports.importer()
    _fail_in_the_third_batch(imports, importer, monkeypatch)
    monkeypatch.setattr(imports.records, "end", Mock())  # as a process that is killed
    with pytest.raises(OSError, match="gone"):
        importer.run(lines(texts(3 * BATCH)))
    [running] = imports.records.list("d", None, 10)
    assert (running.state, running.end_time) == (ImportState.RUNNING, None)
    with imports.database.write() as connection:
        connection.execute(update(IMPORTS).values(update_time=utc_now() - import_records.SILENT - timedelta(seconds=1)))
    interrupted = imports.records.get("d", running.uid)
    assert (interrupted.state, interrupted.end_time) == (ImportState.INTERRUPTED, None)
    assert interrupted.report is not None
    assert interrupted.report.imported == imports.store.dataset("d").counts.rows == 2 * BATCH


def test_rejections_that_have_no_room_are_counted_and_the_first_are_kept(
    imports: Imports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_records, "MAX_STORED_BYTES", 250_000)
    stored = imports.run([{"id": os.urandom(60).hex(), "text": " "} for _ in range(6000)])
    assert stored.report is not None
    assert stored.report.counts.total() == 6000
    assert 0 < stored.stored_rejections < 6000
    assert [item for item, _reason in imports.rejected_items(stored)] == list(range(1, stored.stored_rejections + 1))


def test_old_imports_and_the_rejections_of_older_ones_are_forgotten(
    imports: Imports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_records, "MAX_IMPORTS", 4)
    monkeypatch.setattr(import_records, "MAX_DATASET_BYTES", 200)
    stored = [imports.run([{"id": f"{n}", "text": " "}]) for n in range(6)]
    remaining = imports.records.list("d", None, 10)
    assert [record.uid for record in remaining] == [record.uid for record in stored[:1:-1]]
    assert remaining[0].stored_rejections == 1
    assert remaining[-1].stored_rejections == 0
    assert [record.report.counts.total() for record in remaining if record.report] == [1, 1, 1, 1]
    with pytest.raises(ImportNotFound):
        imports.records.get("d", stored[0].uid)
    with imports.database.read() as connection:
        parts = connection.execute(select(func.count(), func.sum(func.length(REJECTIONS.c.content)))).one()
    assert parts[0] == sum(record.stored_rejections for record in remaining)
    assert parts[1] <= 200


def test_imports_are_deleted_with_their_dataset(imports: Imports) -> None:
    stored = imports.run([{"id": "no text"}, *texts(3)])
    imports.store.delete_dataset("d")
    with pytest.raises(DatasetNotFound):
        imports.records.list("d", None, 10)
    new = NewDataset(id="d", display_name=None, description="", embedding_model="builtin/wordllama-256")
    imports.store.create_dataset(new)
    with pytest.raises(ImportNotFound):
        imports.records.get("d", stored.uid)
    imports.records.sweep()
    with imports.database.read() as connection:
        for table in (IMPORTS, REJECTIONS):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_a_dataset_that_is_deleted_during_an_import_gets_no_report(imports: Imports) -> None:
    importer = imports.importer()
    imports.store.delete_dataset("d")
    with pytest.raises(DatasetNotFound):
        importer.run(lines(texts(3)))
    with imports.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(IMPORTS)).scalar_one() == 0


@pytest.mark.parametrize("is_at_the_end", [False, True])
async def test_a_full_disk_is_reported_as_such_and_frees_the_files_of_previews(
    imports: Imports, monkeypatch: pytest.MonkeyPatch, is_at_the_end: bool
) -> None:
    class FullFile(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(data) if is_at_the_end else self.fail()

        def flush(self) -> None:
            if is_at_the_end and self.tell():
                self.fail()

        def fail(self) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    service = imports.service()
    plan = imports.plan(validate_only=False)
    data = b'{"id": "1", "text": "one"}\n'
    token = (await preview(service, plan, data, FileReuse(keep=True))).file_token
    monkeypatch.setattr(data_plane.tempfile, "TemporaryFile", lambda **_options: FullFile())
    with pytest.raises(OSError, match="No space"):
        await service.run(plan, chunks_of(data), lambda *_report: b"")
    [stored] = imports.records.list("d", None, 10)
    assert stored.state == ImportState.FAILED
    assert stored.failure is not None
    assert (stored.failure.reason, stored.failure.code) == ("STORAGE_FULL", Code.RESOURCE_EXHAUSTED)
    with pytest.raises(InvalidArgument, match=r"config\.file_token"):
        await preview(service, plan, b"", FileReuse(token))


async def chunks_of(data: bytes) -> AsyncIterator[Chunk]:
    yield Chunk(data)


async def preview(
    service: data_plane.Imports, plan: ImportPlan, data: bytes, reuse: FileReuse, *, is_partial: bool = False
) -> data_plane.Preview:
    return await service.preview(plan, chunks_of(data), is_partial=is_partial, reuse=reuse)


async def test_a_file_is_previewed_again_without_being_sent(imports: Imports) -> None:
    data = b"key,text,other\nk,a text,another\n"
    larger = data + b"".join(b"%d,text,t\n" % row for row in range(90))
    service, plan = imports.service(max_bytes=len(larger)), imports.plan(validate_only=False)
    first = await preview(service, plan, data, FileReuse(keep=True))
    assert [document.text for document in first.documents] == ["a text"]
    by_other = replace(plan, fields=FieldOptions(text_fields=("other",)))
    again = FileReuse(first.file_token)
    previews = await asyncio.gather(*(preview(service, by_other, b"", again) for _ in range(8)))
    assert {document.text for result in previews for document in result.documents} == {"another"}
    beginning = await preview(service, plan, data, FileReuse(keep=True), is_partial=True)
    assert beginning.file_token is None
    second = await preview(service, plan, larger, FileReuse(keep=True))
    for token in (first.file_token, "unknown"):  # there is no room for both files
        with pytest.raises(InvalidArgument, match=r"config\.file_token.*send it again"):
            await preview(service, plan, b"", FileReuse(token))
    assert await preview(service, plan, b"", FileReuse(second.file_token)) == second


async def test_previews_that_fail_or_do_not_ask_for_it_leave_no_file(
    imports: Imports, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, plan = imports.service(), imports.plan(validate_only=False)
    with pytest.raises(InvalidFile):
        await preview(service, plan, b"%PDF-1.7 \x00\x01", FileReuse(keep=True))
    data = b'{"id": "1", "text": "one"}\n'
    assert (await preview(service, plan, data, FileReuse())).file_token is None
    assert service._preview_files._files == {}
    token = (await preview(service, plan, data, FileReuse(keep=True))).file_token
    assert [*service._preview_files._files] == [token]
    monkeypatch.setattr(data_plane, "_FREE_BYTES", 1 << 62)
    await preview(service, plan, data, FileReuse())
    assert service._preview_files._files == {}


async def test_a_file_of_a_preview_is_closed_when_its_time_is_over() -> None:
    files = PreviewFiles(max_bytes=1000, seconds=0.01)
    with tempfile.TemporaryFile() as file:
        file.write(b"content")
        file.flush()
        token = files.add(file)
    async with files.use(token) as content:
        assert content.read() == b"content"
        for _ in range(1000):
            if token not in files._files:
                break
            await asyncio.sleep(0.01)
        assert not content.closed
    assert content.closed
    with pytest.raises(InvalidArgument):
        async with files.use(token):
            pass
