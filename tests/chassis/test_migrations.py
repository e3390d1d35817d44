"""Every service's migrations, on SQLite and PostgreSQL: from nothing, from older databases, side by side."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, inspect, text

from services.chassis.database import Database
from services.chassis.startup import StartRefused

SERVICES = ("embedder", "trainer", "interpreter")
ROOT = Path(__file__).parents[2]
SCHEMAS = Path(__file__).parent / "schemas"
"""The schemas of the first version, before each service had a version table of its own."""


def open_database(service: str, url: str) -> Database:
    return Database(url, ROOT / f"services/{service}/migrations")


def metadata_of(service: str) -> MetaData:
    return importlib.import_module(f"services.{service}.tables").METADATA


def differences(database: Database) -> list[Any]:
    """How the migrated tables differ from those that the service's code expects; other services' are left out."""
    metadata = metadata_of(database.service)
    own = {"include_name": lambda name, kind, _parents: kind != "table" or name in metadata.tables}
    with database.read() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts=own), metadata)


def create_old(service: str, url: str) -> None:
    """A database as the first version wrote it."""
    kind = "sqlite" if url.startswith("sqlite") else "postgresql"
    database = open_database(service, url)
    with database.write() as connection:
        for statement in (SCHEMAS / f"{service}.{kind}.sql").read_text().split(";\n"):
            if statement.strip():
                connection.execute(text(statement))
    database.close()


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_create_the_tables_that_the_code_expects(service: str, database_url: str) -> None:
    database = open_database(service, database_url)
    assert database.is_new()
    database.migrate()
    database.migrate()
    assert not database.is_new()
    assert differences(database) == []
    database.close()


@pytest.mark.parametrize("service", SERVICES)
def test_a_database_of_the_first_version_is_upgraded(service: str, database_url: str) -> None:
    create_old(service, database_url)
    database = open_database(service, database_url)
    assert not database.is_new()
    database.migrate()
    assert differences(database) == []
    with database.read() as connection:
        assert "alembic_version" not in inspect(connection).get_table_names()
    database.close()


@pytest.mark.parametrize("service", ["trainer", "interpreter"])
def test_a_first_version_that_stopped_after_its_first_migration_is_upgraded(service: str, database_url: str) -> None:
    create_old(service, database_url)  # its 0001 created the columns of 0002 too
    database = open_database(service, database_url)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    database.migrate()
    assert differences(database) == []
    database.close()


@pytest.mark.parametrize("order", [SERVICES, SERVICES[::-1]])
def test_all_services_share_one_database(order: tuple[str, ...], database_url: str) -> None:
    for service in order:
        open_database(service, database_url).migrate()
    for service in order:
        assert differences(open_database(service, database_url)) == []


@pytest.mark.parametrize("order", [SERVICES, SERVICES[::-1]])
def test_services_share_a_database_that_the_embedder_of_the_first_version_wrote(
    order: tuple[str, ...], database_url: str
) -> None:
    create_old("embedder", database_url)
    for service in order:
        open_database(service, database_url).migrate()
    for service in order:
        assert differences(open_database(service, database_url)) == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_database_of_a_newer_version_is_refused_in_one_sentence(service: str, database_url: str) -> None:
    database = open_database(service, database_url)
    database.migrate()
    with database.write() as connection:
        connection.execute(text(f"UPDATE alembic_{service} SET version_num = '9999'"))
    with pytest.raises(StartRefused, match=r"written by a newer version of PRISMA \(schema 9999"):
        database.migrate()
    database.close()


@pytest.mark.parametrize("service", SERVICES)
def test_processes_that_start_together_on_an_empty_database_all_start(service: str, database_url: str) -> None:
    databases = [open_database(service, database_url) for _ in range(6)]
    with ThreadPoolExecutor(len(databases)) as pool:
        list(pool.map(Database.migrate, databases))
    assert differences(databases[0]) == []
    for database in databases:
        database.close()
