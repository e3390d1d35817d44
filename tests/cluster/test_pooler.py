"""PgBouncer in transaction mode, in which each transaction may get another session, and no prepared statement stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, insert, inspect, select, update

import services.embedder
from services.chassis.database import Database
from services.chassis.database_options import DatabaseOptions
from services.embedder.tables import METADATA
from tests.chassis.owner import METADATA as OWN
from tests.chassis.owner import THINGS
from tests.children import tied
from tests.nats_server import wait_for_port
from tests.ports import free_port

HOW = "no PgBouncer: apt-get install pgbouncer"
UID = "u" * 32
OPTIONS = DatabaseOptions(schema="prisma", prepared=False)


@pytest.fixture
def pooled_url(postgres_url: str) -> Iterator[str]:
    """The database through a pooler that has two sessions for everybody."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(HOW)
    server, port = urlsplit(postgres_url), free_port()
    folder = Path(tempfile.mkdtemp(prefix="prisma-pgbouncer-", dir="/var/tmp"))
    (folder / "users").write_text('"prisma" ""\n')
    (folder / "settings.ini").write_text(
        f"[databases]\n* = host={server.hostname} port={server.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {folder / 'users'}\npool_mode = transaction\ndefault_pool_size = 2\n"
    )
    user = "postgres" if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(tied(program, folder / "settings.ini"), stdout=output, stderr=output, user=user)
    try:
        wait_for_port(port, process, log=log)
        yield postgres_url.replace(f":{server.port}/", f":{port}/")
    finally:
        process.kill()
        process.wait(10)
        shutil.rmtree(folder)


def test_migrations_work_through_a_pooler(pooled_url: str) -> None:
    migrations = Path(services.embedder.__file__).parent / "migrations"
    with closing(Database(pooled_url, migrations, options=OPTIONS)) as database:
        database.migrate()
        assert not database.is_new()
        with database.read() as connection:
            assert set(METADATA.tables) < set(inspect(connection).get_table_names())


def test_writers_take_turns_through_a_pooler(pooled_url: str, tmp_path: Path) -> None:
    """More clients than sessions, and each statement often enough to be prepared where that were on."""
    with closing(Database(pooled_url, tmp_path, service="test", options=OPTIONS)) as database:
        database_of_owner = Database(pooled_url, tmp_path, service="test", options=DatabaseOptions(prepared=False))
        with database_of_owner.write() as connection:
            connection.exec_driver_sql("CREATE SCHEMA prisma")
        database_of_owner.close()
        with database.write() as connection:
            OWN.create_all(connection)
            connection.execute(insert(THINGS).values(uid=UID, revision=0))

        def count(_writer: int) -> None:
            for _ in range(20):
                with database.write(UID) as connection:
                    before = connection.execute(select(THINGS.c.revision)).scalar_one()
                    connection.execute(update(THINGS).values(revision=before + 1))
                with database.read() as connection:
                    connection.execute(select(func.count()).select_from(THINGS)).scalar_one()

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(count, range(6)))
        with database.read() as connection:
            assert connection.execute(select(THINGS.c.revision)).scalar_one() == 120
