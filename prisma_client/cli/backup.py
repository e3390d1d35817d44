"""`prisma backup`, `prisma restore`, `prisma doctor --scrub`: copies of the stack's data folder, verified by digest.

A backup holds the database and the stored files of each service. It is consistent although the stack runs: the stored
files never change, a database is copied as of one moment, and services that derive data are copied before those that
they derive it from, so every reference leads to something that the backup holds. The search index and the queue of jobs
are not part of it: the index is rebuilt, and a job that was running is started again by a person.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import typer

from prisma_client.cli import output
from prisma_common.folders import files_below

SERVICES = ("interpreter", "trainer", "embedder")
"""Services with data of their own, in the order of the backup: those that derive data first."""
MANIFEST = "manifest.json"
FORMAT = 1
"""The version of the backup's layout."""
CACHES = {"trainer": "vectors"}
"""Folders among a service's stored files that it fills again by itself."""
_CHUNK_BYTES = 1 << 20
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")
_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class BackupError(Exception):
    """A backup cannot be written or restored; the message says why and what to do."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a backup."""

    path: str
    """Relative to the backup, with `/`."""
    size: int
    """Bytes."""
    digest: str
    """SHA-256, hexadecimal."""


@dataclass(frozen=True)
class Manifest:
    """What a backup holds. It is written last: a folder without it is no complete backup."""

    format: int
    version: str
    """Of PRISMA."""
    create_time: str
    schemas: Mapping[str, str]
    """The migration that each service's database is at."""
    files: Sequence[StoredFile]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Damage:
    """A stored file that does not agree with its record."""

    service: str
    path: str
    """Relative to the service's stored files, with `/`."""
    problem: str


def create(data_dir: Path, target: Path) -> Manifest:
    """Writes a backup of the data folder to a new folder. Raises BackupError, and then leaves nothing."""
    _refuse_other_stores()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(
            f"{target} exists and is not an empty folder: choose another one, backups are not overwritten"
        )
    services = [service for service in SERVICES if _database(data_dir, service).exists()]
    if not services:
        raise BackupError(f"{data_dir} holds no data of PRISMA: set PRISMA_DATA_DIR to the stack's data folder")
    with _writing(target):
        files: list[StoredFile] = []
        schemas: dict[str, str] = {}
        for service in services:
            files += _copy_service(data_dir, target, service)
            schemas[service] = _schema(target / service / f"{service}.db", service)
        manifest = Manifest(
            format=FORMAT,
            version=importlib.metadata.version("prisma-suite"),
            create_time=datetime.now(UTC).isoformat(timespec="seconds"),
            schemas=schemas,
            files=files,
        )
        _write_manifest(target, manifest)
    return manifest


def restore(source: Path, data_dir: Path) -> Manifest:
    """Copies a backup to an empty data folder, and verifies every file. Raises BackupError, and then leaves nothing."""
    _refuse_other_stores()
    manifest = read_manifest(source)
    _refuse_occupied(data_dir)
    incoming = data_dir / f".restore-{uuid.uuid4().hex}"
    with _writing(incoming):
        for file in manifest.files:
            copied = _copy(source / file.path, incoming / file.path, path=file.path)
            if copied != file:
                raise BackupError(_damage(file.path, "is damaged"))
        for service in manifest.schemas:
            shutil.rmtree(data_dir / service, ignore_errors=True)  # it holds no data, as was checked above
            (incoming / service).rename(data_dir / service)
            (data_dir / service).chmod(0o700)
    incoming.rmdir()
    return manifest


def verify(source: Path) -> Manifest:
    """Reads every file of a backup and compares it with the manifest. Raises BackupError for the first difference."""
    manifest = read_manifest(source)
    for file in manifest.files:
        path = source / file.path
        if not path.is_file():
            raise BackupError(_damage(file.path, "is missing"))
        if StoredFile(file.path, *_size_and_digest(path)) != file:
            raise BackupError(_damage(file.path, "is damaged"))
    return manifest


