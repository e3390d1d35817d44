"""Stored statistics: none without their database, none that nothing names, none damaged without a word."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.chassis.blobs import BlobDamaged, Blobs, Records, blobs_dependency
from services.chassis.database import Database
from services.chassis.startup import StartRefused
from services.interpreter import storage
from services.interpreter.storage import Sweeper
from services.interpreter.store import Store
from services.interpreter.tables import BLOBS
from tests.interpreter.test_matrices import RUN
from tests.interpreter.test_store import MIGRATIONS, compute_statistics

LONG_AGO = 10**9


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/interpreter.db", MIGRATIONS)
    yield database
    database.close()


@pytest.fixture
def blobs(database: Database, tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs", records=Records(database, BLOBS))


@pytest.fixture
def store(database: Database, blobs: Blobs) -> Store:
    return Store(database, blobs)


def test_statistics_without_their_database_refuse_to_start(
    database: Database, blobs: Blobs, store: Store, tmp_path: Path
) -> None:
    storage.prepare(database, store, blobs)
    compute_statistics(store, blobs)
    storage.prepare(database, store, blobs)
    empty = Database(f"sqlite:///{tmp_path}/another.db", MIGRATIONS)
    with pytest.raises(StartRefused, match="restore the database"):
        storage.prepare(empty, Store(empty, blobs), blobs)
    empty.close()


def test_old_files_that_nothing_names_are_deleted(
    database: Database, blobs: Blobs, store: Store, tmp_path: Path
) -> None:
    storage.prepare(database, store, blobs)
    compute_statistics(store, blobs)
    scratch = tmp_path / "scratch"
    for folder in (scratch / "old", scratch / "young"):
        folder.mkdir(parents=True)
    blobs.put("statistics/u/abandoned/density.npy", [b"x"])
    for old in (scratch / "old", *blobs.folder.rglob("*.npy")):
        os.utime(old, (LONG_AGO, LONG_AGO))
    Sweeper(store=store, blobs=blobs, scratch=scratch).sweep()
    assert [path.name for path in scratch.iterdir()] == ["young"]
    assert [path.parent.name for path in blobs.folder.rglob("*.npy")] == ["first"]


async def test_damage_is_in_the_status_until_statistics_are_computed_again(
    database: Database, blobs: Blobs, store: Store
) -> None:
    storage.prepare(database, store, blobs)
    compute_statistics(store, blobs)
    path = f"statistics/{RUN.uid}/first/density.npy"
    (blobs.folder / path).unlink()
    status = blobs_dependency(blobs, "statistics", "statistics are computed again")
    with pytest.raises(BlobDamaged):
        blobs.local(path)
    assert "damaged" in (await status.state()).message
    replaced = compute_statistics(store, blobs, attempt="second")
    blobs.delete(f"statistics/{RUN.uid}/{replaced}")
    assert not (await status.state()).message
