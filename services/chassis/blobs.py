"""Immutable blobs: vectors, codes, weights. Local files by default, any object store of obstore by URL.

A blob is written under a temporary name, fsynced and renamed: it exists whole or not at all. Its size and SHA-256 are
recorded in SQL, in the transaction that names it, and checked when a process first uses it. A file that no row names
is an orphan and is deleted after a day.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url
from sqlalchemy import BigInteger, Column, Connection, DateTime, MetaData, String, Table, Text, delete, insert, select

from prisma_common.folders import files_below
from services.chassis import logs, metrics
from services.chassis.database import Database
from services.chassis.dependency import Dependency
from services.chassis.errors import Code, PrismaError
from services.chassis.files import reporting_full_disk, whole
from services.chassis.moments import utc_now

ORPHAN_SECONDS = 24 * 3600
_CHUNK_BYTES = 1 << 20
_RECORDS_AT_ONCE = 500
_RETRY_SECONDS = 60.0
_T = TypeVar("_T")

_log = logs.get(__name__)


class BlobDamaged(PrismaError):
    """A stored file is damaged or missing."""

    code = Code.DATA_LOSS
    reason = "BLOB_DAMAGED"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"the stored file {path} {problem}: restore it from a backup", metadata={"blob": path})
        self.path = path
        self.problem = problem


@dataclass(frozen=True)
class Blob:
    """A blob that was written: what is recorded of it in SQL."""

    path: str
    """Relative to the service's blobs, with `/`."""
    size: int
    """Bytes."""
    digest: str
    """SHA-256, hexadecimal."""


@dataclass(frozen=True)
class ScrubReport:
    """What a scrub has found."""

    checked: int
    """Blobs that were read and compared."""
    damages: Sequence[BlobDamaged]
    """Damaged or missing blobs."""
    repaired: Sequence[str]
    """Paths of local copies that were damaged and replaced from the object store."""


def blobs_table(metadata: MetaData, service: str) -> Table:
    """The table `<service>_blobs`; each service declares it once in its `tables.py`."""
    columns = (
        Column("path", Text, primary_key=True),
        Column("size", BigInteger, nullable=False),
        Column("digest", String(64), nullable=False),
        Column("create_time", DateTime, nullable=False),
    )
    return Table(f"{service}_blobs", metadata, *columns)


@dataclass(frozen=True)
class Records:
    """Where sizes and digests are recorded."""

    database: Database
    table: Table
    """Of `blobs_table`."""


