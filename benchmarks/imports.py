"""The embedder's data: CPU time per row of import, commit of vectors, and reads, at several numbers of documents.

Runs the embedder's own store on SQLite in a temporary folder, in this process: no RPC, and random vectors in place of a
model. The figures to compare are CPU seconds per row at the different sizes: a step that is linear has the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from services.chassis.blobs import Blobs, Records
from services.chassis.database import Database
from services.chassis.filters import UNFILTERED
from services.embedder import __file__ as package
from services.embedder.documents import Dataset, NewDataset
from services.embedder.files.formats import FileOptions
from services.embedder.import_records import ImportRecords
from services.embedder.imports import Importer, ImportPlan, Upload
from services.embedder.items import FieldOptions
from services.embedder.outcomes import Outcome
from services.embedder.store import Store
from services.embedder.streams import Selection, Streams
from services.embedder.tables import BLOBS
from services.embedder.vector_store import VectorStore

Record = dict[str, Any]

DIMENSION = 256
BATCH = 512
CALLS = 200
WORDS = (
    "library",
    "parser",
    "client",
    "for",
    "the",
    "of",
    "data",
    "stream",
    "async",
    "driver",
    "json",
    "tool",
    "server",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000], help="numbers of documents")
    parser.add_argument("--folder", type=Path, help="where to keep the data while it runs; a temporary one by default")


def run(options: argparse.Namespace) -> list[Record]:
    """Measures each size."""
    records: list[Record] = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            records += _Measurement(Path(folder), size).run()
    return records


class _Measurement:
    """One number of documents in a database of its own."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._size = size
        database = Database(f"sqlite:///{folder / 'embedder.db'}", Path(package).parent / "migrations")
        database.migrate()
        blobs = Blobs(folder / "blobs", records=Records(database, BLOBS))
        self._database = database
        self._store, self._vectors = Store(database, blobs), VectorStore(database, blobs)
        self._records: list[Record] = []

    def run(self) -> list[Record]:
        """All steps, in the order in which a user takes them."""
        new = NewDataset(id="d", display_name=None, description="", embedding_model="builtin/wordllama-256")
        dataset = self._store.create_dataset(new)
        with (self._folder / "documents.jsonl").open("w+b") as file:
            _write(file, self._size)
            self._time("import", self._size, lambda: self._import(dataset, file))
        self._time("commit of vectors", self._size, lambda: self._embed(dataset))
        self._time("read of vectors", self._size, lambda: asyncio.run(self._read_vectors()))
        self._time("read of documents", self._size, lambda: asyncio.run(self._read_documents()))
        self._time("GetDataset", CALLS, lambda: [self._store.dataset("d") for _ in range(CALLS)])
        self._time("first page of a list", CALLS, lambda: [self._page(-1) for _ in range(CALLS)])
        self._time("page in the middle", CALLS, lambda: [self._page(self._size // 2) for _ in range(CALLS)])
        self._time("last revision's rows", CALLS, lambda: [self._last_changes() for _ in range(CALLS)])
        self._store.delete_dataset("d")
        self._time("deletion", self._size, self._store.sweep_deleted)
        self._database.close()
        return self._records

    def _import(self, dataset: Dataset, file: IO[bytes]) -> None:
        plan = ImportPlan(
            dataset_id=dataset.id,
            file=FileOptions(),
            fields=FieldOptions(),
            max_text_bytes=1 << 20,
            validate_only=False,
            request_id="",
            request=b"",
        )
        importer = Importer(
            store=self._store,
            records=ImportRecords(self._database),
            vectors=self._vectors,
            dataset=dataset,
            plan=plan,
            folder=self._folder,
            max_bytes=1 << 40,
        )
        report = importer.run(Upload(file, None, b""))
        assert report.imported == self._size

    def _time(self, step: str, count: int, work: Callable[[], object]) -> None:
        start = time.process_time()
        work()
        seconds = time.process_time() - start
        self._records.append(
            {
                "benchmark": "imports",
                "subject": "prisma",
                "case": f"{self._size:,} documents",
                "metric": f"{step}",
                "value": 1e6 * seconds / count,
                "unit": "us CPU each",
            }
        )

    def _embed(self, dataset: Dataset) -> None:
        generator = np.random.default_rng(0)
        while pending := self._store.pending(dataset.id, dataset.uid, BATCH):
            vectors = generator.standard_normal((len(pending), DIMENSION), dtype=np.float32)
            shard = self._vectors.write_shard(dataset.uid, vectors)
            outcomes = [
                Outcome(row=row, position=position, truncated=False, failure=None)
                for position, (row, _text) in enumerate(pending)
            ]
            self._store.commit_outcomes(dataset, outcomes, shard=shard)

    async def _read_vectors(self) -> None:
        streams, everything = Streams(self._store, self._vectors), Selection("", 0, (), 0)
        dataset = await streams.begin("d", everything)
        count = 0
        async for page in streams.vectors(dataset, everything):
            count += len(page.rows)
        assert count == self._size

    async def _read_documents(self) -> None:
        streams, everything = Streams(self._store, self._vectors), Selection("", 0, (), 0)
        dataset = await streams.begin("d", everything)
        count = 0
        async for page in streams.documents(dataset, everything):
            count += len(page)
        assert count == self._size

    def _page(self, after_row: int) -> None:
        documents, total, _notices = self._store.list_documents("d", UNFILTERED, after_row=after_row, limit=50)
        assert (len(documents), total) == (50, self._size)

    def _last_changes(self) -> None:
        dataset = self._store.dataset("d")
        rows = self._store.changed_rows(dataset, dataset.revision - 1)
        assert len(self._store.documents_of(dataset, rows.tolist())) == len(rows) > 0


def _write(file: IO[bytes], count: int) -> None:
    for line in _lines(count):
        file.write(line)
    file.flush()
    os.fsync(file.fileno())


def _lines(count: int) -> Iterator[bytes]:
    generator = np.random.default_rng(0)
    for number in range(count):
        text = " ".join(WORDS[index] for index in generator.integers(len(WORDS), size=9))
        document = {"id": f"package-{number}", "text": text, "source": "pypi" if number % 5 else "npm", "n": number}
        yield json.dumps(document).encode() + b"\n"
