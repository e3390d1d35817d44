"""A database keeps what was committed and nothing else, and behaves the same on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from services.chassis import database as database_module
from services.chassis.database import (
    Database,
    DatabaseUnavailable,
    address_of,
    reclaim_space_hourly,
    repeated,
    repeats_transactions,
)
from services.chassis.database_options import DatabaseOptions
from services.chassis.errors import StorageFull
from services.chassis.files import is_full_disk
from services.chassis.startup import StartRefused
from tests.chassis.owner import METADATA, THINGS
from tests.postgres_server import PostgresServer, binaries

UID = "u" * 32


@pytest.fixture
def counter(database: Database) -> Database:
    """A database with one row that holds a number."""
    with database.write() as connection:
        connection.execute(insert(THINGS).values(uid=UID, revision=0))
    return database


def value(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(THINGS.c.revision)).scalar_one()


@pytest.mark.parametrize("resource", [None, UID])
def test_writers_take_turns_and_lose_no_update(counter: Database, resource: str | None) -> None:
    def count(_writer: int) -> None:
        for _ in range(25):
            with counter.write(resource) as connection:
                before = connection.execute(select(THINGS.c.revision)).scalar_one()
                connection.execute(update(THINGS).values(revision=before + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert value(counter) == 100


def test_a_check_in_a_transaction_still_holds_at_its_end(database: Database) -> None:
    barrier = threading.Barrier(6)

    def create_if_missing(_writer: int) -> None:
        barrier.wait()
        with database.write() as connection:
            if connection.execute(select(func.count()).select_from(THINGS)).scalar_one() == 0:
                connection.execute(insert(THINGS).values(uid=UID, revision=1))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(create_if_missing, range(6)))
    assert value(database) == 1


def test_writers_of_different_resources_work_at_once_on_postgresql(database: Database) -> None:
    if not database.shared:
        return
    with database.write("one") as connection, database.write("two") as other:
        connection.execute(select(1))
        other.execute(select(1))


def test_a_transaction_that_waits_too_long_for_its_turn_is_an_outage(postgres_url: str, tmp_path: Path) -> None:
    """A caller may retry it, and a job does."""
    patient, hasty = (
        Database(postgres_url, tmp_path, service="test", options=DatabaseOptions(lock_seconds=seconds))
        for seconds in (30, 0.01)
    )
    with patient.write(), pytest.raises(DatabaseUnavailable, match="lock timeout"), hasty.write():
        pass
    patient.close()
    hasty.close()


def test_a_statement_that_takes_too_long_is_an_outage(postgres_url: str, tmp_path: Path) -> None:
    options = DatabaseOptions(statement_seconds=0.01)
    with (
        closing(Database(postgres_url, tmp_path, service="test", options=options)) as database,
        pytest.raises(DatabaseUnavailable, match="statement timeout"),
        database.read() as connection,
    ):
        connection.execute(text("SELECT pg_sleep(60)"))


@pytest.mark.parametrize("state", ["40001", "40P01", "57P01"])
def test_a_conflict_of_transactions_is_an_outage(postgres_url: str, tmp_path: Path, state: str) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '{state}'; END $$"
    with (
        closing(Database(postgres_url, tmp_path, service="test")) as database,
        pytest.raises(DatabaseUnavailable, match="conflict"),
        database.write() as connection,
    ):
        connection.execute(text(raising))


@repeats_transactions
class Counting:
    """A store whose session ends at its first attempts, before a statement or before the commit."""

    def __init__(self, database: Database, end: Callable[[Connection], None], *, times: int, committing: bool) -> None:
        self._database = database
        self._end = end
        self._remaining = times
        self._committing = committing

    def count(self) -> int:
        with self._database.write(UID) as connection:
            before = connection.execute(select(THINGS.c.revision)).scalar_one()
            connection.execute(update(THINGS).values(revision=before + 1))
            if self._remaining:
                self._remaining -= 1
                self._end(connection)
                if not self._committing:
                    connection.execute(select(1))
        return before + 1


def lose(connection: Connection) -> None:
    """The network is gone: nobody says what becomes of the transaction."""
    with socket.socket(fileno=os.dup(connection.connection.driver_connection.fileno())) as session:  # type: ignore
        session.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def postgres_counter(postgres_url: str, tmp_path: Path) -> Iterator[Database]:
    with closing(Database(postgres_url, tmp_path, service="test")) as database:
        with database.write() as connection:
            METADATA.create_all(connection)
            connection.execute(insert(THINGS).values(uid=UID, revision=0))
        yield database


def terminate(connection: Connection) -> None:
    """An operator ends the session, as a failover does."""
    pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with connection.engine.connect() as operator:
        operator.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})


@pytest.mark.parametrize(("end", "committing"), [(terminate, False), (terminate, True), (lose, False)])
def test_a_transaction_that_a_lost_connection_has_undone_is_repeated(
    postgres_counter: Database, end: Callable[[Connection], None], committing: bool
) -> None:
    assert Counting(postgres_counter, end, times=2, committing=committing).count() == 1
    assert value(postgres_counter) == 1


def test_a_transaction_that_may_have_been_committed_is_not_repeated(postgres_counter: Database) -> None:
    with pytest.raises(DatabaseUnavailable) as error:
        Counting(postgres_counter, lose, times=1, committing=True).count()
    assert not error.value.repeatable


def test_a_transaction_on_a_server_that_has_become_a_standby_is_repeated_elsewhere(postgres_counter: Database) -> None:
    """What sessions of before the failover are connected to refuses to write."""
    name = make_url(postgres_counter.url).database
    with psycopg.connect(postgres_counter.url, autocommit=True) as operator:
        operator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")  # pyright: ignore
        postgres_counter.close()
        with ExitStack() as stack:  # several connections to the standby, which are idle then
            for resource in ("one", "two", "three"):
                stack.enter_context(postgres_counter.write(resource))
            value(postgres_counter)
        with pytest.raises(DatabaseUnavailable, match="read-only") as error, postgres_counter.write() as connection:
            connection.execute(update(THINGS).values(revision=1))
        assert error.value.repeatable
        operator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")  # pyright: ignore
    assert Counting(postgres_counter, terminate, times=0, committing=False).count() == 1


def test_a_transaction_is_not_repeated_for_ever_where_attempts_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    moment, attempts = 0.0, 0
    monkeypatch.setattr(database_module.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(database_module.time, "monotonic", lambda: moment)

    @repeated
    def connect() -> None:
        nonlocal moment, attempts
        moment, attempts = moment + 10, attempts + 1
        raise DatabaseUnavailable("away", service="test", repeatable=True)

    with pytest.raises(DatabaseUnavailable):
        connect()
    assert attempts == 3


@pytest.mark.parametrize(("parameters", "expected"), [("", (5, 25_000)), ("?connect_timeout=7", ("7", 25_000))])
def test_a_server_that_has_vanished_is_noticed_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: str, expected: tuple[object, object]
) -> None:
    arguments: dict[str, object] = {}

    def connect(*_arguments: object, **keywords: object) -> None:
        arguments.update(keywords)
        raise psycopg.OperationalError("timeout expired")

    monkeypatch.setattr(psycopg.Connection, "connect", connect)
    monkeypatch.setattr(psycopg, "connect", connect)
    url = f"postgresql://db.example/prisma{parameters}"
    with closing(Database(url, tmp_path, service="test")) as database, pytest.raises(DatabaseUnavailable):
        database.check()
    assert (arguments["connect_timeout"], arguments["tcp_user_timeout"]) == expected
    assert arguments["keepalives_idle"]


def test_a_read_is_one_consistent_view(counter: Database) -> None:
    with counter.read() as connection:
        before = connection.execute(select(THINGS.c.revision)).scalar_one()
        with counter.write() as writer:
            writer.execute(update(THINGS).values(revision=7))
        assert connection.execute(select(THINGS.c.revision)).scalar_one() == before
    assert value(counter) == 7


def test_an_error_rolls_back(counter: Database) -> None:
    with pytest.raises(RuntimeError), counter.write() as connection:
        connection.execute(update(THINGS).values(revision=7))
        raise RuntimeError
    assert value(counter) == 0


def test_a_broken_constraint_is_no_outage(counter: Database) -> None:
    with pytest.raises(IntegrityError), counter.write() as connection:
        connection.execute(insert(THINGS).values(uid=UID, revision=1))


def test_a_commit_is_durable(counter: Database) -> None:
    if counter.shared:
        return
    with counter.read() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2


def test_a_full_sqlite_database_is_a_full_disk(counter: Database) -> None:
    if counter.shared:
        return
    with counter.write() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(StorageFull), counter.write() as connection:
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        connection.execute(text("CREATE TABLE large (value TEXT)"))
        connection.execute(text("INSERT INTO large VALUES (:value)"), {"value": "x" * 100_000})


async def test_a_file_that_cannot_be_read_does_not_end_the_service_that_reclaims_its_space(tmp_path: Path) -> None:
    (tmp_path / "d.db").write_bytes(b"no database" * 1000)
    database = Database(f"sqlite:///{tmp_path}/d.db", tmp_path, service="test")
    with pytest.raises(DBAPIError):
        database.reclaim_space()
    reclaiming = asyncio.create_task(reclaim_space_hourly(database))
    await asyncio.wait([reclaiming], timeout=0.5)
    assert not reclaiming.done()
    reclaiming.cancel()


@pytest.mark.parametrize("auto_vacuum", ["NONE", "INCREMENTAL"])
def test_a_sqlite_file_shrinks_after_deletions(tmp_path: Path, auto_vacuum: str) -> None:
    """Also one that an older version created, which could not shrink."""
    file = tmp_path / "d.db"
    with closing(sqlite3.connect(file)) as older:
        older.execute(f"PRAGMA auto_vacuum={auto_vacuum}")
        older.execute("CREATE TABLE large (value TEXT)")
    database = Database(f"sqlite:///{file}", tmp_path, service="test")
    with database.write() as connection:
        connection.execute(text("INSERT INTO large VALUES (:value)"), [{"value": "x" * 4000}] * 5000)
    database.reclaim_space()
    full = file.stat().st_size
    assert full > 20_000_000
    with database.write() as connection:
        connection.execute(text("DELETE FROM large WHERE rowid > 100"))
    database.reclaim_space()
    assert file.stat().st_size < full / 10
    assert file.with_name("d.db-wal").stat().st_size == 0
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM large")).scalar_one() == 100
    database.close()


def test_a_new_sqlite_file_can_shrink(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'd.db'}", tmp_path, service="test")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE t (value TEXT)"))
        assert connection.execute(text("PRAGMA auto_vacuum")).scalar_one() == 2
    database.close()


def test_a_database_that_goes_away_is_unavailable_and_comes_back(postgres_server: PostgresServer) -> None:
    programs = binaries()
    assert programs is not None
    server = PostgresServer(programs)
    server.start()
    database = Database(server.create_database(), programs, service="test")
    try:
        database.check()
        server.kill()
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            database.check()
        server.start()
        database.check()
    finally:
        database.close()
        server.stop()


def test_an_address_has_no_password() -> None:
    url = "postgresql://me:secret@db.example:5432/prisma?sslmode=require"
    database = Database(url, Path("migrations"), service="test")
    assert address_of(database) == "db.example/prisma"


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(StartRefused, match="sqlite:// or postgresql://"):
        Database("mysql://localhost/prisma", Path("migrations"), service="test")


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(28, "No space left on device"), True),
        (OSError("384000 requested and 305120 written"), True),  # numpy loses the errno
        (OSError("Generic LocalFileSystem error: No space left on device (os error 28)"), True),
        (OperationalError("INSERT", {}, Exception("database or disk is full")), True),
        (OSError(5, "Input/output error"), False),
        (ValueError("No space left on device"), False),  # somebody's text, no error of a disk
    ],
)
def test_a_full_disk_is_recognised_whoever_reports_it(error: Exception, full: bool) -> None:
    assert is_full_disk(error) == full
