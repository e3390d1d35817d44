"""Blobs exist whole or not at all, and damage is noticed at the first use."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pytest
from obstore.store import from_url
from sqlalchemy import event, select

from services.chassis import blobs as blobs_module
from services.chassis import object_store
from services.chassis.blobs import Blob, BlobDamaged, Blobs, Records, Scrubber, ScrubReport, blobs_dependency
from services.chassis.database import Database
from services.chassis.errors import Code
from services.chassis.object_store import StoreUnavailable
from services.chassis.startup import StartRefused
from tests.chassis.owner import BLOBS
from tests.ports import free_port

Open = Callable[[], Blobs]


@pytest.fixture
def open_blobs(database: Database, tmp_path: Path) -> Open:
    """Blobs in a local folder; each call is a new process's view of it."""
    return lambda: Blobs(tmp_path / "blobs", records=Records(database, BLOBS))


@pytest.fixture
def open_stored(database: Database, tmp_path: Path) -> Open:
    """Blobs in an object store, with a local cache."""
    (tmp_path / "store").mkdir()
    url = f"file://{tmp_path / 'store'}"
    return lambda: Blobs(tmp_path / "cache", url, records=Records(database, BLOBS))


def record(database: Database, blobs: Blobs, *written: Blob) -> None:
    with database.write() as connection:
        blobs.record(connection, written)


def recorded(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(BLOBS.c.path).order_by(BLOBS.c.path)).scalars())


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def remove(file: Path) -> None:
    file.unlink()


DAMAGES = (flip_a_bit, cut, remove)


