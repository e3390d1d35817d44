"""Backups are complete, consistent while the data changes, verified by digest, and leave nothing when they fail."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import sqlite3
import threading
import uuid
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from prisma_client.cli import backup
from prisma_client.cli.backup import BackupError


class Service:
    """A service's data as it lies on the disk: blobs, and a database that records and names them."""

    def __init__(self, data_dir: Path, name: str) -> None:
        self.name = name
        self.folder = data_dir / name
        (self.folder / "blobs").mkdir(parents=True)
        with self.connect() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"CREATE TABLE {name}_blobs (path TEXT PRIMARY KEY, size INTEGER, digest TEXT)")
            connection.execute(f"CREATE TABLE alembic_{name} (version_num TEXT)")
            connection.execute(f"INSERT INTO alembic_{name} VALUES ('0042')")

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.folder / f"{self.name}.db", timeout=30, isolation_level=None)

    def add(self, path: str, data: bytes) -> None:
        file = self.folder / "blobs" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        with closing(self.connect()) as connection:
            row = (path, len(data), sha256(data).hexdigest())
            connection.execute(f"INSERT INTO {self.name}_blobs VALUES (?, ?, ?)", row)

    def remove(self, path: str) -> None:
        with closing(self.connect()) as connection:
            connection.execute(f"DELETE FROM {self.name}_blobs WHERE path = ?", (path,))
        (self.folder / "blobs" / path).unlink()

    def paths(self) -> list[str]:
        with closing(self.connect()) as connection:
            return [row[0] for row in connection.execute(f"SELECT path FROM {self.name}_blobs ORDER BY path")]


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("PRISMA_DATABASE_URL", "PRISMA_BLOB_URL"):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "data"
    for name in backup.SERVICES:
        service = Service(folder, name)
        for number in range(3):
            service.add(f"a/{number}", os.urandom(1000))
    (folder / "trainer/blobs/vectors").mkdir()
    (folder / "trainer/blobs/vectors/cache").write_bytes(b"1")
    (folder / "embedder/blobs/a" / f".3.{'0' * 32}").write_bytes(b"half")
    (folder / "search").mkdir()
    (folder / "search/index").write_bytes(b"1")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def blobs(folder: Path) -> dict[str, bytes]:
    return {path: data for path, data in files(folder).items() if "/blobs/a/" in path and "/." not in path}


def test_a_restored_folder_holds_what_was_backed_up(data_dir: Path, tmp_path: Path) -> None:
    manifest = backup.create(data_dir, tmp_path / "backup")
    assert manifest.schemas == dict.fromkeys(backup.SERVICES, "0042")
    assert backup.verify(tmp_path / "backup") == manifest
    backup.restore(tmp_path / "backup", tmp_path / "restored")
    assert blobs(tmp_path / "restored") == blobs(data_dir)
    assert set(files(tmp_path / "restored")) == {
        *(f"{name}/{name}.db" for name in backup.SERVICES),
        *(f"{name}/blobs/a/{number}" for name in backup.SERVICES for number in range(3)),
    }
    assert damage_of(tmp_path / "restored") == (9, [])


def test_a_backup_of_changing_data_is_consistent(data_dir: Path, tmp_path: Path) -> None:
    service = Service.__new__(Service)
    service.name, service.folder = "embedder", data_dir / "embedder"
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            path = f"a/{uuid.uuid4().hex}"
            service.add(path, os.urandom(2000))
            if len(paths := service.paths()) > 30:
                service.remove(paths[0])

    writer = threading.Thread(target=change)
    writer.start()
    try:
        for number in range(5):
            backup.create(data_dir, tmp_path / f"backup{number}")
    finally:
        stop.set()
        writer.join()
    for number in range(5):
        restored = tmp_path / f"restored{number}"
        backup.restore(tmp_path / f"backup{number}", restored)
        count, damages = damage_of(restored)
        assert count > 6 and damages == []
    assert not list(data_dir.glob(".backup-*"))


