"""SQL: SQLite by default, PostgreSQL by URL. SQLAlchemy Core, migrated by Alembic.

SQLite runs in WAL mode with `synchronous=FULL`, and writers begin with BEGIN IMMEDIATE. PostgreSQL behaves the same:
`read` is one consistent view, and the writers of one service take turns by an advisory lock, so a value that was read
in a write transaction cannot change before the transaction ends. All calls block: services call them in threads.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect as inspection
import sqlite3
import time
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import tenacity
from alembic import command, context
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Connection,
    Engine,
    ExceptionContext,
    MetaData,
    Select,
    Table,
    and_,
    create_engine,
    event,
    inspect,
    or_,
    select,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.chassis import job_time, logs, metrics
from services.chassis.case_folding import CONTAINS_FUNCTION, contains
from services.chassis.data_folder import files_in
from services.chassis.database_options import DatabaseOptions
from services.chassis.dependency import Dependency
from services.chassis.errors import PrismaError, StorageFull, Unavailable
from services.chassis.files import is_full_disk
from services.chassis.settings import ChassisSettings
from services.chassis.startup import StartRefused

BUSY_SECONDS = 30
RECLAIM_SECONDS = 3600
_OLD_VERSION_TABLE = "alembic_version"
"""The name that all services used before each had a version table of its own."""
_LOCK_NAMESPACE = "prisma"
_FREE_PAGES = 256
"""Free pages of a SQLite file, of 4 KiB each, that are kept for what is written next."""
_PAGES_AT_ONCE = 4096
_OUTAGES = frozenset({"08", "40", "53", "57"})
"""PostgreSQL's classes of errors after which the same transaction may succeed: connection, deadlock or failed
serialization, resources, and an operator's intervention or a statement's timeout."""
_TIMEOUTS = frozenset({"55P03", "57014"})
"""Of a lock and of a statement."""
_CONFLICT = "40"
_ADMIN_SHUTDOWN = "57P01"
"""A server that ends a session commits first or not at all, and says this only if it has not."""
_REPEAT_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Pauses before a transaction is repeated."""
_DEADLINE_SECONDS = 15.0
"""No transaction is repeated this long after its first failure; each repeat may wait for a connection."""
_POOL_SECONDS = 30
_READ_ONLY = "25006"
_FORBIDDEN = frozenset({"42501", "3F000"})
_SNAPSHOT = "REPEATABLE READ"
_CONNECTING = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""libpq's parameters, where the URL does not set them: a host that has vanished is noticed within 25 seconds."""

_ONCE = set[Callable[..., Any]]()
_P = ParamSpec("_P")
_T = TypeVar("_T")

_log = logs.get(__name__)


class DatabaseUnavailable(Unavailable):
    """The database does not answer, or stayed locked for 30 seconds.

    repeatable: whether the transaction certainly changed nothing and may succeed at once in another session.
    """

    reason = "SERVICE_UNAVAILABLE"

    def __init__(self, message: str, *, service: str, repeatable: bool = False) -> None:
        super().__init__(message, metadata={"service": f"{service} database"})
        self.repeatable = repeatable


