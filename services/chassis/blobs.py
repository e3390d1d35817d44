"""Immutable blobs: vectors, codes, weights. Local files by default, any object store of obstore by URL.

A blob is written under a temporary name, fsynced and renamed: it exists whole or not at all. Its size and SHA-256 are
recorded in SQL, in the transaction that names it, and checked when a process first uses it. A file that no row names
is an orphan and is deleted after a day. With an object store the folder is a bounded cache of it.
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

from obstore.exceptions import BaseError
from sqlalchemy import BigInteger, Column, Connection, DateTime, MetaData, String, Table, Text, delete, insert, select

from prisma_common.folders import files_below
from services.chassis import logs, metrics
from services.chassis.blob_cache import BlobCache, CachedFile
from services.chassis.database import Database, repeated
from services.chassis.dependency import Dependency
from services.chassis.errors import Code, PrismaError
from services.chassis.files import reporting_full_disk, whole
from services.chassis.moments import utc_now
from services.chassis.object_store import ServiceObjects, StoredObject

ORPHAN_SECONDS = 24 * 3600
CACHE_BYTES = 20 << 30
_CHUNK_BYTES = 1 << 20
_RECORDS_AT_ONCE = 500
_RETRY_SECONDS = 60.0
_FETCH_LOCKS = 64
_MISSING = "is missing"
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

    def __init__(
        self,
        folder: Path,
        url: str | None = None,
        *,
        records: Records | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Blobs in `folder`; with `url`, in that object store, and `folder` is the cache they are mapped from.

        Services share a store: each has its own prefix. Objects that earlier versions wrote without it are still read.
        Without `records` nothing is verified (tools and tests). cache_bytes: what the cache may hold. Raises
        StartRefused.
        """
        self.folder = folder
        self._prefix = f"{records.database.service}/" if records is not None else ""
        self._objects = ServiceObjects(url, self._prefix) if url else None
        self._cache = BlobCache(folder, cache_bytes, self._find_stored)
        self._fetching = [threading.Lock() for _ in range(_FETCH_LOCKS)]
        self._records = records
        self._verified: dict[str, tuple[int, int, int]] = {}
        self._damages: dict[str, BlobDamaged] = {}
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def shared(self) -> bool:
        """Whether the blobs are in an object store, which several hosts can use at once."""
        return self._objects is not None

    @property
    def address(self) -> str:
        """Where the blobs are, for people."""
        return str(self.folder) if self._objects is None else self._objects.address

    @property
    def damages(self) -> list[BlobDamaged]:
        """Damage that this process has come across, for the status."""
        return list(self._damages.values())

    def check(self) -> None:
        """Raises StoreUnavailable where the object store does not answer."""
        if self._objects is not None:
            self._objects.check()

    def put(self, path: str, chunks: Iterable[bytes | memoryview]) -> Blob:
        """Writes a blob. Record the result in the transaction that names it. Raises StorageFull, StoreUnavailable."""
        target = self.folder / path
        size, digest = 0, hashlib.sha256()
        with reporting_full_disk(self.folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole(target) as file:
                for chunk in chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    size += memoryview(chunk).nbytes
                if self._objects is not None:
                    file.flush()
                    self._objects.upload(path, Path(file.name))
        metrics.blob_bytes("written").inc(size)
        self._mark_verified(path)
        self._note_added(size)
        return Blob(path, size, digest.hexdigest())

    def adopt(self, *paths: str) -> list[Blob]:
        """Makes blobs of files that are in the folder already: files, or folders with all that is below.

        They are digested and, with an object store, uploaded. Record the result. Raises StorageFull, FileNotFoundError.
        """
        return [self._adopt_file(file) for path in paths for file in _files(self.folder / path)]

    def share(self, path: str) -> None:
        """Uploads a file of the folder that is no blob yet, for other hosts; nothing without an object store.

        Raises StoreUnavailable, StorageFull.
        """
        if self._objects is not None:
            with reporting_full_disk(self.folder):
                self._objects.upload(path, self.folder / path)

    def below(self, prefix: str) -> list[StoredObject]:
        """All files below a folder: those here, and with an object store those of other hosts, with its times."""
        files = {
            file.relative_to(self.folder).as_posix(): _modified(file) for file in files_below(self.folder / prefix)
        }
        if self._objects is not None:
            files |= {item.path: item.modified for item in self._objects.below(prefix)}
        return [StoredObject(path, modified) for path, modified in sorted(files.items())]

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
        """A file with the blob's bytes, to be mapped; verified at its first use in this process.

        With an object store, a local copy that is missing or damaged is fetched again. Open it within a minute: then
        it may leave the cache, and what was opened or mapped stays readable. Raises BlobDamaged, StoreUnavailable.
        """
        target = self.folder / path
        if self._objects is None:
            metrics.blob_uses("local").inc()
            self._verify(path)
            return target
        with self._fetching[hash(path) % _FETCH_LOCKS]:
            try:
                self._cache.use(target)
                self._verify(path)
                metrics.blob_uses("local").inc()
            except FileNotFoundError:
                self._fetch(path, self._recorded(path))
                metrics.blob_uses("fetched").inc()
        return target

    def _verify(self, path: str) -> None:
        """Compares a file with its record at its first use, and fetches it again where that helps.

        Raises BlobDamaged; FileNotFoundError where it is only missing here.
        """
        target = self.folder / path
        if self._objects is None and not target.is_file():
            raise self._damaged(path, _MISSING)
        if self._verified.get(path) == _identity(target):
            return
        recorded = self._recorded(path)
        if recorded is not None and (problem := _difference(target, recorded)):
            if self._objects is None:
                raise self._damaged(path, problem)
            self._fetch(path, recorded)
        self._mark_verified(path)

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
        if self._objects is not None:
            self._objects.delete(prefix)

    def sweep(self, named: Collection[str], older_than_seconds: float = ORPHAN_SECONDS) -> list[str]:
        """Deletes files and stored objects that are not named and are older than a day; returns their paths.

        named: paths of blobs, or of folders whose whole content is named. Anything else is an orphan, so an
        incomplete answer deletes data: read it in one transaction.
        """
        limit = time.time() - older_than_seconds
        old = {file.relative_to(self.folder).as_posix() for file in files_below(self.folder) if _modified(file) < limit}
        if self._objects is not None and self._prefix:  # without a prefix, objects may be another service's
            old |= {item.path for item in self._objects.below() if item.modified < limit}
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

    def scrub(self, stop: threading.Event | None = None, *, prefix: str = "") -> ScrubReport:
        """Reads every recorded blob, locally and in the object store, and compares it with its record.

        stop: ends the scrub early once it is set. prefix: folder of the blobs that are read, with `/`; all by default.
        """
        checked, damages, repaired = 0, list[BlobDamaged](), list[str]()
        for blob in self._all_recorded(prefix):
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
        """Whether the local copy was repaired from the object store, or the other way round. Raises BlobDamaged.

        The local copy may leave the cache meanwhile.
        """
        target = self.folder / blob.path
        problem = _problem(target, blob)
        if self._objects is None:
            if problem:
                raise self._damaged(blob.path, problem)
            self._mark_sound(blob.path)
            return False
        stored_problem = self._objects.difference(blob.path, size=blob.size, digest=blob.digest)
        if stored_problem:
            try:
                if problem:
                    raise FileNotFoundError(target)
                self._objects.upload(blob.path, target)
            except FileNotFoundError:
                raise self._damaged(blob.path, stored_problem) from None
        elif problem and problem != _MISSING:
            self._fetch(blob.path, blob)
        self._mark_sound(blob.path)
        return stored_problem is not None or problem not in (None, _MISSING)

    def _adopt_file(self, file: Path) -> Blob:
        path = file.relative_to(self.folder).as_posix()
        size, digest = _digest(file)
        if self._objects is not None:
            with reporting_full_disk(self.folder):
                self._objects.upload(path, file)
        metrics.blob_bytes("written").inc(size)
        self._mark_verified(path)
        self._note_added(size)
        return Blob(path, size, digest)

    def _digest_existing(self, path: str) -> Blob | None:
        target = self.folder / path
        if not target.is_file():
            if self._objects is None:
                return None
            try:
                self._fetch(path, None)
            except BlobDamaged:
                return None
        size, digest = _digest(target)
        return Blob(path, size, digest)

    @repeated
    def _recorded(self, path: str) -> Blob | None:
        if self._records is None:
            return None
        table = self._records.table
        with self._records.database.read() as connection:
            row = connection.execute(select(table).where(table.c.path == path)).first()
        return None if row is None else Blob(row.path, row.size, row.digest)

    @repeated
    def _recorded_among(self, paths: Sequence[str]) -> dict[str, Blob]:
        if self._records is None:
            return {}
        table = self._records.table
        with self._records.database.read() as connection:
            rows = connection.execute(select(table).where(table.c.path.in_(paths))).all()
        return {row.path: Blob(row.path, row.size, row.digest) for row in rows}

    @repeated
    def _all_recorded(self, prefix: str) -> list[Blob]:
        records = self._need_records()
        query = select(records.table).order_by(records.table.c.path)
        if prefix:
            query = query.where(records.table.c.path.startswith(prefix, autoescape=True))
        with records.database.read() as connection:
            rows = connection.execute(query).all()
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
        """Copies a blob from the object store into the folder. Raises BlobDamaged, StorageFull, StoreUnavailable."""
        assert self._objects is not None
        target = self.folder / path
        with reporting_full_disk(self.folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole(target) as file:
                try:
                    self._objects.download(path, file)
                except FileNotFoundError:
                    raise self._damaged(path, "is missing in the object store") from None
                file.flush()
                if recorded is not None and (problem := _difference(Path(file.name), recorded)):
                    raise self._damaged(path, f"{problem} in the object store")
        metrics.blob_bytes("fetched").inc(target.stat().st_size)
        self._mark_verified(path)
        self._note_added(target.stat().st_size)

    def wait_for_eviction(self) -> None:
        """Returns once no file is being evicted from the cache."""
        self._cache.wait()

    def _note_added(self, size: int) -> None:
        if self._objects is not None:
            self._cache.added(size)

    def _find_stored(self, files: Sequence[CachedFile]) -> Iterator[CachedFile]:
        """The files of the cache that may leave: they are recorded blobs, and in the object store."""
        for batch in _batches(files):
            records = self._recorded_among([file.path for file in batch])
            for file in batch:
                recorded = records.get(file.path)
                try:
                    if recorded is not None and recorded.size == file.size and self._is_stored(file, recorded):
                        yield file
                except (OSError, BaseError) as error:
                    _log.warning("cached file cannot be evicted now", file=file.path, error=str(error))

    def _is_stored(self, file: CachedFile, recorded: Blob) -> bool:
        """Whether a blob is in the object store.

        One that is missing there is uploaded, as where files were in the folder before there was an object store, and
        may leave the next time.
        """
        assert self._objects is not None
        if self._objects.size(file.path) == recorded.size:
            return True
        target = self.folder / file.path
        if _difference(target, recorded) is None:
            self._objects.upload(file.path, target)
        return False

    def _damaged(self, path: str, problem: str) -> BlobDamaged:
        damage = BlobDamaged(path, problem)
        self._damages[path] = damage
        self._verified.pop(path, None)
        return damage

    def _mark_sound(self, path: str) -> None:
        """Notes that a blob is as recorded, wherever it is."""
        self._damages.pop(path, None)
        with suppress(FileNotFoundError):
            self._mark_verified(path)

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


def _problem(file: Path, recorded: Blob) -> str | None:
    """As `_difference`, also of a file that is missing."""
    try:
        return _difference(file, recorded)
    except FileNotFoundError:
        return _MISSING


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
        await asyncio.to_thread(blobs.check)
        return {}

    return Dependency(name, blobs.address, check, essential=False)


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
                await self._scrub()
                self._last.touch()
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
