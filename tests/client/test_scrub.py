"""A scrub finds every stored file that is missing, cut or changed."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from prisma_client.cli.scrub import scrub


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder with files of two services, as their databases record them."""
    for service, folder in (("embedder", "vectors"), ("trainer", "runs")):
        files = tmp_path / service / "blobs" / folder
        files.mkdir(parents=True)
        with closing(sqlite3.connect(tmp_path / service / f"{service}.db")) as database:
            database.execute(f"CREATE TABLE {service}_blobs (path TEXT, size INTEGER, digest TEXT, create_time TEXT)")
            for number in range(4):
                content = bytes([number]) * 1000
                (files / str(number)).write_bytes(content)
                row = (f"{folder}/{number}", len(content), hashlib.sha256(content).hexdigest())
                database.execute(f"INSERT INTO {service}_blobs VALUES (?, ?, ?, '')", row)
            database.commit()
    return tmp_path


def test_undamaged_files_are_counted(data_dir: Path) -> None:
    assert [(result.service, result.checked, result.damaged) for result in scrub(data_dir)] == [
        ("embedder", 4, []),
        ("trainer", 4, []),
    ]


def test_each_kind_of_damage_is_named(data_dir: Path) -> None:
    vectors = data_dir / "embedder/blobs/vectors"
    (vectors / "0").unlink()
    (vectors / "1").write_bytes(b"short")
    (vectors / "2").write_bytes(b"\x00" + bytes([2]) * 999)
    embedder, trainer = scrub(data_dir)
    assert embedder.damaged == [
        ("vectors/0", "is missing"),
        ("vectors/1", "has 5 bytes instead of 1,000"),
        ("vectors/2", "has changed"),
    ]
    assert trainer.damaged == []
