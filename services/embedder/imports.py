"""The data plane of imports: receives a file, and adds its documents to a dataset."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar

from services.chassis.idempotency import Call
from services.embedder.documents import Dataset, NewDocument
from services.embedder.errors import FileTooLarge
from services.embedder.files.documents import read_documents
from services.embedder.files.fields import Kind, find_fields
from services.embedder.files.formats import FileOptions, Limits
from services.embedder.files.opening import open_file
from services.embedder.items import FieldOptions, Reason, Rejection
from services.embedder.metadata import MAX_BYTES
from services.embedder.reports import Report
from services.embedder.store import Store

BATCH = 500
"""Documents of one transaction."""
PREVIEWED = 20
"""Items of a preview."""
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ImportPlan:
    """What an import is to do.

    max_text_bytes: of one document. request: the request's bytes without the file, by which a repeated request id is
    recognised.
    """

    dataset_id: str
    file: FileOptions
    fields: FieldOptions
    max_text_bytes: int
    validate_only: bool
    request_id: str
    request: bytes

    def limits(self, file_bytes: int) -> Limits:
        """Bounds of what is read. file_bytes: of a file after it is unpacked."""
        return Limits(item_bytes=self.max_text_bytes * 2 + MAX_BYTES, file_bytes=file_bytes)


@dataclass(frozen=True)
class Preview:
    """What an import would make of a file.

    report: the layout, and what is rejected among the first items. columns: the fields with the kinds of their values.
    documents: the first ones.
    """

    report: Report
    columns: Mapping[str, Kind]
    documents: Sequence[NewDocument]


class Imports:
    """Imports files. folder: where a file is kept until it is read; max_bytes: of a file."""

    def __init__(self, *, store: Store, folder: Path, max_bytes: int) -> None:
        self._store = store
        self._folder = folder
        self._max_bytes = max_bytes

    async def run(
        self, plan: ImportPlan, chunks: AsyncIterator[bytes], answer: Callable[[Report, Dataset], bytes]
    ) -> tuple[bytes, Dataset]:
        """Receives and imports a file; returns its answer, or the one that the same request got, and the dataset.

        Raises DatasetNotFound, FileTooLarge, InvalidFile, RequestIdReused, StorageFull.
        """
        dataset = await asyncio.to_thread(self._store.dataset, plan.dataset_id)
        with tempfile.TemporaryFile(dir=self._folder) as file:  # it has no name, so a crash leaves nothing behind
            digest = await self._receive(chunks, file)
            call = None
            if not plan.validate_only:
                call = Call.of_bytes(plan.request_id, "ImportDocuments", plan.request + digest)
            stored = await asyncio.to_thread(self._store.import_answer, call)
            if stored is not None:
                return stored, dataset
            importer = Importer(self._store, dataset, plan, folder=self._folder, max_bytes=self._max_bytes)
            report = await run_import(importer, file)
        dataset = await asyncio.to_thread(self._store.dataset, plan.dataset_id)
        message = answer(report, dataset)
        await asyncio.to_thread(self._store.store_import_answer, call, dataset.uid, message)
        return message, dataset

    async def preview(self, plan: ImportPlan, chunks: AsyncIterator[bytes], *, is_partial: bool) -> Preview:
        """What an import would make of a file. is_partial: whether the file is the beginning of a longer one.

        Raises FileTooLarge, InvalidFile.
        """
        with tempfile.TemporaryFile(dir=self._folder) as file:
            await self._receive(chunks, file)
            stopped = threading.Event()
            return await _stoppable(lambda: self._preview(plan, file, is_partial, stopped), stopped.set)

    def _preview(self, plan: ImportPlan, file: IO[bytes], is_partial: bool, stopped: threading.Event) -> Preview:
        limits = replace(plan.limits(self._max_bytes), is_partial=is_partial)
        reader = open_file(file, plan.file, limits, self._folder, stopped=stopped)
        guess = find_fields(reader, plan.fields)
        report = Report.of(reader.layout, guess)
        documents: list[NewDocument] = []
        for item in islice(read_documents(reader, guess.fields, plan.max_text_bytes), PREVIEWED):
            if isinstance(item, Rejection):
                report.reject(item)
            else:
                documents.append(item[1])
        return Preview(report, guess.columns, documents)

    async def _receive(self, chunks: AsyncIterator[bytes], file: IO[bytes]) -> bytes:
        """Writes the chunks to a file; returns their SHA-256. Raises FileTooLarge."""
        size, digest = 0, hashlib.sha256()
        async for chunk in chunks:
            size += len(chunk)
            if size > self._max_bytes:
                raise FileTooLarge(
                    f"the file has more than {self._max_bytes:,} bytes; split it into several",
                    metadata={"limit": str(self._max_bytes)},
                )
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(file.flush)
        return digest.digest()


class Importer:
    """One import: reads items, commits documents in batches, reports the items that are rejected.

    folder: where temporary files are made. max_bytes: of a file after it is unpacked.
    """

    def __init__(self, store: Store, dataset: Dataset, plan: ImportPlan, *, folder: Path, max_bytes: int) -> None:
        self._store = store
        self._dataset = dataset
        self._plan = plan
        self._folder = folder
        self._limits = plan.limits(max_bytes)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ends the import before its next item, or while the file is unpacked and checked; what is committed stays."""
        self._stopped.set()

    def run(self, file: IO[bytes]) -> Report:
        """Imports the file; returns the report so far if it is stopped.

        Raises InvalidFile and FileTooLarge before anything is imported, DatasetNotFound if the dataset is deleted
        meanwhile.
        """
        reader = open_file(file, self._plan.file, self._limits, self._folder, stopped=self._stopped)
        guess = find_fields(reader, self._plan.fields)
        report = Report.of(reader.layout, guess)
        batch: list[tuple[int, NewDocument]] = []
        for item in read_documents(reader, guess.fields, self._plan.max_text_bytes):
            if self._stopped.is_set():
                return report
            if isinstance(item, Rejection):
                report.reject(item)
                continue
            batch.append(item)
            if len(batch) == BATCH:
                self._commit(batch, report)
                batch = []
        if batch:
            self._commit(batch, report)
        report.rejections.sort(key=lambda rejection: rejection.item)
        return report

    def _commit(self, batch: list[tuple[int, NewDocument]], report: Report) -> None:
        documents = [document for _place, document in batch]
        if self._plan.validate_only:
            existing = self._store.known_keys(self._dataset.uid, [document.key for document in documents])
        else:
            existing = self._store.add_documents(self._dataset.id, self._dataset.uid, documents)
        for place, document in batch:
            if document.key in existing:
                message = "a document of the dataset has the same id"
                report.reject(Rejection(place, document.key[:200], Reason.DUPLICATE_IN_DATASET, message))
            else:
                report.imported += 1


async def run_import(importer: Importer, file: IO[bytes]) -> Report:
    """Runs an import in a thread. A caller that is cancelled stops it, and waits until its last batch has ended."""
    return await _stoppable(lambda: importer.run(file), importer.stop)


async def _stoppable(function: Callable[[], _Result], stop: Callable[[], None]) -> _Result:
    """Runs a function in a thread. A caller that is cancelled stops it, and waits until it has ended."""
    work = asyncio.create_task(asyncio.to_thread(function))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop()
        await asyncio.gather(work, return_exceptions=True)
        raise
