"""The data plane of imports: receives a file, and adds its documents to a dataset."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from services.chassis.idempotency import Call
from services.embedder.documents import Dataset, NewDocument
from services.embedder.errors import FileTooLarge
from services.embedder.files.json import read_documents
from services.embedder.items import Options, Reason, Rejection, Report
from services.embedder.store import Store

BATCH = 500
"""Documents of one transaction."""


@dataclass(frozen=True)
class ImportPlan:
    """What an import is to do.

    request: the request's bytes without the file, by which a repeated request id is recognised.
    """

    dataset_id: str
    options: Options
    validate_only: bool
    request_id: str
    request: bytes


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
            importer = Importer(self._store, dataset, plan.options, validate_only=plan.validate_only)
            report = await run_import(importer, file)
        dataset = await asyncio.to_thread(self._store.dataset, plan.dataset_id)
        message = answer(report, dataset)
        await asyncio.to_thread(self._store.store_import_answer, call, dataset.uid, message)
        return message, dataset

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
    """One import: reads items, commits documents in batches, reports the items that are rejected."""

    def __init__(self, store: Store, dataset: Dataset, options: Options, *, validate_only: bool = False) -> None:
        self._store = store
        self._dataset = dataset
        self._options = options
        self._validate_only = validate_only
        self._report = Report()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ends the import before its next item; what is committed stays."""
        self._stopped.set()

    def run(self, file: IO[bytes]) -> Report:
        """Imports the file; returns the report so far if it is stopped.

        Raises InvalidFile before anything is imported, DatasetNotFound if the dataset is deleted meanwhile.
        """
        batch: list[tuple[int, NewDocument]] = []
        for item in read_documents(file, self._options):
            if self._stopped.is_set():
                return self._report
            if isinstance(item, Rejection):
                self._report.reject(item)
                continue
            batch.append(item)
            if len(batch) == BATCH:
                self._commit(batch)
                batch = []
        if batch:
            self._commit(batch)
        self._report.rejections.sort(key=lambda rejection: rejection.item)
        return self._report

    def _commit(self, batch: list[tuple[int, NewDocument]]) -> None:
        documents = [document for _place, document in batch]
        if self._validate_only:
            existing = self._store.known_keys(self._dataset.uid, [document.key for document in documents])
        else:
            existing = self._store.add_documents(self._dataset.id, self._dataset.uid, documents)
        for place, document in batch:
            if document.key in existing:
                message = "a document of the dataset has the same id"
                self._report.reject(Rejection(place, document.key[:200], Reason.DUPLICATE_IN_DATASET, message))
            else:
                self._report.imported += 1


async def run_import(importer: Importer, file: IO[bytes]) -> Report:
    """Runs an import in a thread. A caller that is cancelled stops it, and waits until its last batch has ended."""
    work = asyncio.create_task(asyncio.to_thread(importer.run, file))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        importer.stop()
        await asyncio.wait([work])
        raise
