"""A table of documents from CSV, Parquet and JSON lines into the embedder's store: rows a second and peak memory.

Beside it, what bounds it: pyarrow reading the same file and doing nothing with it, and Python's SQLite writing the same
texts into a table with an index by id. Each runs in a process of its own, in turn, so that the peaks are its own.
Left out: RPC and HTTP, and DuckDB and polars, which read as fast as pyarrow does.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import resource
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from services.chassis.blobs import Blobs, Records
from services.chassis.database import Database
from services.embedder import __file__ as package
from services.embedder.documents import NewDataset
from services.embedder.files.formats import FileOptions
from services.embedder.import_records import ImportRecords
from services.embedder.imports import Importer, ImportPlan, Upload
from services.embedder.items import FieldOptions
from services.embedder.store import Store
from services.embedder.tables import BLOBS
from services.embedder.vector_store import VectorStore

Record = dict[str, Any]
Work = Callable[[Path, Path], int]
"""Reads a file, with a folder to write to; returns the number of rows."""

_ROW_GROUP = 10_000
_PLAN = ImportPlan(
    dataset_id="d",
    file=FileOptions(),
    fields=FieldOptions(),
    max_text_bytes=1 << 20,
    validate_only=False,
    request_id="",
    request=b"",
)
_WORDS = np.array(["library", "parser", "client", "for", "the", "of", "data", "stream", "async", "driver", "tool"])


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the table")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each subject, whose median counts")


def run(options: argparse.Namespace) -> list[Record]:
    """Measures each subject on each format, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        files = _write(Path(folder), options.rows)
        subjects: list[tuple[str, str, Work, Path]] = [
            *(("prisma", f"import {name}", _import, path) for name, path in files.items()),
            ("pyarrow", "read CSV", _read_csv, files["CSV"]),
            ("pyarrow", "read Parquet", _read_parquet, files["Parquet"]),
            ("sqlite3", "write the rows of the CSV file", _write_sqlite, files["CSV"]),
        ]
        runs = [
            [_measured(work, path, options.rows) for *_names, work, path in subjects] for _ in range(options.repeats)
        ]
    return [
        {
            "benchmark": "files",
            "subject": subject,
            "case": f"{case}, {options.rows:,} rows",
            "metric": metric,
            "value": statistics.median(results[number][place] for results in runs),
            "unit": unit,
        }
        for number, (subject, case, _work, _path) in enumerate(subjects)
        for place, (metric, unit) in enumerate((("speed", "rows/s"), ("cpu", "us CPU a row"), ("peak memory", "MiB")))
    ]


def _measured(work: Work, path: Path, rows: int) -> tuple[float, float, float]:
    """Rows a second, microseconds of CPU a row and MiB, in a process of its own."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_report, args=(work, path, sender))
    process.start()
    count, seconds, cpu, peak = receiver.recv()
    process.join()
    assert count == rows
    return rows / seconds, 1e6 * cpu / rows, peak


def _report(work: Work, path: Path, sender: Connection) -> None:
    with tempfile.TemporaryDirectory() as folder:
        start, cpu_start = time.perf_counter(), time.process_time()
        count = work(path, Path(folder))
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    sender.send((count, seconds, cpu, _peak_mib()))


def _peak_mib() -> float:
    """The peak of this process's memory. Linux has it in /proc: that of getrusage is the parent's too."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def _import(path: Path, folder: Path) -> int:
    database = Database(f"sqlite:///{folder / 'embedder.db'}", Path(package).parent / "migrations")
    database.migrate()
    blobs = Blobs(folder / "blobs", records=Records(database, BLOBS))
    store, vectors = Store(database, blobs), VectorStore(database, blobs)
    new = NewDataset(id="d", display_name=None, description="", embedding_model="builtin/wordllama-256")
    dataset = store.create_dataset(new)
    with path.open("rb") as file:
        importer = Importer(
            store=store,
            records=ImportRecords(database),
            vectors=vectors,
            dataset=dataset,
            plan=_PLAN,
            folder=folder,
            max_bytes=1 << 40,
        )
        report = importer.run(Upload(file, None, b""))
    database.close()
    return report.imported


def _read_csv(path: Path, folder: Path) -> int:
    return sum(batch.num_rows for batch in arrow_csv.open_csv(path))


def _read_parquet(path: Path, folder: Path) -> int:
    return sum(batch.num_rows for batch in pq.ParquetFile(path).iter_batches())


def _write_sqlite(path: Path, folder: Path) -> int:
    connection = sqlite3.connect(folder / "rows.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE rows (id TEXT PRIMARY KEY, text TEXT, source TEXT, n TEXT)")
    with path.open(newline="") as file, connection:
        rows = csv.reader(file)
        next(rows)
        connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", rows)
    (count,) = connection.execute("SELECT count(*) FROM rows").fetchone()
    connection.close()
    return count


def _write(folder: Path, count: int) -> dict[str, Path]:
    """The same table in each format."""
    files = {"CSV": folder / "rows.csv", "Parquet": folder / "rows.parquet", "JSON lines": folder / "rows.jsonl"}
    with files["CSV"].open("w", newline="") as csv_file, files["JSON lines"].open("w") as json_file:
        writer = csv.writer(csv_file)
        writer.writerow(["id", "text", "source", "n"])
        for row in _rows(count):
            writer.writerow(row.values())
            json_file.write(json.dumps(row) + "\n")
    table = arrow_csv.read_csv(files["CSV"])
    pq.write_table(table, files["Parquet"], row_group_size=_ROW_GROUP)
    return files


def _rows(count: int) -> Iterator[dict[str, Any]]:
    generator = np.random.default_rng(0)
    for number in range(count):
        text = " ".join(_WORDS[generator.integers(len(_WORDS), size=9)])
        yield {"id": f"package-{number}", "text": text, "source": "pypi" if number % 5 else "npm", "n": number}