def read_manifest(source: Path) -> Manifest:
    """A backup's manifest. Raises BackupError."""
    try:
        fields = json.loads((source / MANIFEST).read_bytes())
        if fields["format"] != FORMAT:
            raise BackupError(f"{source} was written by PRISMA {fields['version']}: restore it with that version")
        fields["files"] = [StoredFile(**file) for file in fields["files"]]
        manifest = Manifest(**fields)
    except FileNotFoundError:
        raise BackupError(f"{source} is no complete backup: it has no {MANIFEST}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BackupError(f"{source / MANIFEST} is damaged ({type(error).__name__}): use another backup") from None
    for file in manifest.files:
        if Path(file.path).is_absolute() or ".." in Path(file.path).parts:
            raise BackupError(f"{source / MANIFEST} names a file outside of the backup: {file.path}")
    return manifest


def scrub(data_dir: Path) -> tuple[int, list[Damage]]:
    """Compares every stored file with its recorded size and digest; returns how many, and the damage.

    Works while the stack runs: a file whose record disappears meanwhile was deleted.
    """
    count, damages = 0, list[Damage]()
    for service in SERVICES:
        database = _database(data_dir, service)
        differences: list[Damage] = []
        for path, size, digest in _recorded(database, service):
            count += 1
            file = data_dir / service / "blobs" / path
            try:
                problem = None if _size_and_digest(file) == (size, digest) else "is damaged"
            except FileNotFoundError:
                problem = "is missing"
            if problem:
                differences.append(Damage(service, path, problem))
        recorded = {path for path, _size, _digest in _recorded(database, service)}
        damages += [damage for damage in differences if damage.path in recorded]
    return count, damages


# Copying a service


def _copy_service(data_dir: Path, target: Path, service: str) -> list[StoredFile]:
    """Copies a service's database and its stored files, all as of one moment."""
    pins = data_dir / f".backup-{uuid.uuid4().hex}"
    database = f"{service}/{service}.db"
    try:
        with _unchanging(
            _database(data_dir, service), pin=lambda: _pin(data_dir / service / "blobs", pins, service)
        ) as live:
            _copy_database(live, target / database)
        return _copy_pinned(target, service=service, database=database, pins=pins)
    finally:
        shutil.rmtree(pins, ignore_errors=True)


@contextmanager
def _unchanging(database: Path, *, pin: Callable[[], None]) -> Generator[sqlite3.Connection]:
    """A connection that reads a database as of one moment, at which the files that it names are pinned.

    A service deletes a stored file after its record. So while the database cannot be written, which is as long as the
    second `pin` takes, all files that it names are there.
    """
    pin()  # most files, while others write
    try:
        with (
            closing(sqlite3.connect(database, timeout=30)) as live,
            closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as writer,
        ):
            writer.execute("BEGIN IMMEDIATE")
            live.execute("BEGIN")
            live.execute("SELECT count(*) FROM sqlite_master")  # its snapshot begins with the first read
            pin()
            writer.execute("ROLLBACK")
            yield live
    except sqlite3.DatabaseError as error:
        raise _database_error(database, error) from error


def _pin(blobs: Path, pins: Path, service: str) -> None:
    """Hard links to all stored files, so that those that are deleted meanwhile can still be copied."""
    for path in _stored_paths(blobs, service):
        link = pins / path
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(blobs / path, link)
        except (FileNotFoundError, FileExistsError):
            continue  # deleted meanwhile, or pinned already


def _copy_pinned(target: Path, *, service: str, database: str, pins: Path) -> list[StoredFile]:
    recorded = {path: (size, digest) for path, size, digest in _recorded(target / database, service)}
    files = [StoredFile(database, *_size_and_digest(target / database))]
    for path in sorted(_stored_paths(pins, service)):
        name = f"{service}/blobs/{path}"
        file = _copy(pins / path, target / name, path=name)
        if recorded.get(path, (file.size, file.digest)) != (file.size, file.digest):
            raise BackupError(
                f"the {service}'s stored file {path} is damaged; no backup was written, so that it cannot replace a "
                "good one. `prisma doctor --scrub` lists all damage"
            )
        files.append(file)
    copied = {file.path for file in files}
    for path in recorded:
        if f"{service}/blobs/{path}" not in copied and not _is_cache(path, service):
            raise BackupError(
                f"the {service}'s stored file {path} is missing: `prisma doctor --scrub` lists all damage"
            )
    return files


def _copy_database(live: sqlite3.Connection, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(target, timeout=30)) as copy:
        live.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        problem = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise BackupError(f"the database {target.name} is damaged ({problem}): restore an earlier backup")


def _database_error(source: Path, error: sqlite3.DatabaseError) -> Exception:
    if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return OSError(errno.ENOSPC, "No space left on device")
    return BackupError(f"the database {source} cannot be copied: {error}")


def _stored_paths(blobs: Path, service: str) -> Iterator[str]:
    """Paths of the stored files, relative, with `/`; neither temporary files nor caches."""
    for file in files_below(blobs):
        path = file.relative_to(blobs).as_posix()
        if not _TEMPORARY.fullmatch(file.name) and not _is_cache(path, service):
            yield path


def _is_cache(path: str, service: str) -> bool:
    cache = CACHES.get(service)
    return cache is not None and path.startswith(f"{cache}/")


def _recorded(database: Path, service: str) -> list[tuple[str, int, str]]:
    """Path, size and digest of the stored files that a service has recorded."""
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        table = f"{service}_blobs"
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is None:
            return []
        return connection.execute(f"SELECT path, size, digest FROM {table}").fetchall()  # noqa: S608 - our own name


def _schema(database: Path, service: str) -> str:
    """The migration that a database is at."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            row = connection.execute(f"SELECT version_num FROM alembic_{service}").fetchone()  # noqa: S608 - our own name
        except sqlite3.OperationalError:
            row = None
    return str(row[0]) if row else ""


# Files


@contextmanager
def _writing(folder: Path) -> Generator[None]:
    """A new folder, complete or not there: an error deletes what was written."""
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        yield
    except BaseException as error:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not existed:
            folder.rmdir()
        if isinstance(error, OSError) and error.errno in _FULL_ERRNOS:
            raise BackupError(f"no space left in {folder.parent}: free some space, then repeat it") from error
        raise


def _copy(source: Path, target: Path, *, path: str) -> StoredFile:
    """Copies a file durably; its size and digest are those of the bytes that were read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size, digest = 0, hashlib.sha256()
    try:
        reading = source.open("rb")
    except FileNotFoundError:
        raise BackupError(_damage(path, "is missing")) from None
    with reading, target.open("xb") as writing:
        while chunk := reading.read(_CHUNK_BYTES):
            writing.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    return StoredFile(path, size, digest.hexdigest())


def _size_and_digest(file: Path) -> tuple[int, str]:
    with file.open("rb") as opened:
        return os.fstat(opened.fileno()).st_size, hashlib.file_digest(opened, "sha256").hexdigest()


def _write_manifest(target: Path, manifest: Manifest) -> None:
    temporary = target / f".{MANIFEST}"
    with temporary.open("w") as file:
        json.dump(asdict(manifest), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(target / MANIFEST)


def _database(data_dir: Path, service: str) -> Path:
    return data_dir / service / f"{service}.db"


def _damage(path: str, problem: str) -> str:
    return f"the backup's file {path} {problem}: nothing was restored, use another backup"


def _refuse_other_stores() -> None:
    for variable, advice in (
        ("PRISMA_DATABASE_URL", "back the database up with its own tools (pg_dump), then the object store"),
        ("PRISMA_BLOB_URL", "back the object store up with its own tools, after the database"),
    ):
        value = os.environ.get(variable, "")
        if value and not value.startswith("sqlite"):
            raise BackupError(f"{variable} is set, so the data is not in the data folder: {advice}")


def _refuse_occupied(data_dir: Path) -> None:
    """Raises BackupError if a data folder is in use, or holds data."""
    for lock in (data_dir / "stack.lock", *(data_dir / service / ".lock" for service in SERVICES)):
        if lock.exists():
            with lock.open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise BackupError(f"PRISMA runs on {data_dir}: stop it (`prisma down`) before a restore") from None
    for service in SERVICES:
        blobs = data_dir / service / "blobs"
        if _database(data_dir, service).exists() or any(path.is_file() for path in blobs.rglob("*")):
            raise BackupError(
                f"{data_dir} holds data already: move it away, or set PRISMA_DATA_DIR to an empty folder; a restore "
                "overwrites nothing"
            )


# Commands


def write_backup(data_dir: Path, target: Path) -> None:
    """Writes a backup and prints what it holds. Exits with 1 on an error."""
    with _reporting():
        manifest = create(data_dir, target)
    _show(manifest, f"{_summary(manifest)} written to {target}")


def restore_backup(source: Path, data_dir: Path, *, verify_only: bool) -> None:
    """Restores or verifies a backup and prints what it holds. Exits with 1 on an error."""
    with _reporting():
        manifest = verify(source) if verify_only else restore(source, data_dir)
    text = f"{source} is complete" if verify_only else f"restored to {data_dir}; `prisma up` starts it"
    _show(manifest, f"{_summary(manifest)} of {manifest.create_time}: {text}")


def show_scrub(data_dir: Path) -> None:
    """Compares all stored files with their records and prints the damage. Exits with 1 if there is any."""
    with _reporting():
        _refuse_other_stores()
        count, damages = scrub(data_dir)
    for damage in damages:
        row = {"service": damage.service, "file": damage.path, "problem": damage.problem}
        output.show_one(row, [f"{damage.service}: {damage.path} {damage.problem}"])
    typer.echo(f"{count:,} stored files checked, {len(damages):,} damaged", err=True)
    if damages:
        raise typer.Exit(1)


def _summary(manifest: Manifest) -> str:
    return f"{len(manifest.files):,} files, {manifest.size / 1e6:,.1f} MB"


def _show(manifest: Manifest, line: str) -> None:
    row = {
        "version": manifest.version,
        "createTime": manifest.create_time,
        "schemas": dict(manifest.schemas),
        "files": len(manifest.files),
        "bytes": manifest.size,
    }
    output.show_one(row, [line])


@contextmanager
def _reporting() -> Generator[None]:
    """Prints an error as one line and exits with 1."""
    try:
        yield
    except (BackupError, OSError, sqlite3.Error) as error:
        typer.echo(f"prisma: {error}", err=True)
        raise typer.Exit(1) from error
