"""Every service's migrations, on SQLite and PostgreSQL: from nothing, from older databases, side by side."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, inspect, text
from sqlalchemy.engine import make_url

from services.chassis.database import Database
from services.chassis.database_options import DatabaseOptions
from services.chassis.settings import ChassisSettings
from services.chassis.startup import StartRefused

SERVICES = ("embedder", "trainer", "interpreter")
ROOT = Path(__file__).parents[2]
ROLE = "prisma_without_rights"
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


@pytest.fixture
def unmigrated(postgres_url: str) -> Iterator[Database]:
    """The embedder's database on PostgreSQL, as a role that may not create tables and migrates nothing."""
    with closing(open_database("embedder", postgres_url)) as owner, owner.write() as connection:
        for statement in (
            f"CREATE ROLE {ROLE} LOGIN",
            f"ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {ROLE}",
        ):
            connection.execute(text(statement))
    limited = Database(
        postgres_url.replace("prisma@", f"{ROLE}@"),
        ROOT / "services/embedder/migrations",
        options=DatabaseOptions(migrate=False),
    )
    yield limited
    limited.close()
    with closing(open_database("embedder", postgres_url)) as owner, owner.write() as connection:
        connection.execute(text(f"DROP OWNED BY {ROLE}"))
        connection.execute(text(f"DROP ROLE {ROLE}"))


def test_a_service_that_does_not_migrate_names_the_command(postgres_url: str, unmigrated: Database) -> None:
    with pytest.raises(StartRefused, match=r"has no tables yet, this version needs schema \d+: run `python -P -m"):
        unmigrated.prepare()
    owner = open_database("embedder", postgres_url)
    owner.migrate()
    unmigrated.prepare()
    with owner.write() as connection:
        connection.execute(text("UPDATE alembic_embedder SET version_num = '0003'"))
    with pytest.raises(StartRefused, match=r"is at schema 0003, this version needs schema \d+"):
        unmigrated.prepare()
    with owner.write() as connection:
        connection.execute(text("UPDATE alembic_embedder SET version_num = '9999'"))
    with pytest.raises(StartRefused, match="written by a newer version"):
        unmigrated.prepare()
    owner.close()


def test_each_service_has_a_schema_of_its_own_where_the_settings_say_so(postgres_url: str) -> None:
    databases = []
    for service in SERVICES:
        options = ChassisSettings(database_schema="prisma_{service}").database_options(service)
        databases.append(Database(postgres_url, ROOT / f"services/{service}/migrations", options=options))
        assert databases[-1].is_new()
        databases[-1].migrate()
        assert not databases[-1].is_new()
    for database in databases:
        assert differences(database) == []
        with database.read() as connection:
            assert set(inspect(connection).get_table_names()) == {
                *metadata_of(database.service).tables,
                f"alembic_{database.service}",
            }
        database.close()
    with closing(open_database("embedder", postgres_url)) as unset, unset.read() as connection:
        assert inspect(connection).get_table_names() == []


def test_a_role_with_the_documented_rights_migrates_and_serves_and_one_without_is_told(postgres_url: str) -> None:
    owner, service = (f"{kind}_{uuid.uuid4().hex[:12]}" for kind in ("owner", "service"))
    migrations, url = ROOT / "services/embedder/migrations", make_url(postgres_url)
    owned, served = (
        Database(
            url.set(username=role).render_as_string(hide_password=False),
            migrations,
            options=DatabaseOptions(schema="prisma", migrate=role == owner),
        )
        for role in (owner, service)
    )

    def administer(*statements: str) -> None:
        with psycopg.connect(postgres_url, autocommit=True) as operator:
            for statement in statements:
                operator.execute(statement)  # pyright: ignore - the statements are our own

    administer(f"CREATE ROLE {owner} LOGIN", f"CREATE ROLE {service} LOGIN")
    with closing(owned), closing(served):
        with pytest.raises(StartRefused, match="lacks a right: permission denied for database"):
            owned.prepare()
        administer(f"CREATE SCHEMA prisma AUTHORIZATION {owner}")  # and no right to create schemas
        owned.prepare()
        administer(f"GRANT USAGE ON SCHEMA prisma TO {service}")
        with pytest.raises(StartRefused, match="lacks a right: permission denied for table"):
            served.prepare()
        administer(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA prisma TO {service}")
        served.prepare()
        with served.write() as connection:
            connection.execute(text("DELETE FROM datasets"))
    administer(f"DROP OWNED BY {owner}, {service}", f"DROP ROLE {owner}, {service}")


@pytest.mark.parametrize("schema", ["Prisma", "a b", "{service", 'a"; DROP'])
def test_a_schema_that_is_no_name_is_refused(schema: str) -> None:
    with pytest.raises(StartRefused, match="PRISMA_DATABASE_SCHEMA: expected a name"):
        ChassisSettings(database_schema=schema).database_options("embedder")
