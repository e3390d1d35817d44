"""The data plane of imports: receives a file, and adds its documents to a dataset."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TypeAlias, TypeVar

import numpy as np

from services.chassis import names
from services.chassis.errors import Cancelled, Code, InvalidArgument, PrismaError, StorageFull
from services.chassis.files import is_full_disk
from services.chassis.idempotency import Call
from services.chassis.metadata_schema import Types
from services.chassis.metadata_terms import Type
from services.chassis.moments import utc_now
from services.chassis.paging import Page
from services.embedder.documents import Dataset, Failure, Fate, NewDocument, OnDuplicate
from services.embedder.errors import FileTooLarge
from services.embedder.files.documents import located, read_documents
from services.embedder.files.fields import Kind, find_fields
from services.embedder.files.formats import FileOptions, Format, Limits
from services.embedder.files.opening import open_file
from services.embedder.import_records import ImportRecords
from services.embedder.items import FieldOptions, Reason, Rejection
from services.embedder.metadata import MAX_BYTES, MAX_PASSAGE_BYTES, is_shortened, passage_problem
from services.embedder.passages import Splitter
from services.embedder.preview_files import PreviewFiles
from services.embedder.providers import EmbeddingModels
from services.embedder.reports import ImportProgress, ImportState, Report, StoredImport
from services.embedder.splitting import make_splitter
from services.embedder.store import BATCH_ROWS, Store
from services.embedder.vector_files import find_vectors
from services.embedder.vector_store import Shard, VectorStore

BATCH = 500
"""Documents of one transaction."""
REJECTED_BATCH = 2000
"""Rejections after which a smaller batch is committed, so that they are stored."""
BATCH_VECTOR_BYTES = 8 << 20
"""Bytes of given vectors from which on a transaction has fewer."""
PREVIEWED = 20
"""Items of a preview."""
_FREE_BYTES = 1 << 30
"""Of the disk, below which files of previews go when another file comes."""
_SHORTENED = (
    f"of documents with more than {MAX_PASSAGE_BYTES:,} bytes of metadata, the largest fields are stored with the "
    "document alone: hits, which are passages, do not return them; filters compare all"
)
_NO_IDS = "vectors alone have no ids of their own, so none can be skipped or replaced: send documents with ids"
Locate: TypeAlias = Callable[[Rejection], Rejection]
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class ImportPlan:
    """What an import is to do.

    file_name: for its report; empty if nobody named it. max_text_bytes: of one document. metadata_types: of fields that
    a person chose them for. request: the request's bytes without the file, by which a repeated request id is
    recognised.
    """

    dataset_id: str
    file: FileOptions
    fields: FieldOptions
    max_text_bytes: int
    validate_only: bool
    request_id: str
    request: bytes
    file_name: str = ""
    on_duplicate: OnDuplicate = OnDuplicate.REJECT
    metadata_types: Types = field(default_factory=dict[str, Type])

    def limits(self, file_bytes: int) -> Limits:
        """Bounds of what is read. file_bytes: of a file after it is unpacked."""
        return Limits(item_bytes=self.max_text_bytes * 2 + MAX_BYTES, file_bytes=file_bytes)


@dataclass(frozen=True)
class Preview:
    """What an import would make of a file.

    report: the layout, and what is rejected among the first items. columns: the fields with the kinds of their values.
    documents: the first ones. file_token: by which the file can be previewed again; None where the server has it not.
    """

    report: Report
    columns: Mapping[str, Kind]
    documents: Sequence[NewDocument]
    file_token: str | None = None


@dataclass(frozen=True)
class FileReuse:
    """How previews share a file.

    token: of an earlier preview of the same file, in place of chunks. keep: whether the file stays for another preview.
    """

    token: str | None = None
    keep: bool = False


@dataclass(frozen=True)
class Chunk:
    """A piece of the file of documents, or of the file of vectors that comes with it."""

    data: bytes
    is_of_vectors: bool = False


@dataclass(frozen=True)
class Upload:
    """The files of an import. vectors: None where none came, or the vectors alone, which are the documents then."""

    documents: IO[bytes]
    vectors: IO[bytes] | None
    digest: bytes


class Imports:
    """Imports files. folder: where a file is kept until it is read; max_bytes: of a file."""

    def __init__(
        self,
        *,
        store: Store,
        records: ImportRecords,
        vectors: VectorStore,
        models: EmbeddingModels,
        folder: Path,
        max_bytes: int,
    ) -> None:
        self._store = store
        self._records = records
        self._vectors = vectors
        self._models = models
        self._folder = folder
        self._max_bytes = max_bytes
        self._preview_files = PreviewFiles(max_bytes)

    async def run(
        self, plan: ImportPlan, chunks: AsyncIterator[Chunk], answer: Callable[[Report, Dataset, str | None], bytes]
    ) -> tuple[bytes, Dataset]:
        """Receives and imports a file; returns its answer, or the one that the same request got, and the dataset.

        answer: of a report, the dataset after it, and the uid under which the report is stored.
        Raises DatasetNotFound, GivenVectors, FileTooLarge, InvalidFile, RequestIdReused, StorageFull, DimensionChanged.
        """
        dataset = await asyncio.to_thread(self._store.dataset, plan.dataset_id)
        create_time = utc_now()

        def abandon(file_bytes: int, error: BaseException) -> None:
            if not plan.validate_only:
                self._records.end(_abandoned(plan, dataset, create_time, file_bytes=file_bytes, error=error))

        async with self._received(chunks, abandon) as upload:
            dataset = await asyncio.to_thread(self._store.dataset, plan.dataset_id, dataset.uid)
            call = None
            if not plan.validate_only:
                call = Call.of_bytes(plan.request_id, "ImportDocuments", plan.request + upload.digest)
            stored = await asyncio.to_thread(self._store.import_answer, call)
            if stored is not None:
                return stored, dataset
            importer = Importer(
                store=self._store,
                records=self._records,
                vectors=self._vectors,
                dataset=dataset,
                plan=plan,
                splitter=await self._splitter(dataset),
                folder=self._folder,
                max_bytes=self._max_bytes,
            )
            report = await run_import(importer, upload)
        dataset = await asyncio.to_thread(self._store.dataset, plan.dataset_id)
        message = answer(report, dataset, importer.uid)
        await asyncio.to_thread(self._store.store_import_answer, call, dataset.uid, message)
        return message, dataset

    async def _splitter(self, dataset: Dataset) -> Splitter | None:
        """How the dataset's texts are split; None where they stay whole. Raises ProviderUnavailable."""
        if dataset.passages is None:
            return None
        return await make_splitter(self._models, dataset.embedding_model, dataset.passages)

    async def list(self, dataset_id: str, page: Page) -> tuple[Sequence[StoredImport], str]:
        """A page of a dataset's imports, the newest first, and the token of the next one; empty on the last.

        Raises DatasetNotFound.
        """
        imports = await asyncio.to_thread(self._records.list, dataset_id, page.after, page.size + 1)
        if len(imports) <= page.size:
            return imports, ""
        last = imports[page.size - 1]
        return imports[: page.size], page.next_token([last.create_time.isoformat(), last.uid])

    async def get(self, dataset_id: str, uid: str) -> StoredImport:
        """What an import did. Raises DatasetNotFound, ImportNotFound."""
        return await asyncio.to_thread(self._records.get, dataset_id, uid)

    async def rejections(self, dataset_id: str, uid: str) -> AsyncIterator[Sequence[Rejection]]:
        """The rejections of an import in the order of its file. Raises DatasetNotFound, ImportNotFound."""
        parts = self._records.rejections(dataset_id, uid)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            yield part

    async def preview(
        self, plan: ImportPlan, chunks: AsyncIterator[Chunk], *, is_partial: bool, reuse: FileReuse
    ) -> Preview:
        """What an import would make of a file.

        is_partial: whether the file is the beginning of a longer one.
        Raises FileTooLarge, InvalidFile, InvalidArgument, StorageFull.
        """
        if reuse.token is not None:
            async with self._preview_files.use(reuse.token) as file:
                return replace(await self._preview_of(plan, file, is_partial=False), file_token=reuse.token)
        async with self._received(chunks) as upload:
            preview = await self._preview_of(plan, upload.documents, is_partial=is_partial)
            if not reuse.keep or is_partial:
                return preview
            return replace(preview, file_token=self._preview_files.add(upload.documents))

    async def _preview_of(self, plan: ImportPlan, file: IO[bytes], *, is_partial: bool) -> Preview:
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

    @asynccontextmanager
    async def _received(
        self, chunks: AsyncIterator[Chunk], abandon: Callable[[int, BaseException], None] | None = None
    ) -> AsyncGenerator[Upload]:
        """The files, as long as they are needed; they have no names, so a crash leaves nothing. Raises FileTooLarge.

        abandon: is called where they do not arrive whole, with the bytes that did and why.
        """
        if await asyncio.to_thread(lambda: shutil.disk_usage(self._folder).free) < _FREE_BYTES:
            self._preview_files.clear()
        with tempfile.TemporaryFile(dir=self._folder) as documents, tempfile.TemporaryFile(dir=self._folder) as vectors:
            files, sizes, digests = (documents, vectors), [0, 0], (hashlib.sha256(), hashlib.sha256())
            try:
                async for chunk in chunks:
                    number = int(chunk.is_of_vectors)
                    sizes[number] += len(chunk.data)
                    if sizes[number] > self._max_bytes:
                        raise FileTooLarge(
                            f"the file has more than {self._max_bytes:,} bytes; split it into several",
                            metadata={"limit": str(self._max_bytes)},
                        )
                    digests[number].update(chunk.data)
                    await asyncio.to_thread(files[number].write, chunk.data)
                await asyncio.to_thread(lambda: [file.flush() for file in files])
            except BaseException as error:
                if is_full_disk(error):
                    self._preview_files.clear()
                if abandon is not None:
                    await asyncio.to_thread(abandon, sum(sizes), error)
                raise
            digest = b"".join(digest.digest() for digest, size in zip(digests, sizes, strict=True) if size)
            if sizes[1] and not sizes[0]:
                yield Upload(vectors, None, digest)
            else:
                yield Upload(documents, vectors if sizes[1] else None, digest)


