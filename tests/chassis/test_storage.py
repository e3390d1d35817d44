"""Blobs are there whole or not at all; a database keeps what was committed and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from services.chassis.blobs import Blobs
from services.chassis.database import Database

MIGRATIONS = Path(__file__).parents[2] / "services/embedder/migrations"


def test_a_blob_comes_back_and_goes(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    assert blobs.put("a/b.bin", [b"one", b"two"]).read_bytes() == b"onetwo"
    assert blobs.local("a/b.bin").read_bytes() == b"onetwo"
    blobs.delete("a")
    with pytest.raises(FileNotFoundError):
        blobs.local("a/b.bin")
    blobs.delete("a")


def test_a_write_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        blobs.put("a/b.bin", broken())
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_orphans_are_swept_once_they_are_old_and_known_blobs_never(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    blobs.put("known", [b"1"])
    blobs.put("orphan", [b"2"])
    assert blobs.sweep({"known"}) == []
    assert blobs.sweep({"known"}, older_than_seconds=-1) == ["orphan"]
    assert blobs.local("known").read_bytes() == b"1"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'd.db'}", MIGRATIONS)
    opened.migrate()
    opened.migrate()
    with opened.write() as connection:
        connection.execute(text("CREATE TABLE counter (value INTEGER)"))
        connection.execute(text("INSERT INTO counter VALUES (0)"))
    yield opened
    opened.close()


def test_writers_wait_for_each_other_and_lose_no_update(database: Database) -> None:
    def count() -> None:
        for _ in range(25):
            with database.write() as connection:
                value = connection.execute(text("SELECT value FROM counter")).scalar_one()
                connection.execute(text("UPDATE counter SET value = :value"), {"value": value + 1})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.execute(text("SELECT value FROM counter")).scalar_one() == 100


def test_an_error_rolls_back(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute(text("UPDATE counter SET value = 7"))
        raise RuntimeError
    with database.read() as connection:
        assert connection.execute(text("SELECT value FROM counter")).scalar_one() == 0


def test_a_commit_is_durable(database: Database) -> None:
    with database.read() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2