class Blobs:
    """The blobs of one service. Paths are relative, with `/`."""

    def __init__(self, folder: Path, url: str | None = None, *, records: Records | None = None) -> None:
        """Blobs in `folder`; with `url`, in that object store, and `folder` is the cache they are mapped from.

        Services share a store: each has its own prefix. Objects that earlier versions wrote without it are still read.
        Without `records` nothing is verified (tools and tests).
        """
        self.folder = folder
        self._store: ObjectStore | None = from_url(url) if url else None
        self._prefix = f"{records.database.service}/" if records is not None else ""
        self._records = records
        self._verified: dict[str, tuple[int, int, int]] = {}
        self._damages: dict[str, BlobDamaged] = {}
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def shared(self) -> bool:
        """Whether the blobs are in an object store, which several hosts can use at once."""
        return self._store is not None

    @property
    def damages(self) -> list[BlobDamaged]:
        """Damage that this process has come across, for the status."""
        return list(self._damages.values())

    def put(self, path: str, chunks: Iterable[bytes | memoryview]) -> Blob:
        """Writes a blob. Record the result in the transaction that names it. Raises StorageFull."""
        target = self.folder / path
        size, digest = 0, hashlib.sha256()
        with reporting_full_disk(self.folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole(target) as file:
                for chunk in chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    size += memoryview(chunk).nbytes
                if self._store is not None:
                    file.flush()
                    obstore.put(self._store, f"{self._prefix}{path}", Path(file.name))
        metrics.blob_bytes("written").inc(size)
        self._mark_verified(path)
        return Blob(path, size, digest.hexdigest())

    def adopt(self, *paths: str) -> list[Blob]:
        """Makes blobs of files that are in the folder already: files, or folders with all that is below.

        They are digested and, with an object store, uploaded. Record the result. Raises StorageFull, FileNotFoundError.
        """
        return [self._adopt_file(file) for path in paths for file in _files(self.folder / path)]

    def record(self, connection: Connection, blobs: Iterable[Blob]) -> None:
        """Records blobs, in the owner's write transaction that names them. Repeating it changes nothing."""
        table = self._need_records().table
        for batch in _batches(list(blobs)):
            paths = [blob.path for blob in batch]
            connection.execute(delete(table).where(table.c.path.in_(paths)))
            moment = utc_now()
            rows = [
                {"path": blob.path, "size": blob.size, "digest": blob.digest, "create_time": moment} for blob in batch
            ]
            connection.execute(insert(table), rows)

    def local(self, path: str) -> Path:
        """A file with the blob's bytes, to be mapped; verified at its first use in this process. Raises BlobDamaged.

        With an object store, a local copy that is missing or damaged is fetched again.
        """
        target = self.folder / path
        is_local = target.is_file()
        metrics.blob_uses("local" if is_local else "fetched").inc()
        if not is_local:
            self._fetch(path, self._recorded(path))
        elif self._verified.get(path) != _identity(target):
            recorded = self._recorded(path)
            if recorded is not None and (problem := _difference(target, recorded)):
                if self._store is None:
                    raise self._damaged(path, problem)
                self._fetch(path, recorded)
            self._mark_verified(path)
        return target

    def delete(self, prefix: str) -> None:
        """Deletes the blob at `prefix`, or all below it, with their records. What is not there is no error.

        Call it after the transaction that stopped naming them, never inside of one.
        """
        if self._records is not None:
            table = self._records.table
            below = table.c.path.startswith(f"{prefix}/", autoescape=True)
            with self._records.database.write() as connection:
                connection.execute(delete(table).where((table.c.path == prefix) | below))
        target = self.folder / prefix
        if target.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)
        for path in [path for path in {*self._verified, *self._damages} if _is_below(path, prefix)]:
            self._verified.pop(path, None)
            self._damages.pop(path, None)
        if self._store is not None:
            obstore.delete(self._store, sorted(self._keys_at(prefix)))

    def sweep(self, named: Collection[str], older_than_seconds: float = ORPHAN_SECONDS) -> list[str]:
        """Deletes files and stored objects that are not named and are older than a day; returns their paths.

        named: paths of blobs, or of folders whose whole content is named. Anything else is an orphan, so an
        incomplete answer deletes data: read it in one transaction.
        """
        limit = time.time() - older_than_seconds
        old = {file.relative_to(self.folder).as_posix() for file in files_below(self.folder) if _modified(file) < limit}
        if self._store is not None and self._prefix:  # without a prefix, objects may be another service's
            old |= {path for path, modified in self._stored() if modified < limit}
        orphans = sorted(path for path in old if not _is_named(path, named))
        for path in orphans:
            self.delete(path)
        self._forget_records(named, older_than_seconds)
        return orphans

    def adopt_unrecorded(self, named: Iterable[str]) -> int:
        """Records blobs that were written before digests were recorded, as they are now; returns how many.

        Call it once at start. What is missing or damaged already cannot be known; what is missing is left out.
        """
        records = self._need_records()
        with records.database.read() as connection:
            recorded = set(connection.execute(select(records.table.c.path)).scalars())
        missing = [path for path in named if path not in recorded]
        for batch in _batches(missing):
            blobs = [blob for path in batch if (blob := self._digest_existing(path)) is not None]
            with records.database.write() as connection:
                self.record(connection, blobs)
        return len(missing)

    def scrub(self, stop: threading.Event | None = None) -> ScrubReport:
        """Reads every recorded blob, locally and in the object store, and compares it with its record.

        stop: ends the scrub early once it is set.
        """
        checked, damages, repaired = 0, list[BlobDamaged](), list[str]()
        for blob in self._all_recorded():
            if stop is not None and stop.is_set():
                break
            checked += 1
            try:
                if self._scrub_one(blob):
                    repaired.append(blob.path)
            except BlobDamaged as damage:
                if self._recorded(blob.path) is not None:  # else it was deleted meanwhile
                    damages.append(damage)
        return ScrubReport(checked, damages, repaired)

    def _scrub_one(self, blob: Blob) -> bool:
        """Whether a local copy was repaired. Raises BlobDamaged."""
        target = self.folder / blob.path
        if self._store is not None and (problem := self._stored_difference(blob)):
            raise self._damaged(blob.path, problem)
        if self._store is not None and not target.is_file():
            return False
        problem = _difference(target, blob) if target.is_file() else "is missing"
        if not problem:
            self._mark_verified(blob.path)
            return False
        if self._store is None:
            raise self._damaged(blob.path, problem)
        self._fetch(blob.path, blob)
        return True

    def _adopt_file(self, file: Path) -> Blob:
        path = file.relative_to(self.folder).as_posix()
        size, digest = _digest(file)
        if self._store is not None:
            with reporting_full_disk(self.folder):
                obstore.put(self._store, f"{self._prefix}{path}", file)
        metrics.blob_bytes("written").inc(size)
        self._mark_verified(path)
        return Blob(path, size, digest)

    def _digest_existing(self, path: str) -> Blob | None:
        target = self.folder / path
        if not target.is_file():
            if self._store is None:
                return None
            try:
                self._fetch(path, None)
            except BlobDamaged:
                return None
        size, digest = _digest(target)
        return Blob(path, size, digest)

    def _recorded(self, path: str) -> Blob | None:
        if self._records is None:
            return None
        table = self._records.table
        with self._records.database.read() as connection:
            row = connection.execute(select(table).where(table.c.path == path)).first()
        return None if row is None else Blob(row.path, row.size, row.digest)

    def _all_recorded(self) -> list[Blob]:
        records = self._need_records()
        with records.database.read() as connection:
            rows = connection.execute(select(records.table).order_by(records.table.c.path)).all()
        return [Blob(row.path, row.size, row.digest) for row in rows]

    def _forget_records(self, named: Collection[str], older_than_seconds: float) -> None:
        """Deletes old records that nothing names, as a crash in `delete` leaves."""
        if self._records is None:
            return
        table = self._records.table
        old = table.c.create_time < utc_now() - timedelta(seconds=older_than_seconds)
        with self._records.database.write() as connection:
            paths = connection.execute(select(table.c.path).where(old)).scalars().all()
            unnamed = [path for path in paths if not _is_named(path, named)]
            for batch in _batches(unnamed):
                connection.execute(delete(table).where(table.c.path.in_(batch)))

    def _fetch(self, path: str, recorded: Blob | None) -> None:
        """Copies a blob from the object store into the folder. Raises BlobDamaged, StorageFull."""
        if self._store is None:
            raise self._damaged(path, "is missing")
        target = self.folder / path
        try:
            chunks = self._stored_chunks(path)
        except FileNotFoundError:
            raise self._damaged(path, "is missing in the object store") from None
        with reporting_full_disk(self.folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole(target) as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                if recorded is not None and (problem := _difference(Path(file.name), recorded)):
                    raise self._damaged(path, f"{problem} in the object store")
        metrics.blob_bytes("fetched").inc(target.stat().st_size)
        self._mark_verified(path)

    def _stored(self) -> Iterator[tuple[str, float]]:
        """Path and time of modification of this service's objects in the store."""
        assert self._store is not None
        for batch in obstore.list(self._store, prefix=self._prefix or None):
            for item in batch:
                yield item["path"].removeprefix(self._prefix), item["last_modified"].timestamp()

    def _stored_chunks(self, path: str) -> Iterable[bytes | memoryview]:
        """The content of an object. Raises FileNotFoundError."""
        assert self._store is not None
        try:
            return obstore.get(self._store, f"{self._prefix}{path}").stream()
        except FileNotFoundError:
            return obstore.get(self._store, path).stream()

    def _keys_at(self, path: str) -> Iterator[str]:
        """The keys of an object and of all below it, in the store."""
        assert self._store is not None
        for key in {f"{self._prefix}{path}", path}:
            for batch in obstore.list(self._store, prefix=key):  # lists what is below, not the object itself
                yield from (item["path"] for item in batch)
            with suppress(FileNotFoundError):
                yield obstore.head(self._store, key)["path"]

    def _stored_difference(self, blob: Blob) -> str | None:
        assert self._store is not None
        size, digest = 0, hashlib.sha256()
        try:
            for chunk in self._stored_chunks(blob.path):
                size += len(chunk)
                digest.update(chunk)
        except FileNotFoundError:
            return "is missing in the object store"
        if (size, digest.hexdigest()) != (blob.size, blob.digest):
            return "is damaged in the object store"
        return None

    def _damaged(self, path: str, problem: str) -> BlobDamaged:
        damage = BlobDamaged(path, problem)
        self._damages[path] = damage
        self._verified.pop(path, None)
        return damage

    def _mark_verified(self, path: str) -> None:
        self._verified[path] = _identity(self.folder / path)
        self._damages.pop(path, None)

    def _need_records(self) -> Records:
        assert self._records is not None, "Blobs(…, records=…) is needed for this"
        return self._records


def _identity(file: Path) -> tuple[int, int, int]:
    """Changes when a file is replaced or written to."""
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _digest(file: Path) -> tuple[int, str]:
    """Size and SHA-256."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return os.fstat(opened.fileno()).st_size, digest


def _difference(file: Path, recorded: Blob) -> str | None:
    """How a file differs from its record; None if it does not."""
    size = file.stat().st_size
    if size != recorded.size:
        return f"is damaged: it has {size:,} bytes instead of {recorded.size:,}"
    return None if _digest(file)[1] == recorded.digest else "is damaged: its content has changed"


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    return [path]


def _modified(file: Path) -> float:
    """Time of modification; now for a file that is gone meanwhile."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def _is_named(path: str, named: Collection[str]) -> bool:
    return path in named or any(parent.as_posix() in named for parent in PurePosixPath(path).parents)


def _batches(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _RECORDS_AT_ONCE):
        yield items[start : start + _RECORDS_AT_ONCE]


def blobs_dependency(blobs: Blobs, name: str, advice: str) -> Dependency:
    """A service's stored files as a dependency that its status shows: degraded once damage was found.

    name: what the files hold. advice: what repairs them.
    """

    async def check() -> Mapping[str, str]:
        if damages := blobs.damages:
            paths = ", ".join(damage.path for damage in damages[:5])
            raise BlobDamaged(paths, f"is damaged ({len(damages):,} files); {advice}")
        return {}

    return Dependency(name, str(blobs.folder), check, essential=False)


class Scrubber:
    """Reads all blobs of a service regularly, so that damage is found before a backup of it replaces good ones.

    When it did so last is stored beside the blobs: restarts neither repeat a scrub nor put it off for ever.
    """

    def __init__(self, blobs: Blobs, *, every_seconds: float) -> None:
        self._blobs = blobs
        self._every_seconds = every_seconds
        self._last = blobs.folder.parent / "last-scrub"

    async def run(self) -> None:
        """Scrubs until cancelled; damage is logged, and shown by the status."""
        while True:
            try:
                await asyncio.sleep(self._seconds_left())
                self._last.touch()
                await self._scrub()
            except (OSError, PrismaError, BaseError) as error:
                _log.warning("stored files cannot be checked; retried later", error=str(error))
                await asyncio.sleep(min(self._every_seconds, _RETRY_SECONDS))

    def _seconds_left(self) -> float:
        """Until the next scrub; the first is due after a whole interval."""
        if not self._last.exists():
            self._last.touch()
        return max(0.0, self._last.stat().st_mtime + self._every_seconds - time.time())

    async def _scrub(self) -> None:
        stop = threading.Event()
        try:
            report = await asyncio.to_thread(self._blobs.scrub, stop)
        finally:
            stop.set()
        for damage in report.damages:
            _log.error("stored file is damaged", blob=damage.path, problem=damage.problem)
        _log.info("stored files checked", count=report.checked, damaged=len(report.damages))
