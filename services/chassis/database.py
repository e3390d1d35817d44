"""SQL: SQLite by default, PostgreSQL by URL. SQLAlchemy Core, migrated by Alembic.

SQLite runs in WAL mode with `synchronous=FULL`; writers begin with BEGIN IMMEDIATE, so that two never deadlock by
upgrading a read. All calls block: services call them in threads.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic import command, context
from alembic.config import Config
from sqlalchemy import Connection, Engine, MetaData, Select, Table, and_, create_engine, event, or_, select, text

BUSY_SECONDS = 30


class Database:
    """A service's database."""

    def __init__(self, url: str, migrations: Path) -> None:
        """`migrations` is the service's Alembic folder."""
        self.url = url
        self._migrations = migrations
        self._sqlite = url.startswith("sqlite")
        self._engine = _open(url, self._sqlite)

    def migrate(self) -> None:
        """Brings the tables to this version's form."""
        config = Config()
        config.set_main_option("script_location", str(self._migrations))
        with self._engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def read(self) -> Generator[Connection]:
        """One consistent view; nothing is written."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection]:
        """A transaction: committed at the end, rolled back by an error."""
        with self._engine.connect() as connection:
            connection.info["writes"] = True
            try:
                with connection.begin():
                    yield connection
            finally:
                connection.info.pop("writes", None)

    def check(self) -> None:
        """Raises whatever the driver raises when the database does not answer."""
        with self.read() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Gives all connections back."""
        self._engine.dispose()


def newest_first(table: Table, after: Sequence[Any] | None, limit: int) -> Select[Any]:
    """Rows by `create_time`, the newest first, ties by `uid`; those behind the (ISO time, uid) given."""
    query = select(table).order_by(table.c.create_time.desc(), table.c.uid).limit(limit)
    if after is None:
        return query
    moment = datetime.fromisoformat(after[0])
    tied = and_(table.c.create_time == moment, table.c.uid > after[1])
    return query.where(or_(table.c.create_time < moment, tied))


def run_migrations(metadata: MetaData) -> None:
    """What a service's Alembic `env.py` calls."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


def _open(url: str, sqlite: bool) -> Engine:
    if not sqlite:
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})

    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's begin event below writes BEGIN, not the driver
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.info.get("writes") else "BEGIN")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin)
    return engine