class Database:
    """One service's database, or its part of a database that services share."""

    def __init__(
        self, url: str, migrations: Path, *, service: str | None = None, options: DatabaseOptions | None = None
    ) -> None:
        """Opens lazily: nothing is connected before the first use. Raises StartRefused.

        url: SQLAlchemy URL; `postgresql://` means the driver psycopg 3.
        migrations: the service's Alembic folder.
        service: its name; the name of the folder above `migrations` by default.
        options: how a PostgreSQL server is used.
        """
        self.url = url
        self.service = service or migrations.parent.name
        self._migrations = migrations
        self._options = options or DatabaseOptions()
        self._engine = _open(url, self._options)
        self._write_count = 0
        _measure_connections(self.service, self._engine)

    @property
    def write_count(self) -> int | None:
        """How many transactions have ended: what was read stays true while it is the same. None if `shared`."""
        return None if self.shared else self._write_count

    @property
    def shared(self) -> bool:
        """Whether processes on several hosts can use this database at once."""
        return self._engine.dialect.name != "sqlite"

    def prepare(self, *, beside: Path | None = None) -> None:
        """Migrates, or with the option `migrate=False` checks that this was done. Raises like `migrate`."""
        if self._options.migrate:
            self.migrate(beside=beside)
            return
        config = self._alembic()
        with _refusing_missing_rights(self), self.read() as connection:
            versions = _Versions(connection, f"alembic_{self.service}")
            versions.refuse_newer(config, self)
            versions.refuse_older(config, self)

    def migrate(self, *, beside: Path | None = None) -> None:
        """Brings the tables to this version's schema, in one transaction; processes that start together take turns.

        beside: the folder of the service's stored files.
        Raises StartRefused for a database of a newer version and for an empty one beside stored files, and
        DatabaseUnavailable.
        """
        if beside is not None and self.is_new() and (file := next(files_in(beside), None)) is not None:
            raise StartRefused(
                f"the {self.service}'s database {address_of(self)} is empty, but {beside} holds files of an earlier "
                f"one ({file.relative_to(beside)} …): restore the database with them (`prisma restore`), correct "
                "PRISMA_DATA_DIR or PRISMA_DATABASE_URL, or move that folder away to start with nothing"
            )
        config = self._alembic()
        with _refusing_missing_rights(self), self._write(None, bounded=False) as connection:
            schema = self._options.schema
            if self.shared and schema is not None and not inspect(connection).has_schema(schema):
                connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
            versions = _Versions(connection, f"alembic_{self.service}")
            versions.adopt_old_table(config)
            versions.refuse_newer(config, self)
            config.attributes["connection"] = connection
            config.attributes["version_table"] = versions.table
            command.upgrade(config, "head")

    def _alembic(self) -> Config:
        config = Config()
        config.set_main_option("script_location", str(self._migrations))
        return config

    def is_new(self) -> bool:
        """Whether no version of the service has migrated this database yet."""
        with self.read() as connection:
            return not {f"alembic_{self.service}", _OLD_VERSION_TABLE} & set(inspect(connection).get_table_names())

    @contextmanager
    def read(self) -> Generator[Connection]:
        """One consistent view of the database, in which nothing is written. Raises DatabaseUnavailable."""
        with (
            metrics.transactions(self.service, "read").time(),
            job_time.during(job_time.Part.STORAGE),
            _reporting_outages(self),
            self._engine.connect() as connection,
        ):
            if self.shared:
                connection = connection.execution_options(isolation_level=_SNAPSHOT)
            with connection.begin():
                if self.shared:
                    connection.exec_driver_sql(f"SET TRANSACTION READ ONLY; {self._options.begin(bounded=True)}")
                yield connection

    @contextmanager
    def write(self, resource: str | None = None) -> Generator[Connection]:
        """A transaction: committed at the end, rolled back by an error. Don't nest two of them.

        The writers of a service take turns, so a check at the beginning of the transaction still holds at its end.
        With `resource` (a uid), on PostgreSQL only writers of the same resource do, and those without a resource.
        Raises DatabaseUnavailable, StorageFull.
        """
        with self._write(resource, bounded=True) as connection:
            yield connection

    @contextmanager
    def _write(self, resource: str | None, *, bounded: bool) -> Generator[Connection]:
        """bounded: whether statements and waits have the limits of the options."""
        with (
            metrics.transactions(self.service, "write").time(),
            job_time.during(job_time.Part.STORAGE),
            _reporting_outages(self) as attempt,
            self._engine.connect() as connection,
        ):
            connection.info["begin"] = "BEGIN IMMEDIATE"
            start = time.perf_counter()
            try:
                with connection.begin():
                    if self.shared:
                        locks = _locks(self._lock_name, resource)
                        connection.exec_driver_sql("; ".join([self._options.begin(bounded=bounded), *locks]))
                    metrics.lock_waits(self.service).observe(time.perf_counter() - start)
                    yield connection
                    attempt.is_committing = True
            finally:
                self._write_count += 1
                connection.info.pop("begin", None)

    @property
    def _lock_name(self) -> str:
        """Services with schemas of their own do not wait for those of other installations in the same database."""
        schema = self._options.schema
        return self.service if schema is None else f"{schema}.{self.service}"

    def check(self) -> None:
        """Raises DatabaseUnavailable when the database does not answer."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def reclaim_space(self) -> None:
        """Gives space that deletions have freed back to the file system, in parts, so that writers get their turn.

        A file of an older version is first rewritten once, with all writers waiting. PostgreSQL does all this itself.
        Raises DatabaseUnavailable, StorageFull, DBAPIError, sqlite3.Error.
        """
        if self.shared:
            return
        with self._outside_transactions() as connection:
            if _pragma(connection, "auto_vacuum") == 0:
                connection.exec_driver_sql("PRAGMA auto_vacuum=INCREMENTAL")
                connection.exec_driver_sql("VACUUM")
            while _pragma(connection, "freelist_count") >= _FREE_PAGES:
                cursor = connection.connection.cursor()
                cursor.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
                cursor.fetchall()  # it has no rows, but takes a step for each page
                cursor.close()
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()

    @contextmanager
    def _outside_transactions(self) -> Generator[Connection]:
        """A connection of which each statement is a transaction of its own."""
        with _reporting_outages(self), self._engine.connect() as connection:
            connection.info["begin"] = ""
            try:
                yield connection
            finally:
                connection.info.pop("begin", None)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()


@dataclass(frozen=True)
class _Versions:
    """Which migration a database is at."""

    connection: Connection
    table: str

    def adopt_old_table(self, config: Config) -> None:
        """Takes over `alembic_version`, which all services shared, if it is the one of this service.

        It is if one of the service's tables exists and the service has no version table yet.
        """
        tables = set(inspect(self.connection).get_table_names())
        if self.table in tables or _OLD_VERSION_TABLE not in tables:
            return
        if tables & _first_tables(config):
            self.connection.execute(text(f"ALTER TABLE {_OLD_VERSION_TABLE} RENAME TO {self.table}"))

    @property
    def current(self) -> str | None:
        """The migration that the database is at; None before the first."""
        if self.table not in inspect(self.connection).get_table_names():
            return None
        return self.connection.execute(text(f"SELECT version_num FROM {self.table}")).scalar()  # noqa: S608

    def refuse_older(self, config: Config, database: Database) -> None:
        """Raises StartRefused unless the database is at this version's last migration."""
        current, head = self.current, ScriptDirectory.from_config(config).get_current_head()
        if current != head:
            state = "has no tables yet" if current is None else f"is at schema {current}"
            raise StartRefused(
                f"the {database.service}'s database {address_of(database)} {state}, this version needs schema {head}: "
                f"run `python -P -m services.{database.service} migrate`, or unset PRISMA_MIGRATE=off"
            )

    def refuse_newer(self, config: Config, database: Database) -> None:
        """Raises StartRefused if the database is at a migration that this version does not have."""
        revisions = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        version = self.current
        if version is not None and version not in revisions:
            raise StartRefused(
                f"the {database.service}'s database {address_of(database)} was written by a newer version of PRISMA "
                f"(schema {version}, this version knows up to {max(revisions)}): install that version again, or "
                "restore a backup that this version made"
            )


