"""Archives and workbooks that are damaged, hostile or large: refused in one sentence, in little memory."""

from __future__ import annotations

import asyncio
import bz2
import errno
import gzip
import io
import lzma
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import psutil
import pyarrow as pa
import pytest
from backports import zstd
from pyarrow import ipc

from services.chassis.errors import Cancelled
from services.embedder.errors import FileTooLarge, InvalidFile
from services.embedder.files import archives, tables
from services.embedder.files.archives import Unpacking
from services.embedder.files.documents import read_documents
from services.embedder.files.formats import FileOptions, Limits, Reader
from services.embedder.files.opening import open_file
from services.embedder.files.spreadsheet import SpreadsheetReader
from services.embedder.import_records import ImportRecords
from services.embedder.imports import Chunk, FileReuse, ImportPlan, Imports
from services.embedder.items import FieldOptions, Fields, Rejection
from services.embedder.providers import EmbeddingModels
from services.embedder.store import Store
from services.embedder.vector_store import VectorStore
from tests.archives import zipped
from tests.embedder.hostile_files import cell, tarred, workbook

LIMITS = Limits(item_bytes=1 << 22, file_bytes=1 << 26)


def opened(data: bytes, options: FileOptions | None = None) -> Reader:
    return open_file(io.BytesIO(data), options or FileOptions(), LIMITS)


def values(data: bytes) -> list[object]:
    return [value for _place, value in opened(data).items()]


def test_a_workbook_is_read_by_a_process_of_its_own() -> None:
    rows = f'<row r="1">{cell("A1", "id")}{cell("B1", "text")}</row><row r="2">{cell("A2", "a")}</row>'
    rows += f'<row r="4">{cell("A4", "b")}{cell("B4", "Text")}</row>'
    items = list(opened(workbook(rows)).items())
    assert items == [(1, {"id": "a"}), (3, {"id": "b", "text": "Text"})]


@pytest.mark.parametrize("place", ["XFD1048576", "ZZZZZZZZZZ2"])
def test_a_workbook_with_a_cell_far_away_ends_its_own_process_alone(place: str) -> None:
    row = f'<row r="1">{cell("A1", "id")}{cell("B1", "text")}</row><row r="1048576">{cell(place, "x")}</row>'
    with pytest.raises((FileTooLarge, InvalidFile), match="workbook"):
        opened(workbook(row))


TEXT_FILES = {f"{number}.txt": b"A text." * 200 for number in range(9)}
_MEMBER_BYTES = 512 + 1536


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut between members": lambda data: data[: 3 * _MEMBER_BYTES],
    "cut in a header": lambda data: data[: 3 * _MEMBER_BYTES + 100],
    "cut in a member": lambda data: data[: 3 * _MEMBER_BYTES + 700],
    "damaged header": lambda data: data[: 3 * _MEMBER_BYTES] + b"?" * 200 + data[3 * _MEMBER_BYTES + 200 :],
    "zeros for a header": lambda data: data[: 3 * _MEMBER_BYTES] + b"\0" * 512 + data[3 * _MEMBER_BYTES + 512 :],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_tar_gives_no_part_of_its_documents(damage: Callable[[bytes], bytes]) -> None:
    data = tarred(TEXT_FILES)
    assert len(values(data)) == 9
    with pytest.raises(InvalidFile, match="the tar file is damaged"):
        values(damage(data))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_a_damaged_second_stream_refuses_the_file(compress: Callable[[bytes], bytes]) -> None:
    first, second = compress(b"id,text\n1,one\n2,two\n3,three\n"), compress(b"4,four\n5,five\n6,six\n")
    assert len(values(first + second)) == 6
    for damaged in (b"?" + second[1:], second[:-3], second[:6] + bytes(8) + second[14:]):
        with pytest.raises(InvalidFile, match="damaged"):
            values(first + damaged)


def test_an_archive_of_too_many_files_is_refused_before_they_are_listed() -> None:
    entry = zipped({"a": b""})
    start = entry.index(b"PK\x01\x02")
    end = entry.index(b"PK\x05\x06")
    directory = entry[start:end] * 300_000
    record = bytearray(entry[end:])
    record[12:16] = len(directory).to_bytes(4, "little")
    data = entry[:start] + directory + record
    tracemalloc.start()
    with pytest.raises(InvalidFile, match="100,000 files"):
        opened(data)
    assert tracemalloc.get_traced_memory()[1] < 48 << 20
    tracemalloc.stop()


def test_members_of_a_tar_are_counted_while_they_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 5)
    with pytest.raises(InvalidFile, match="more than 5 files"):
        opened(tarred(TEXT_FILES))