class Importer:
    """One import: reads items, commits documents in batches, reports the items that are rejected.

    uid: under which its report is stored; None where nothing is imported.
    splitter: of a dataset with passages; None for another.
    folder: where temporary files are made. max_bytes: of a file after it is unpacked.
    """

    def __init__(
        self,
        *,
        store: Store,
        records: ImportRecords,
        vectors: VectorStore,
        dataset: Dataset,
        plan: ImportPlan,
        splitter: Splitter | None = None,
        folder: Path,
        max_bytes: int,
    ) -> None:
        self.uid = None if plan.validate_only else names.new_uid()
        self._store = store
        self._records = records
        self._vectors = vectors
        self._dataset = dataset
        self._plan = plan
        self._splitter = splitter
        self._folder = folder
        self._limits = plan.limits(max_bytes)
        self._stopped = threading.Event()
        self._create_time = utc_now()
        self._file_bytes = 0
        self._report: Report | None = None
        self._unstored: list[Rejection] = []
        self._keys_are_rows = False

    def stop(self) -> None:
        """Ends the import before its next item, or while the file is unpacked and checked; what is committed stays."""
        self._stopped.set()

    def run(self, upload: Upload) -> Report:
        """Imports the file; returns the report so far if it is stopped. However it ends, its report is stored.

        Raises InvalidFile, InvalidArgument, GivenVectors and FileTooLarge before anything is imported, DatasetNotFound
        if the dataset is deleted meanwhile, DimensionChanged if it got vectors of another length, GivenVectors if it
        got another embedding model.
        """
        self._file_bytes = upload.documents.seek(0, os.SEEK_END)
        upload.documents.seek(0)
        try:
            return self._import(upload)
        except Cancelled:
            self._store_end(ImportState.CANCELLED, None)
            raise
        except Exception as error:
            self._store_end(ImportState.FAILED, _failure(error))
            raise

    def _import(self, upload: Upload) -> Report:
        reader = open_file(upload.documents, self._plan.file, self._limits, self._folder, stopped=self._stopped)
        guess = find_fields(reader, self._plan.fields, needs_texts=not self._dataset.has_given_vectors)
        report = self._report = Report.of(reader.layout, guess)
        import_vectors = find_vectors(
            self._dataset, reader, guess.fields, upload.vectors, named_field=self._plan.fields.vector_field
        )
        self._keys_are_rows = reader.layout.format is Format.NPY
        if self._keys_are_rows and self._plan.on_duplicate is not OnDuplicate.REJECT:
            raise InvalidArgument.field("config.on_duplicate", _NO_IDS)
        report.fields = replace(guess.fields, vector_field=import_vectors.field)
        report.notes = [*report.notes, *import_vectors.notes]
        if self._plan.metadata_types and not self._plan.validate_only:
            self._store.choose_types(self._dataset.id, self._dataset.uid, self._plan.metadata_types)
        items = map(
            self._split,
            read_documents(
                reader,
                guess.fields,
                self._plan.max_text_bytes,
                vectors=import_vectors.source,
            ),
        )
        locate = partial(located, reader=reader)
        batch: list[tuple[int, NewDocument]] = []
        batch_bytes = passage_count = 0
        for item in items:
            if self._stopped.is_set():
                self._store_end(ImportState.CANCELLED, None)
                return report
            if isinstance(item, Rejection):
                report.reject(item)
                self._unstored.append(item)
            else:
                place, document = item
                batch.append((place, document))
                batch_bytes += 0 if document.vector is None else document.vector.nbytes
                passage_count += len(document.spans)
            is_full = len(batch) == BATCH or batch_bytes >= BATCH_VECTOR_BYTES or passage_count >= BATCH_ROWS
            if is_full or len(self._unstored) == REJECTED_BATCH:
                report = self._commit(batch, report, locate, ImportState.RUNNING)
                batch, batch_bytes, passage_count = [], 0, 0
        if import_vectors.checks.is_rounded:
            report.notes = [*report.notes, "The vectors are rounded from float64 to float32."]
        report = self._commit(batch, report, locate, ImportState.SUCCEEDED)
        report.rejections.sort(key=lambda rejection: rejection.item)
        return report

    def _split(self, item: Rejection | tuple[int, NewDocument]) -> Rejection | tuple[int, NewDocument]:
        """The document with its passages, in a dataset that has them; rejected where these would cost too much."""
        if self._splitter is None or isinstance(item, Rejection):
            return item
        place, document = item
        spans = self._splitter.spans(document.text)
        problem = passage_problem(document.metadata, len(spans))
        if problem is not None:
            return Rejection(item=place, key=document.key, reason=Reason.INVALID_METADATA, message=problem)
        return place, replace(document, spans=spans)

    def _commit(
        self, batch: list[tuple[int, NewDocument]], report: Report, locate: Locate, state: ImportState
    ) -> Report:
        """Commits documents together with the report that has them, which is returned.

        locate: says in a rejection where its item is.
        """
        documents = [document for _place, document in batch]
        after = report.copy()

        def progress(fates: Mapping[str, Fate]) -> ImportProgress:
            nonlocal after
            after = report.copy()  # the transaction may be repeated
            rejections = [*self._unstored, *_report_batch(after, batch, fates, locate)]
            return self._progress(state, after, rejections)

        if self.uid is None:
            keyed = [] if self._keys_are_rows else documents
            fates = self._store.fates(self._dataset.uid, keyed, self._plan.on_duplicate)
            _report_batch(after, batch, fates, locate)
        else:
            record = self._records.recorder(progress)
            self._store.add_documents(
                self._dataset.id,
                self._dataset.uid,
                documents,
                record,
                on_duplicate=self._plan.on_duplicate,
                shard=self._shard(documents),
                keys_are_rows=self._keys_are_rows,
            )
        self._report, self._unstored = after, []
        return after

    def _shard(self, documents: Sequence[NewDocument]) -> Shard | None:
        """The given vectors of documents, written; None where a model makes them."""
        vectors = [document.vector for document in documents if document.vector is not None]
        return self._vectors.write_shard(self._dataset.uid, np.stack(vectors)) if vectors else None

    def _progress(
        self, state: ImportState, report: Report | None, rejections: Sequence[Rejection], failure: Failure | None = None
    ) -> ImportProgress:
        return ImportProgress(
            dataset_uid=self._dataset.uid,
            uid=self.uid or "",
            create_time=self._create_time,
            file_name=self._plan.file_name,
            file_bytes=self._file_bytes,
            on_duplicate=self._plan.on_duplicate,
            state=state,
            report=report,
            rejections=sorted(rejections, key=lambda rejection: rejection.item),
            failure=failure,
        )

    def _store_end(self, state: ImportState, failure: Failure | None) -> None:
        """Stores the report of an import that commits nothing any more."""
        if self.uid is not None:
            self._records.end(self._progress(state, self._report, self._unstored, failure))