def test_nothing_is_overwritten(data_dir: Path, tmp_path: Path) -> None:
    backup.create(data_dir, tmp_path / "backup")
    before = files(tmp_path / "backup")
    with pytest.raises(BackupError, match="not overwritten"):
        backup.create(data_dir, tmp_path / "backup")
    assert files(tmp_path / "backup") == before
    with pytest.raises(BackupError, match="holds data already"):
        backup.restore(tmp_path / "backup", data_dir)
    assert blobs(data_dir)


def test_a_folder_in_use_is_not_restored_to(data_dir: Path, tmp_path: Path) -> None:
    backup.create(data_dir, tmp_path / "backup")
    (tmp_path / "restored").mkdir()
    with (tmp_path / "restored/stack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BackupError, match="prisma down"):
            backup.restore(tmp_path / "backup", tmp_path / "restored")


def damage_of(data_dir: Path) -> tuple[int, list[str]]:
    """How many stored files were compared with their records, and which of them are damaged."""
    count, damages = backup.scrub(data_dir)
    return count, [damage.path for damage in damages]


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("damage", [flip, Path.unlink])
@pytest.mark.parametrize("path", ["trainer/blobs/a/1", "embedder/embedder.db"])
def test_a_damaged_backup_is_named_and_restores_nothing(
    data_dir: Path, tmp_path: Path, path: str, damage: Callable[[Path], None]
) -> None:
    backup.create(data_dir, tmp_path / "backup")
    damage(tmp_path / "backup" / path)
    with pytest.raises(BackupError, match=f"{path} is (damaged|missing)"):
        backup.verify(tmp_path / "backup")
    with pytest.raises(BackupError, match=f"{path} is (damaged|missing): nothing was restored"):
        backup.restore(tmp_path / "backup", tmp_path / "restored")
    assert files(tmp_path / "restored") == {}


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"format": 1}', b"[" * 100_000])
def test_a_damaged_manifest_is_one_sentence(data_dir: Path, tmp_path: Path, content: bytes) -> None:
    backup.create(data_dir, tmp_path / "backup")
    (tmp_path / "backup" / backup.MANIFEST).write_bytes(content)
    with pytest.raises(BackupError, match="is damaged"):
        backup.restore(tmp_path / "backup", tmp_path / "restored")


def test_a_manifest_cannot_name_files_outside_of_the_backup(data_dir: Path, tmp_path: Path) -> None:
    backup.create(data_dir, tmp_path / "backup")
    manifest = tmp_path / "backup" / backup.MANIFEST
    fields = json.loads(manifest.read_bytes())
    fields["files"][0]["path"] = "../outside"
    manifest.write_text(json.dumps(fields))
    with pytest.raises(BackupError, match="outside of the backup"):
        backup.restore(tmp_path / "backup", tmp_path / "restored")


def test_an_unfinished_backup_is_refused(tmp_path: Path) -> None:
    (tmp_path / "backup/embedder").mkdir(parents=True)
    with pytest.raises(BackupError, match="no complete backup"):
        backup.restore(tmp_path / "backup", tmp_path / "restored")


@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_damaged_data_is_not_backed_up_and_is_listed(
    data_dir: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(data_dir / "trainer/blobs/a/1")
    with pytest.raises(BackupError, match=r"a/1 is (damaged|missing)"):
        backup.create(data_dir, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    assert damage_of(data_dir) == (9, ["a/1"])


@pytest.mark.parametrize("operation", ["backup", "restore"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    backup.create(data_dir, tmp_path / "backup")
    before = blobs(data_dir)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(backup.os, "fsync", full)
    with pytest.raises(BackupError, match="no space left in"):
        if operation == "backup":
            backup.create(data_dir, tmp_path / "second")
        else:
            backup.restore(tmp_path / "backup", tmp_path / "restored")
    assert not (tmp_path / "second").exists()
    assert not files(tmp_path / "restored")
    assert blobs(data_dir) == before


def test_data_elsewhere_is_not_backed_up_silently(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRISMA_DATABASE_URL", "postgresql://db/prisma")
    with pytest.raises(BackupError, match="pg_dump"):
        backup.create(data_dir, tmp_path / "backup")


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="holds no data"):
        backup.create(tmp_path / "none", tmp_path / "backup")
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