def test_a_name_of_many_bytes_is_not_read_into_memory() -> None:
    data = gzip.compress(tarred({"n" * (60 << 20): b"A text."}))
    tracemalloc.start()
    with pytest.raises(InvalidFile, match="names that are too long"):
        opened(data)
    assert tracemalloc.get_traced_memory()[1] < 48 << 20
    tracemalloc.stop()


def test_text_files_together_have_as_many_bytes_as_a_file() -> None:
    data = zipped({f"{number}.txt": b"a" * (1 << 20) for number in range(65)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(FileTooLarge):
        values(data)


def test_an_arrow_stream_cut_between_messages_is_refused() -> None:
    table = pa.table({"id": ["a", "b"], "text": ["one", "two"]})
    buffer = io.BytesIO()
    sizes: list[int] = []
    with ipc.new_stream(buffer, table.schema) as writer:
        for _ in range(3):
            writer.write_table(table)
            sizes.append(buffer.tell())
    assert len(values(buffer.getvalue())) == 6
    with pytest.raises(InvalidFile, match="cut short"):
        opened(buffer.getvalue()[: sizes[1]])


class _FullDisk(io.BytesIO):
    def write(self, _data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_no_damaged_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(_unpacking: Unpacking) -> IO[bytes]:
        return _FullDisk()

    monkeypatch.setattr(Unpacking, "temporary_file", full_disk)
    for data in (gzip.compress(b"id,text\n1,one\n"), zipped({"a.csv": b"id,text\n1,one\n"})):
        with pytest.raises(OSError, match="No space left") as caught:
            opened(data)
        assert caught.value.errno == errno.ENOSPC


CSV = b"id,text\n%d,A text.\n"


def test_tables_of_an_archive_take_no_more_open_files_the_more_they_are(tmp_path: Path) -> None:
    files = {f"{number:03}.csv": CSV % number for number in range(300)}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 20, hard))
    try:
        reader = open_file(io.BytesIO(zipped(files)), FileOptions(), LIMITS, tmp_path)
        assert [len(list(reader.items())) for _pass in range(2)] == [300, 300]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_archive_of_too_many_tables_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_TABLES", 2)
    with pytest.raises(InvalidFile, match="3 tables, at most 2"):
        opened(zipped({f"{number}.csv": CSV % number for number in range(3)}))


@pytest.mark.parametrize(
    ("files", "note"),
    [
        ({"index.csv": CSV % 1, "a.txt": b"A.", "b.txt": b"B.", "old.doc": b"x"}, "Left out: 2 .txt, 1 .doc."),
        ({"a.csv.gz": gzip.compress(CSV % 1), "notes.json.md": b"# Notes"}, "Left out: 1 .md."),
        ({"a.txt": b"A.", "README": b"Read me.", "picture.png": b"x"}, "Left out: 1 without a suffix, 1 .png."),
    ],
)
def test_files_that_are_left_out_are_said(files: dict[str, bytes], note: str) -> None:
    assert note in opened(zipped(files)).layout.notes


@pytest.mark.parametrize("suffix", [".xlsx", ".xls", ".ods", ".xlsb"])
def test_a_workbook_beside_a_table_is_a_table(suffix: str) -> None:
    rows = f'<row r="1">{cell("A1", "id")}{cell("B1", "text")}</row><row r="2">{cell("A2", "a")}</row>'
    assert values(zipped({f"a{suffix}": workbook(rows)})) == [{"id": "a"}]
    with pytest.raises(InvalidFile, match="one format"):
        opened(zipped({"a.csv": CSV % 1, f"b{suffix}": workbook(rows)}))


def test_caches_in_the_folder_of_a_dataset_give_no_rows_twice() -> None:
    table = pa.table({"id": ["a"], "text": ["one"]})
    buffer = io.BytesIO()
    with ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    files = {"d/data-0.arrow": buffer.getvalue(), "d/cache-1f.arrow": buffer.getvalue()}
    assert len(values(zipped(files | {"d/state.json": b"{}"}))) == 1
    assert len(values(zipped(files))) == 2


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"[Content_Types].xml": b"<x/>", "word/document.xml": b"<x/>"}, "a Word document"),
        ({"[Content_Types].xml": b"<x/>", "ppt/slides/slide1.xml": b"<x/>"}, "a presentation"),
        ({"mimetype": b"application/epub+zip", "META-INF/container.xml": b"<x/>", "a.html": b"<p>"}, "a book"),
        ({"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": b"<x/>"}, "document"),
    ],
)
def test_a_document_of_an_office_is_not_imported_as_its_parts(files: dict[str, bytes], kind: str) -> None:
    with pytest.raises(InvalidFile, match=f"{kind}.*save it as text"):
        opened(zipped(files))