def _report_batch(
    report: Report, batch: Sequence[tuple[int, NewDocument]], fates: Mapping[str, Fate], locate: Locate
) -> list[Rejection]:
    """Adds a batch to a report; returns the documents that are rejected as the dataset has their ids."""
    rejections: list[Rejection] = []
    for place, document in batch:
        fate = fates.get(document.key)
        if fate in (None, Fate.UPDATED) and document.spans:
            report.passages += len(document.spans)
            if is_shortened(document.metadata):
                report.note(_SHORTENED)
        if fate is None:
            report.imported += 1
        elif fate == Fate.UPDATED:
            report.updated += 1
        elif fate == Fate.SKIPPED:
            report.skipped += 1
        else:
            message = "a document of the dataset has the same id"
            rejections.append(locate(Rejection(place, document.key[:200], Reason.DUPLICATE_IN_DATASET, message)))
            report.reject(rejections[-1])
    return rejections


def _abandoned(
    plan: ImportPlan, dataset: Dataset, create_time: datetime, *, file_bytes: int, error: BaseException
) -> ImportProgress:
    """The report of an import whose file did not arrive whole. create_time: when it began to."""
    message = (
        f"the file did not arrive whole: after {file_bytes:,} bytes the caller went away, its time was over, or the "
        "server stopped; this call imported nothing"
    )
    is_cancelled = isinstance(error, asyncio.CancelledError)
    return ImportProgress(
        dataset_uid=dataset.uid,
        uid=names.new_uid(),
        create_time=create_time,
        file_name=plan.file_name,
        file_bytes=file_bytes,
        on_duplicate=plan.on_duplicate,
        state=ImportState.CANCELLED if is_cancelled else ImportState.FAILED,
        report=None,
        failure=_failure(Cancelled(message) if is_cancelled else error),
    )


def _failure(error: BaseException) -> Failure:
    """Why an import failed, as its report says it."""
    if isinstance(error, PrismaError):
        return Failure(code=error.code, reason=error.reason, message=error.message)
    if is_full_disk(error):
        message = "no space left where this service stores its data: free some, then import the file again"
        return Failure(code=StorageFull.code, reason=StorageFull.reason, message=message)
    message = f"an error that was not foreseen ({type(error).__name__}); the log has the details"
    return Failure(code=Code.INTERNAL, reason="INTERNAL", message=message)


async def run_import(importer: Importer, upload: Upload) -> Report:
    """Runs an import in a thread. A caller that is cancelled stops it, and waits until its last batch has ended."""
    return await _stoppable(lambda: importer.run(upload), importer.stop)


async def _stoppable(function: Callable[[], _Result], stop: Callable[[], None]) -> _Result:
    """Runs a function in a thread. A caller that is cancelled stops it, and waits until it has ended."""
    work = asyncio.create_task(asyncio.to_thread(function))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop()
        await asyncio.gather(work, return_exceptions=True)
        raise