def address_of(database: Database) -> str:
    """Where a database is, for people: without user, password and options."""
    url = make_url(database.url)
    return url.database or "in memory" if url.get_backend_name() == "sqlite" else f"{url.host}/{url.database}"


def repeated(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """Repeats a method whose transaction was undone by a lost connection or a conflict.

    The pauses are about four seconds in all. Where attempts take long, no new one begins after 15 seconds.

    The method may run several transactions where each of them can be repeated. Methods that call such methods are
    not repeated once more.
    """

    @functools.wraps(method)
    def repeating(*arguments: _P.args, **keywords: _P.kwargs) -> _T:
        deadline = float("inf")
        for seconds in _REPEAT_SECONDS:
            try:
                return method(*arguments, **keywords)
            except DatabaseUnavailable as error:
                if not error.repeatable:
                    raise
                deadline = min(deadline, time.monotonic() + _DEADLINE_SECONDS)
                if time.monotonic() + seconds >= deadline:
                    error.repeatable = False
                    raise
            time.sleep(seconds)
        try:
            return method(*arguments, **keywords)
        except DatabaseUnavailable as error:
            error.repeatable = False
            raise

    return repeating


def once(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """Keeps `repeats_transactions` off a method that calls back what must not be called again."""
    _ONCE.add(method)
    return method


def repeats_transactions(store: type[_T]) -> type[_T]:
    """A class decorator for stores: `repeated` for all methods but generators and those that run `once`."""
    for name, value in list(vars(store).items()):
        is_method = inspection.isfunction(value) and not inspection.isgeneratorfunction(value)
        if is_method and name != "__init__" and value not in _ONCE:
            setattr(store, name, repeated(value))
    return store


def open_database(settings: ChassisSettings, service: str, folder: Path) -> Database:
    """The database of a service; `folder` is its package, which has its migrations. Raises StartRefused."""
    return Database(settings.database_of(service), folder / "migrations", options=settings.database_options(service))


def migrate_and_close(database: Database, beside: Path) -> str:
    """The command `migrate`; returns the address of the database. Raises like `Database.migrate`."""
    try:
        database.migrate(beside=beside)
    finally:
        database.close()
    return address_of(database)


def newest_first(table: Table, after: Sequence[Any] | None, limit: int) -> Select[Any]:
    """Rows by `create_time`, the newest first, ties by `uid`; those behind the (ISO time, uid) of `after`."""
    query = select(table).order_by(table.c.create_time.desc(), table.c.uid).limit(limit)
    if after is None:
        return query
    moment = datetime.fromisoformat(after[0])
    tied = and_(table.c.create_time == moment, table.c.uid > after[1])
    return query.where(or_(table.c.create_time < moment, tied))


def run_migrations(metadata: MetaData) -> None:
    """Runs the migrations on the connection of `Database.migrate`; the only call in a service's Alembic `env.py`."""
    attributes = context.config.attributes
    context.configure(
        connection=attributes["connection"],
        version_table=attributes["version_table"],
        target_metadata=metadata,
        render_as_batch=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _first_tables(config: Config) -> set[str]:
    """The tables that the service's first migration creates (its constant TABLES)."""
    script = ScriptDirectory.from_config(config)
    base = script.get_revision(script.get_base() or "base")
    return set(base.module.TABLES)


def _locks(name: str, resource: str | None) -> list[str]:
    """SQL that takes a service's write lock until the transaction ends: exclusive, or shared and one resource's."""
    if resource is None:
        return [f"SELECT pg_advisory_xact_lock({_lock_key(name)})"]
    return [
        f"SELECT pg_advisory_xact_lock_shared({_lock_key(name)})",
        f"SELECT pg_advisory_xact_lock({_lock_key(f'{name}/{resource}')})",
    ]


def _lock_key(name: str) -> int:
    digest = hashlib.sha256(f"{_LOCK_NAMESPACE}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@dataclass
class _Attempt:
    """One transaction."""

    is_committing: bool = False
    """What happens to it from now on is unknown if the connection is lost."""


@contextmanager
def _reporting_outages(database: Database) -> Generator[_Attempt]:
    """Turns a driver's error about a full disk, a lost connection or a lock into our own."""
    attempt = _Attempt()
    try:
        yield attempt
    except DBAPIError as error:
        if is_full_disk(error):
            raise StorageFull(
                f"no space left for the {database.service}'s database {address_of(database)}: free some, then retry"
            ) from error
        if _is_outage(error):
            raise DatabaseUnavailable(
                f"the {database.service}'s database {address_of(database)} does not answer: {_first_line(error)}",
                service=database.service,
                repeatable=database.shared and _is_repeatable(_state(error), attempt),
            ) from error
        raise
    except PoolTimeout as error:
        raise DatabaseUnavailable(
            f"all connections to the {database.service}'s database {address_of(database)} were in use for "
            f"{_POOL_SECONDS} s: retry, or raise PRISMA_DATABASE_CONNECTIONS",
            service=database.service,
        ) from error


@contextmanager
def _refusing_missing_rights(database: Database) -> Generator[None]:
    """Raises StartRefused where PostgreSQL says that the role may not do something."""
    try:
        yield
    except DBAPIError as error:
        if _state(error) not in _FORBIDDEN:
            raise
        raise StartRefused(
            f"the {database.service}'s role in the database {address_of(database)} lacks a right: "
            f"{_first_line(error)}; grant it, or let the owner of the tables run "
            f"`python -P -m services.{database.service} migrate`"
        ) from error


def _note_standby(context: ExceptionContext) -> None:
    """A server that refuses to write is a standby since a failover: no connection to it is of use any more."""
    if getattr(context.original_exception, "sqlstate", None) != _READ_ONLY or context.connection is None:
        return
    if context.connection.get_execution_options().get("isolation_level") != _SNAPSHOT:
        context.is_disconnect = True


def _is_outage(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if not isinstance(error, OperationalError):
        return False
    name = getattr(error.orig, "sqlite_errorname", None)
    if name is not None:
        return str(name).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    state = _state(error)
    return state is None or state[:2] in _OUTAGES or state in _TIMEOUTS


def _is_repeatable(state: str | None, attempt: _Attempt) -> bool:
    """Whether a transaction of PostgreSQL was undone for sure, by what may not happen again."""
    if attempt.is_committing:
        return state is not None and (state[:2] == _CONFLICT or state == _ADMIN_SHUTDOWN)
    return state not in _TIMEOUTS


def _state(error: DBAPIError) -> str | None:
    """PostgreSQL's code of an error."""
    return getattr(error.orig, "sqlstate", None)


def _first_line(error: DBAPIError) -> str:
    return next(iter(str(error.orig).splitlines()), type(error).__name__)


def _measure_connections(service: str, engine: Engine) -> None:
    """Has the metrics show the connections of an engine, for as long as it is used."""
    pool = weakref.ref(engine.pool)

    def count(method: str) -> float:
        counter = getattr(pool(), method, None)  # the pool of a database in memory counts nothing
        return counter() if counter else 0

    for state, method in (("in_use", "checkedout"), ("idle", "checkedin")):
        metrics.connections.labels(service, state).set_function(partial(count, method))


def _open(url: str, options: DatabaseOptions) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return _open_postgresql(url, options)
    if options.schema is not None:
        raise StartRefused("PRISMA_DATABASE_SCHEMA is for PostgreSQL: set PRISMA_DATABASE_URL=postgresql://… too")
    if parsed.get_backend_name() != "sqlite":
        raise StartRefused(f"PRISMA_DATABASE_URL: expected sqlite:// or postgresql://, got {parsed.drivername}://")
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_postgresql(url: str, options: DatabaseOptions) -> Engine:
    parsed = make_url(url)
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    size, overflow = options.pool
    arguments: dict[str, Any] = {name: value for name, value in _CONNECTING.items() if name not in parsed.query}
    if not options.prepared:
        arguments["prepare_threshold"] = None
    try:
        engine = create_engine(
            parsed,
            pool_pre_ping=True,
            pool_size=size,
            max_overflow=overflow,
            pool_timeout=_POOL_SECONDS,
            isolation_level="READ COMMITTED",
            connect_args=arguments,
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise StartRefused(
            "PRISMA_DATABASE_URL names PostgreSQL, and its driver is missing: pip install 'psycopg[binary]'"
        ) from error
    event.listen(engine, "handle_error", _note_standby)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event writes BEGIN, not the driver
    cursor = connection.cursor()
    cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")  # has an effect on a new file only, before its first page
    _use_write_ahead_log(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
    connection.create_function(CONTAINS_FUNCTION, 2, contains, deterministic=True)


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(sqlite3.OperationalError),
    wait=tenacity.wait_fixed(0.02),
    stop=tenacity.stop_after_delay(BUSY_SECONDS),
    reraise=True,
)
def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    """Retries while another connection makes the same change: SQLite answers "locked" without its busy timeout then."""
    cursor.execute("PRAGMA journal_mode=WAL")


def _begin_sqlite(connection: Connection) -> None:
    if statement := connection.info.get("begin", "BEGIN"):
        connection.exec_driver_sql(statement)


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


async def reclaim_space_hourly(database: Database) -> None:
    """Reclaims a database's space at start and every hour, until cancelled. Errors are logged."""
    while True:
        try:
            await asyncio.to_thread(database.reclaim_space)
        except (PrismaError, DBAPIError, sqlite3.Error) as error:
            _log.info("space of the database is reclaimed later", error=str(error))
        await asyncio.sleep(RECLAIM_SECONDS)


def database_dependency(database: Database) -> Dependency:
    """A service's database as a dependency that its status shows."""

    async def check() -> Mapping[str, str]:
        await asyncio.to_thread(database.check)
        return {}

    return Dependency("database", database.url.partition("?")[0].rpartition("@")[2], check)