def test_a_blob_comes_back_and_goes(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    blob = blobs.put("a/b.bin", [b"one", memoryview(b"two")])
    assert (blob.path, blob.size, len(blob.digest)) == ("a/b.bin", 6, 64)
    assert blobs.local("a/b.bin").read_bytes() == b"onetwo"
    blobs.delete("a")
    with pytest.raises(BlobDamaged):
        blobs.local("a/b.bin")
    blobs.delete("a")


def test_a_write_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        Blobs(tmp_path).put("a/b.bin", broken())
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_by_the_next_process_and_named(
    database: Database, open_blobs: Open, damage: Callable[[Path], None]
) -> None:
    blobs = open_blobs()
    record(database, blobs, blobs.put("a/b.bin", [b"x" * 1000]), blobs.put("a/c.bin", [b"y" * 1000]))
    damage(blobs.folder / "a/b.bin")
    restarted = open_blobs()
    with pytest.raises(BlobDamaged) as error:
        restarted.local("a/b.bin")
    assert error.value.code == Code.DATA_LOSS
    assert error.value.metadata == {"blob": "a/b.bin"}
    assert [damage.path for damage in restarted.damages] == ["a/b.bin"]
    assert restarted.local("a/c.bin").read_bytes() == b"y" * 1000


def test_a_file_that_changes_under_a_process_is_checked_again(database: Database, open_blobs: Open) -> None:
    blobs = open_blobs()
    record(database, blobs, blobs.put("a", [b"x" * 1000]))
    file = blobs.local("a")
    flip_a_bit(file)
    os.utime(file, (time.time() + 5, time.time() + 5))  # later than any clock tick since it was written
    with pytest.raises(BlobDamaged):
        blobs.local("a")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_filled_again_from_the_object_store(
    database: Database, open_stored: Open, damage: Callable[[Path], None]
) -> None:
    blobs = open_stored()
    record(database, blobs, blobs.put("a/b.bin", [b"x" * 1000]))
    damage(blobs.folder / "a/b.bin")
    restarted = open_stored()
    assert restarted.local("a/b.bin").read_bytes() == b"x" * 1000
    assert restarted.damages == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_in_the_object_store_is_noticed(
    database: Database, open_stored: Open, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    blobs = open_stored()
    record(database, blobs, blobs.put("a/b.bin", [b"x" * 1000]))
    damage(tmp_path / "store/test/a/b.bin")
    (blobs.folder / "a/b.bin").unlink()
    with pytest.raises(BlobDamaged, match="in the object store"):
        open_stored().local("a/b.bin")
    assert not (blobs.folder / "a/b.bin").exists()


def test_files_in_the_folder_are_adopted_and_uploaded(database: Database, open_stored: Open) -> None:
    blobs = open_stored()
    attempt = blobs.folder / "runs/r/attempt"
    attempt.mkdir(parents=True)
    (attempt / "weights").write_bytes(b"w" * 10)
    (attempt / "codes").write_bytes(b"c" * 20)
    adopted = blobs.adopt("runs/r/attempt")
    assert [(blob.path, blob.size) for blob in adopted] == [
        ("runs/r/attempt/codes", 20),
        ("runs/r/attempt/weights", 10),
    ]
    record(database, blobs, *adopted)
    (attempt / "weights").unlink()  # another host has an empty cache
    assert open_stored().local("runs/r/attempt/weights").read_bytes() == b"w" * 10
    with pytest.raises(FileNotFoundError):
        blobs.adopt("runs/r/none")


@pytest.mark.parametrize("kind", ["open_blobs", "open_stored"])
def test_a_deletion_takes_files_objects_and_records(
    kind: str, database: Database, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    blobs: Blobs = request.getfixturevalue(kind)()
    record(database, blobs, *(blobs.put(path, [b"1"]) for path in ("a/1", "a/2", "ab/3", "a_/4")))
    blobs.delete("a")
    assert recorded(database) == ["a_/4", "ab/3"]
    left = {file.relative_to(tmp_path).parts[-2:] for file in tmp_path.rglob("[0-9]") if file.is_file()}
    assert left == {("a_", "4"), ("ab", "3")}


def test_orphans_are_swept_once_they_are_old_and_named_blobs_never(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    for path in ("named", "orphan", "kept/by/folder", "kept/by/another"):
        blobs.put(path, [b"1"])
    named = {"named", "kept/by"}
    assert blobs.sweep(named) == []
    assert blobs.sweep(named, older_than_seconds=-1) == ["orphan"]
    assert blobs.local("named").read_bytes() == b"1"


def test_orphans_in_the_object_store_are_swept_though_the_cache_is_empty(
    database: Database, open_stored: Open, tmp_path: Path
) -> None:
    blobs = open_stored()
    for path in ("named", "orphan"):
        record(database, blobs, blobs.put(path, [b"1"]))
        (blobs.folder / path).unlink()
    assert blobs.sweep({"named"}, older_than_seconds=-1) == ["orphan"]
    assert [file.name for file in (tmp_path / "store/test").iterdir()] == ["named"]
    assert recorded(database) == ["named"]


def test_blobs_of_an_older_version_are_recorded_as_they_are(database: Database, open_blobs: Open) -> None:
    blobs = open_blobs()
    for path in ("old/1", "old/2"):
        blobs.put(path, [b"x" * 100])
    assert open_blobs().local("old/1").read_bytes() == b"x" * 100  # nothing to compare with yet
    assert blobs.adopt_unrecorded(["old/1", "old/2", "old/missing"]) == 3
    assert recorded(database) == ["old/1", "old/2"]
    flip_a_bit(blobs.folder / "old/1")
    with pytest.raises(BlobDamaged):
        open_blobs().local("old/1")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_scrub_finds_all_damage(database: Database, open_blobs: Open, damage: Callable[[Path], None]) -> None:
    blobs = open_blobs()
    record(database, blobs, *(blobs.put(f"a/{number}", [b"x" * 100]) for number in range(5)))
    assert (open_blobs().scrub().checked, open_blobs().scrub().damages) == (5, [])
    for number in (1, 3):
        damage(blobs.folder / f"a/{number}")
    report = open_blobs().scrub()
    assert report.checked == 5
    assert [damage.path for damage in report.damages] == ["a/1", "a/3"]


async def test_the_scrubber_finds_damage_that_nothing_reads_and_the_status_names_it(
    database: Database, open_blobs: Open
) -> None:
    blobs = open_blobs()
    record(database, blobs, *(blobs.put(f"a/{number}", [b"x" * 100]) for number in range(3)))
    flip_a_bit(blobs.folder / "a/1")
    last = blobs.folder.parent / "last-scrub"
    last.touch()
    os.utime(last, (0, 0))  # by an earlier process, long ago: the next one does not wait another hour
    status = blobs_dependency(blobs, "files", "restore them")
    assert not (await status.state()).message
    scrubber = asyncio.create_task(Scrubber(blobs, every_seconds=3600).run())
    for _ in range(1000):
        if blobs.damages:
            break
        await asyncio.sleep(0.01)
    scrubber.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scrubber
    assert last.stat().st_mtime > 0
    state = await status.state()
    assert "a/1" in state.message
    assert "restore them" in state.message


async def test_a_scrubber_that_cannot_note_its_time_tries_again(
    open_blobs: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its service would end with it."""
    blobs = open_blobs()
    attempts = 0

    def refuse(_path: Path) -> None:
        nonlocal attempts
        attempts += 1
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "touch", refuse)
    scrubber = asyncio.create_task(Scrubber(blobs, every_seconds=0.01).run())
    for _ in range(1000):
        if attempts > 1:
            break
        await asyncio.sleep(0.01)
    assert attempts > 1 and not scrubber.done()
    scrubber.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scrubber


async def test_a_scrub_that_fails_is_tried_again_soon(open_blobs: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = open_blobs()
    last = blobs.folder.parent / "last-scrub"
    last.touch()
    os.utime(last, (0, 0))
    remaining = [StoreUnavailable("away"), StoreUnavailable("away")]

    def scrub(_stop: threading.Event) -> ScrubReport:
        assert last.stat().st_mtime == 0
        if remaining:
            raise remaining.pop()
        return ScrubReport(0, [], [])

    monkeypatch.setattr(blobs, "scrub", scrub)
    monkeypatch.setattr(blobs_module, "_RETRY_SECONDS", 0.01)
    scrubber = asyncio.create_task(Scrubber(blobs, every_seconds=3600).run())
    for _ in range(1000):
        if last.stat().st_mtime:
            break
        await asyncio.sleep(0.01)
    assert last.stat().st_mtime and not remaining
    scrubber.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scrubber


def test_a_scrub_tells_no_damage_of_a_file_that_is_restored_or_leaves_the_cache(
    database: Database, open_stored: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = open_stored()
    record(database, blobs, blobs.put("a/1", [b"x" * 100]), blobs.put("a/2", [b"x" * 100]))
    (blobs.folder / "a/1").unlink()
    (tmp_path / "store/test/a/1").rename(tmp_path / "kept")
    with pytest.raises(BlobDamaged):
        blobs.local("a/1")
    (tmp_path / "kept").rename(tmp_path / "store/test/a/1")
    compare = object_store.ServiceObjects.difference

    def leave(objects: Any, path: str, **recorded: Any) -> str | None:
        (blobs.folder / path).unlink(missing_ok=True)
        return compare(objects, path, **recorded)

    monkeypatch.setattr(object_store.ServiceObjects, "difference", leave)
    report = blobs.scrub()
    assert (report.checked, report.damages, blobs.damages) == (2, [], [])
    assert blobs.scrub(prefix="a/1").checked == 1


def test_a_scrub_ends_early_when_its_process_stops(database: Database, open_blobs: Open) -> None:
    blobs, stop = open_blobs(), threading.Event()
    record(database, blobs, blobs.put("a/1", [b"x"]))
    stop.set()
    assert blobs.scrub(stop).checked == 0


def test_a_scrub_repairs_the_cache_and_reads_the_object_store(
    database: Database, open_stored: Open, tmp_path: Path
) -> None:
    blobs = open_stored()
    record(database, blobs, *(blobs.put(f"a/{number}", [b"x" * 100]) for number in range(4)))
    flip_a_bit(blobs.folder / "a/1")
    flip_a_bit(tmp_path / "store/test/a/2")
    (blobs.folder / "a/3").unlink()
    report = open_stored().scrub()
    assert report.repaired == ["a/1", "a/2"]
    assert report.damages == []
    assert (tmp_path / "store/test/a/2").read_bytes() == b"x" * 100
    flip_a_bit(tmp_path / "store/test/a/3")  # of which there is no other copy
    assert [damage.path for damage in open_stored().scrub().damages] == ["a/3"]


def test_an_object_that_is_replaced_while_it_is_read_is_read_again(
    open_stored: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both versions it would have a part."""
    blobs = open_stored()
    blobs.put("a/1", [b"x" * 100])
    (blobs.folder / "a/1").unlink()
    read, remaining = obstore.get, [b"y", b"z"]

    def get(*arguments: Any, **keywords: Any) -> Any:
        part = read(*arguments, **keywords)
        if remaining:
            obstore.put(from_url(f"file://{tmp_path / 'store'}"), "test/a/1", remaining.pop(0) * 100)
        return part

    monkeypatch.setattr(object_store, "_PART_BYTES", 40)
    monkeypatch.setattr(obstore, "get", get)
    assert open_stored().local("a/1").read_bytes() == b"z" * 100


class TestCache:
    """The local copies of what an object store has."""

    @pytest.fixture
    def blobs(self, database: Database, tmp_path: Path) -> Blobs:
        """A cache of 1,000 bytes, with ten blobs of 100 bytes that were last used in the order of their names."""
        blobs = self.open(database, tmp_path)
        for number in range(10):
            record(database, blobs, blobs.put(f"a/{number}", [b"x" * 100]))
            self.age(blobs, f"a/{number}", 1000 - number)
        return blobs

    @staticmethod
    def open(database: Database, folder: Path) -> Blobs:
        (folder / "store").mkdir(exist_ok=True)
        url = f"file://{folder / 'store'}"
        return Blobs(folder / "cache", url, records=Records(database, BLOBS), cache_bytes=1000)

    @staticmethod
    def add(database: Database, blobs: Blobs, path: str) -> None:
        """Writes a blob of 100 bytes, and waits until others have left for it."""
        record(database, blobs, blobs.put(path, [b"y" * 100]))
        blobs.wait_for_eviction()

    @staticmethod
    def age(blobs: Blobs, path: str, seconds: float) -> None:
        moment = time.time() - seconds
        os.utime(blobs.folder / path, (moment, moment))

    @staticmethod
    def cached(blobs: Blobs) -> list[str]:
        return sorted(file.name for file in blobs.folder.rglob("*") if file.is_file())

    def test_what_was_not_used_for_the_longest_time_leaves_and_comes_back(
        self, database: Database, tmp_path: Path, blobs: Blobs
    ) -> None:
        blobs.local("a/0")  # used again
        restarted = self.open(database, tmp_path)
        self.add(database, restarted, "b")
        assert self.cached(restarted) == ["0", "3", "4", "5", "6", "7", "8", "9", "b"]
        assert restarted.local("a/1").read_bytes() == b"x" * 100
        assert restarted.damages == []

    def test_what_is_mapped_stays_readable(self, database: Database, blobs: Blobs) -> None:
        mapped = np.memmap(blobs.local("a/0"), np.uint8, "r")
        self.age(blobs, "a/0", 2000)
        self.add(database, blobs, "b")
        assert "0" not in self.cached(blobs)
        assert mapped.tobytes() == b"x" * 100

    def test_what_is_written_just_now_or_is_no_blob_yet_stays(self, database: Database, blobs: Blobs) -> None:
        attempt = blobs.folder / "attempt"
        attempt.mkdir()
        (attempt / "checkpoint").write_bytes(b"c" * 950)
        self.age(blobs, "attempt/checkpoint", 5000)
        self.add(database, blobs, "b")
        assert self.cached(blobs) == ["b", "checkpoint"]

    def test_files_of_before_there_was_a_store_are_uploaded_before_they_leave(
        self, database: Database, tmp_path: Path, blobs: Blobs
    ) -> None:
        shutil.rmtree(tmp_path / "store")
        (tmp_path / "store").mkdir()
        self.add(database, blobs, "b")
        assert len(list((tmp_path / "store/test/a").iterdir())) == 10
        for number in range(10):
            self.age(blobs, f"a/{number}", 1000)
        self.add(database, self.open(database, tmp_path), "c")
        assert len(self.cached(blobs)) == 9
        for number in range(10):
            assert blobs.local(f"a/{number}").read_bytes() == b"x" * 100

    def test_a_damaged_copy_does_not_replace_a_missing_object(
        self, database: Database, tmp_path: Path, blobs: Blobs
    ) -> None:
        (tmp_path / "store/test/a/0").unlink()
        flip_a_bit(blobs.folder / "a/0")
        self.age(blobs, "a/0", 2000)
        self.add(database, blobs, "b")
        assert "0" in self.cached(blobs)
        assert not (tmp_path / "store/test/a/0").exists()

    def test_a_caller_does_not_wait_for_an_eviction_and_a_file_that_cannot_leave_holds_up_no_other(
        self, database: Database, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        size, may_go_on, statements = object_store.ServiceObjects.size, threading.Event(), list[str]()

        def refuse_the_first(objects: Any, path: str) -> int | None:
            assert may_go_on.wait(60)
            if path == "a/0":
                raise PermissionError(path)
            return size(objects, path)

        def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            statements.append(statement)

        monkeypatch.setattr(object_store.ServiceObjects, "size", refuse_the_first)
        record(database, blobs, blobs.put("b", [b"y" * 100]))
        assert len(self.cached(blobs)) == 11
        event.listen(database._engine, "before_cursor_execute", note)  # pyright: ignore[reportPrivateUsage]
        may_go_on.set()
        blobs.wait_for_eviction()
        assert self.cached(blobs) == ["0", "3", "4", "5", "6", "7", "8", "9", "b"]
        assert sum("test_blobs" in statement for statement in statements) <= 1

    def test_a_file_that_was_used_stays_for_the_whole_grace(self, blobs: Blobs) -> None:
        self.age(blobs, "a/0", 20)
        blobs.local("a/0")
        assert (blobs.folder / "a/0").stat().st_atime > time.time() - 10


def test_files_that_are_no_blobs_yet_are_shared_with_other_hosts(database: Database, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    url = f"file://{tmp_path / 'store'}"
    one, replica = (Blobs(tmp_path / name, url, records=Records(database, BLOBS)) for name in ("one", "replica"))
    (one.folder / "runs/r/a").mkdir(parents=True)
    (one.folder / "runs/r/a/checkpoint").write_bytes(b"state")
    assert replica.below("runs/r") == []
    one.share("runs/r/a/checkpoint")
    assert [file.path for file in replica.below("runs/r")] == ["runs/r/a/checkpoint"]
    assert replica.local("runs/r/a/checkpoint").read_bytes() == b"state"
    replica.delete("runs/r/a")
    assert replica.below("runs/r") == []


async def test_a_store_that_is_away_is_told_and_comes_back(database: Database, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/store"  # where nothing listens
    blobs = Blobs(tmp_path / "cache", url, records=Records(database, BLOBS))
    with pytest.raises(StoreUnavailable, match="does not answer") as error:
        blobs.put("a", [b"x"])
    assert error.value.code == Code.UNAVAILABLE
    assert list(blobs.folder.iterdir()) == []
    state = await blobs_dependency(blobs, "files", "restore them").state()
    assert "does not answer" in state.message


def test_an_address_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match=r"PRISMA_BLOB_URL: expected s3://.*got ftp://host/x:"):
        Blobs(tmp_path, "ftp://user:password@host/x")


def test_services_share_an_object_store_and_sweep_only_their_own_objects(
    database: Database, open_stored: Open, tmp_path: Path
) -> None:
    blobs = open_stored()
    record(database, blobs, blobs.put("mine", [b"1"]))
    (tmp_path / "store/other").mkdir()
    (tmp_path / "store/other/theirs").write_bytes(b"2")
    assert blobs.sweep({"mine"}, older_than_seconds=-1) == []
    assert (tmp_path / "store/other/theirs").exists()


def test_objects_that_an_earlier_version_wrote_without_a_prefix_are_read_and_deleted(
    open_stored: Open, tmp_path: Path
) -> None:
    (tmp_path / "store/vectors").mkdir()
    (tmp_path / "store/vectors/1.npy").write_bytes(b"old")
    blobs = open_stored()
    assert blobs.local("vectors/1.npy").read_bytes() == b"old"
    blobs.delete("vectors")
    assert not (tmp_path / "store/vectors/1.npy").exists()