def test_a_rejection_names_the_table_and_the_place_in_it() -> None:
    reader = opened(zipped({"a.csv": CSV % 1 + b"2,Another.\n", "b.csv": CSV % 3 + b"1,A third.\n4,\n"}))
    items = read_documents(reader, Fields("id", ("text",), None, takes_exported=False), 1000)
    rejections = [item for item in items if isinstance(item, Rejection)]
    assert [(rejection.item, rejection.message.partition(":")[0]) for rejection in rejections] == [
        (4, "b.csv, item 2"),
        (5, "b.csv, item 3"),
    ]


def test_tables_that_differ_are_read_with_a_note() -> None:
    files = {"a.csv": CSV % 1, "b.csv": "id;text;more\n2;très;x\n".encode("windows-1252")}
    notes = opened(zipped(files)).layout.notes
    for what in ("columns", "encodings", "delimiters"):
        assert f"The files differ in their {what}: 1 of 2 from 'a.csv', such as 'b.csv'." in notes


def test_guesses_of_the_encodings_of_text_files_are_said() -> None:
    files = {"a.txt": "très".encode(), "b.txt": "très".encode("windows-1252"), "c.txt": b"A text."}
    note = "1 of the first 3 files are taken as Windows-1252, as their bytes are not UTF-8."
    assert note in opened(zipped(files)).layout.notes
    assert not opened(zipped(files), FileOptions(encoding="latin-1")).layout.notes


def two_tables(data: bytes) -> bytes:
    return zipped({"a.csv": data, "b.csv": data})


@pytest.mark.parametrize("compress", [bytes, gzip.compress, two_tables])
def test_a_file_is_no_longer_unpacked_and_checked_when_it_is_stopped(compress: Callable[[bytes], bytes]) -> None:
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Cancelled):
        open_file(io.BytesIO(compress(CSV % 1)), FileOptions(), LIMITS, stopped=stopped)


def test_a_workbook_is_no_longer_read_when_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process writes nothing for a while, and is killed."""
    stopped = threading.Event()
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen[bytes]

    def start(_command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        stopped.set()
        return started[0]

    monkeypatch.setattr("services.embedder.files.spreadsheet.subprocess.Popen", start)
    with pytest.raises(Cancelled):
        SpreadsheetReader(io.BytesIO(b"x"), FileOptions(), Unpacking(None, LIMITS, stopped), LIMITS)
    assert started[0].returncode == -signal.SIGKILL


def test_the_process_of_a_workbook_dies_with_the_one_that_started_it(tmp_path: Path) -> None:
    rows = "".join(f'<row r="{row}">{cell(f"A{row}", "A text. " * 100)}</row>' for row in range(1, 500))
    (tmp_path / "a.xlsx").write_bytes(workbook(rows))  # more than a pipe holds: it waits for a reader
    script = (
        "import subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'services.embedder.files.workbook']\n"
        "process = subprocess.Popen(command, stdin=open(sys.argv[1], 'rb'), stdout=subprocess.PIPE)\n"
        "process.stdout.read(1)\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.xlsx")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    deadline = time.monotonic() + 30
    with suppress(psutil.NoSuchProcess):
        while child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)


async def test_a_cancelled_preview_ends_before_its_file_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, ended = threading.Event(), threading.Event()

    def open_slowly(file: IO[bytes], *_options: object, stopped: threading.Event) -> Reader:
        opening.set()
        assert stopped.wait(30)
        file.seek(0)  # an error if it is closed
        ended.set()
        raise Cancelled("stopped")

    async def chunks() -> AsyncIterator[Chunk]:
        yield Chunk(CSV % 1)

    monkeypatch.setattr("services.embedder.imports.open_file", open_slowly)
    plan = ImportPlan("d", FileOptions(), FieldOptions(), 1000, validate_only=True, request_id="", request=b"")
    imports = Imports(
        store=cast("Store", None),
        records=cast("ImportRecords", None),
        vectors=cast("VectorStore", None),
        models=EmbeddingModels({}),
        folder=tmp_path,
        max_bytes=1 << 20,
    )
    preview = asyncio.create_task(imports.preview(plan, chunks(), is_partial=False, reuse=FileReuse()))
    assert await asyncio.to_thread(opening.wait, 30)
    preview.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preview
    assert ended.is_set()
