"""Archives and workbooks that are damaged, hostile or large: refused in one sentence, in little memory."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from typing import IO

import pyarrow as pa
import pytest
from backports import zstd
from pyarrow import ipc

from services.embedder.errors import FileTooLarge, InvalidFile
from services.embedder.files import archives
from services.embedder.files.archives import Unpacking
from services.embedder.files.formats import FileOptions, Limits, Reader
from services.embedder.files.opening import open_file

LIMITS = Limits(item_bytes=1 << 22, file_bytes=1 << 26)


def opened(data: bytes, options: FileOptions | None = None) -> Reader:
    return open_file(io.BytesIO(data), options or FileOptions(), LIMITS)


def values(data: bytes) -> list[object]:
    return [value for _place, value in opened(data).items()]


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def workbook(cells: str) -> bytes:
    """An .xlsx with one sheet of these cells."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    return zipped(
        {
            "[Content_Types].xml": b'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
            "_rels/.rels": f'<Relationships xmlns="{package}"><Relationship Id="r1" Type="{relations}/officeDocument"'
            ' Target="xl/workbook.xml"/></Relationships>'.encode(),
            "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets><sheet name="S" sheetId="1"'
            ' r:id="r1"/></sheets></workbook>'.encode(),
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}"><Relationship Id="r1"'
            f' Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>'.encode(),
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{cells}'
            "</sheetData></worksheet>".encode(),
        }
    )


def cell(place: str, text: str) -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


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


def tarred(files: dict[str, bytes], format: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


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
    data = zipped({f"{number}.txt": b"a" * (1 << 20) for number in range(65)}, zipfile.ZIP_DEFLATED)
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
