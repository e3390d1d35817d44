"""What the chassis's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.chassis.database import Database
from tests.chassis.owner import METADATA


@pytest.fixture
def database(database_url: str, tmp_path: Path) -> Iterator[Database]:
    """A database with the shared tables, on SQLite and PostgreSQL."""
    opened = Database(database_url, tmp_path, service="test")
    with opened.write() as connection:
        METADATA.create_all(connection)
    yield opened
    opened.close()
