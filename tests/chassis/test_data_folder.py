"""A data folder is used by one process, is never started with an empty database, and keeps no leftovers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.chassis import data_folder
from services.chassis.database import Database
from services.chassis.files import whole
from services.chassis.startup import StartRefused

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from services.chassis import data_folder
with data_folder.opened(Path(sys.argv[1]), "embedder", shared=False):
    print("open", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """A process that uses the folder until its stdin is closed, or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while "open" not in process.stdout.readline():
        assert process.poll() is None
    return process


def test_a_second_process_is_refused_and_told_by_whom_until_the_first_dies(tmp_path: Path) -> None:
    first = hold(tmp_path)
    try:
        refusal = rf"another embedder \(process {first.pid}\) uses .*PRISMA_DATABASE_URL"
        with pytest.raises(StartRefused, match=refusal), data_folder.opened(tmp_path, "embedder", shared=False):
            pass
        with data_folder.opened(tmp_path, "embedder", shared=True):
            pass
    finally:
        first.kill()
        first.wait()
    with data_folder.opened(tmp_path, "embedder", shared=False):
        pass


def test_an_empty_database_beside_stored_files_is_refused(database_url: str, tmp_path: Path) -> None:
    blobs = tmp_path / "embedder/blobs"
    (blobs / "vectors").mkdir(parents=True)
    database = Database(database_url, ROOT / "services/embedder/migrations")
    database.migrate(beside=blobs)  # folders alone are nothing
    database.close()
    (blobs / "vectors/1.npy").write_bytes(b"1")
    database.migrate(beside=blobs)  # a database that has been migrated is fine
    empty = Database(f"sqlite:///{tmp_path / 'empty.db'}", ROOT / "services/embedder/migrations")
    with pytest.raises(StartRefused, match=r"is empty, but .*vectors/1\.npy.*prisma restore"):
        empty.migrate(beside=blobs)
    empty.close()


def write_leftovers(folder: Path) -> None:
    (folder / "scratch/statistics-1").mkdir(parents=True)
    (folder / "scratch/statistics-1/spool").write_bytes(b"1")
    (folder / "import-abc_1").write_bytes(b"1")
    (folder / "blobs").mkdir()
    (folder / f"blobs/.shard.npy.{'0' * 32}").write_bytes(b"1")
    for path in ("embedder.db", "blobs/shard.npy", "blobs/.hidden", "blobs/import.npy"):
        (folder / path).write_bytes(b"1")


OWN_FILES = {".lock", "embedder.db", "blobs/shard.npy", "blobs/.hidden", "blobs/import.npy"}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_a_killed_process_left_is_deleted_at_start_and_nothing_else(tmp_path: Path) -> None:
    write_leftovers(tmp_path)
    with data_folder.opened(tmp_path, "embedder", shared=False):
        assert files(tmp_path) == OWN_FILES


def test_in_a_shared_folder_only_old_leftovers_are_deleted(tmp_path: Path) -> None:
    write_leftovers(tmp_path)
    before = files(tmp_path)
    with data_folder.opened(tmp_path, "embedder", shared=True):
        assert files(tmp_path) == before
    day_ago = time.time() - data_folder.LEFTOVER_SECONDS - 1
    for path in tmp_path.rglob("*"):
        os.utime(path, (day_ago, day_ago))
    with data_folder.opened(tmp_path, "embedder", shared=True):
        assert files(tmp_path) == OWN_FILES - {".lock"}


def test_a_temporary_file_of_an_interrupted_write_is_recognised(tmp_path: Path) -> None:
    copy: Path | None = None
    with pytest.raises(KeyboardInterrupt), whole(tmp_path / "weights.safetensors") as file:
        temporary = Path(file.name)
        copy = temporary.with_name(temporary.name.replace("weights", "copied"))
        copy.write_bytes(b"1")  # as kill -9 leaves it
        raise KeyboardInterrupt
    assert data_folder.delete_leftovers(tmp_path, older_than_seconds=0) == [copy]
