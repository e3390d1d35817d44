"""Files that cannot be imported, and a word of what is said of each. `python -m tests.embedder.hostile_files` lists the
answers of a real embedder, and the memory that each takes."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import json
import lzma
import pickle
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from backports import zstd
from pyarrow import ipc

from prisma.embedder.v1 import embedder_service_pb2 as pb2
from prisma.embedder.v1 import embedder_service_pb2_grpc, resources_pb2
from tests.archives import zipped
from tests.nats_server import NatsServer
from tests.process import ServiceProcess

ROWS = b"".join(b"%d,Text number %d of a table.\n" % (number, number) for number in range(2000))
CSV = b"id,text\n" + ROWS
MAX_IMPORT_BYTES = 1 << 26
"""The limit of the embedder of `answers`, so that bombs are small."""


@dataclass(frozen=True)
class Options:
    """Options of an import beside the file."""

    id_field: str | None = None
    text_fields: Sequence[str] = ()
    format: resources_pb2.FileLayout.Format = resources_pb2.FileLayout.FORMAT_UNSPECIFIED
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None


@dataclass(frozen=True)
class HostileFile:
    """A file, and a regular expression of what is said of it."""

    make: Callable[[], bytes]
    words: str
    options: Options = Options()


def tarred(files: dict[str, bytes], *links: str, format: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of files, and of symbolic links to the file of passwords."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
    return buffer.getvalue()


def workbook(cells: str, more: dict[str, bytes] | None = None) -> bytes:
    """An .xlsx with one sheet of these cells."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    files = {
        "[Content_Types].xml": b'<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{package}"><Relationship Id="r1" Type="{relations}/officeDocument"'
        ' Target="xl/workbook.xml"/></Relationships>'.encode(),
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets><sheet name="S" sheetId="1"'
        ' r:id="r1"/></sheets></workbook>'.encode(),
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}"><Relationship Id="r1"'
        f' Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>'.encode(),
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>'.encode(),
    }
    return zipped(files | (more or {}), compression=zipfile.ZIP_DEFLATED)


def cell(place: str, text: str) -> str:
    """A cell of a workbook."""
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


def parquet(table: pa.Table, **options: str) -> bytes:
    """A table as Parquet."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def arrow(table: pa.Table, *, stream: bool = False) -> bytes:
    """A table as an Arrow file or stream."""
    buffer = io.BytesIO()
    with (ipc.new_stream if stream else ipc.new_file)(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def numpy_file() -> bytes:
    """An .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 4), np.float32))
    return buffer.getvalue()


def _flipped(data: bytes, place: int) -> bytes:
    """The data with the bits of one byte turned round."""
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


TABLE = pa.table({"id": [str(number) for number in range(500)], "text": [f"Text {number}." for number in range(500)]})
_ENTITIES = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
_LAUGHS = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{_ENTITIES}]><sst><si><t>&a11;</t></si></sst>'.encode()
_HEADER = f'<row r="1">{cell("A1", "id")}{cell("B1", "text")}</row>'
_ZEROS = b"\n" * (MAX_IMPORT_BYTES + 1)
FORMAT = resources_pb2.FileLayout

FILES: dict[str, HostileFile] = {
    # Nothing in them
    "empty": HostileFile(lambda: b"", "empty"),
    "blank": HostileFile(lambda: b" \n\t\n" * 99, "empty|blank|no documents"),
    "byte order mark only": HostileFile(lambda: b"\xef\xbb\xbf", "empty|no documents"),
    "header only": HostileFile(lambda: b"id,text\n", "no rows|no documents"),
    "empty array": HostileFile(lambda: b"[]", "no documents|empty"),
    "gzip of nothing": HostileFile(lambda: gzip.compress(b""), "empty"),
    "zip of nothing": HostileFile(lambda: zipped({}), "empty|damaged"),
    "Parquet without rows": HostileFile(lambda: parquet(TABLE.slice(0, 0)), "no rows|no documents"),
    "workbook without rows": HostileFile(lambda: workbook(""), "no rows|no documents|empty"),
    # Something else
    "pickle": HostileFile(lambda: pickle.dumps({"id": 1}), "pickle"),
    "numpy": HostileFile(numpy_file, "takes vectors if it is created with"),
    "PDF": HostileFile(lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(200), "PDF"),
    "PNG": HostileFile(lambda: b"\x89PNG\r\n\x1a\n" + bytes(200), "picture|image|PNG"),
    "program": HostileFile(lambda: b"\x7fELF\x02\x01\x01" + bytes(200), "a binary file"),
    "SQLite": HostileFile(lambda: b"SQLite format 3\x00" + bytes(200), "SQLite|database"),
    "HTML": HostileFile(lambda: b"<!DOCTYPE html><html><body><p>Sign in</p></body></html>\n", "HTML"),
    "random bytes": HostileFile(lambda: np.random.default_rng(1).bytes(5000), "text|format|bytes"),
    "Word document": HostileFile(
        lambda: zipped({"[Content_Types].xml": b"<x/>", "word/document.xml": b"<x/>"}), "Word document.*save it as text"
    ),
    "book": HostileFile(
        lambda: zipped({"mimetype": b"application/epub+zip", "META-INF/container.xml": b"<x/>", "a.html": b"<p>"}),
        "a book.*save it as text",
    ),
    "zip of pictures": HostileFile(lambda: zipped({"a.png": b"x"}), r"this one has 1 \.png"),
    "numbers only": HostileFile(lambda: b"a,b\n1,2\n3,4\n", "no field holds texts"),
    "Feather 1": HostileFile(lambda: b"FEA1" + bytes(100), "version 1"),
    # Cut or damaged
    "gzip cut": HostileFile(lambda: gzip.compress(CSV)[:-20], "damaged"),
    "gzip with a wrong sum": HostileFile(lambda: _flipped(gzip.compress(CSV), -5), "damaged"),
    "bzip2 cut": HostileFile(lambda: bz2.compress(CSV)[:-9], "damaged"),
    "xz cut": HostileFile(lambda: lzma.compress(CSV)[:-9], "damaged"),
    "Zstandard cut": HostileFile(lambda: zstd.compress(CSV)[:-5], "damaged"),
    "second gzip cut": HostileFile(lambda: gzip.compress(CSV) + gzip.compress(ROWS)[:-9], "damaged"),
    "zip cut": HostileFile(lambda: zipped({"a.csv": CSV})[:-30], "damaged"),
    "zip with a wrong sum": HostileFile(lambda: zipped({"a.csv": CSV}).replace(b"id,text", b"ib,text"), "damaged"),
    "tar cut in a member": HostileFile(lambda: tarred({"a.csv": CSV, "b.csv": CSV})[: len(CSV)], "damaged|not closed"),
    "Parquet cut": HostileFile(lambda: parquet(TABLE)[:-40], "damaged"),
    "Parquet with a damaged page": HostileFile(lambda: _flipped(parquet(TABLE, compression="zstd"), 40), "damaged"),
    "Parquet of 4 bytes": HostileFile(lambda: b"PAR1", "damaged"),
    "Parquet of a wrong footer": HostileFile(lambda: b"PAR1" + bytes(90) + b"\xff\xff\xff\x7fPAR1", "damaged"),
    "Arrow file cut": HostileFile(lambda: arrow(TABLE)[:-100], "damaged"),
    "Arrow stream cut": HostileFile(lambda: arrow(TABLE, stream=True)[:-1000], "damaged"),
    "Arrow of rubbish": HostileFile(lambda: b"ARROW1" + bytes(100), "damaged"),
    "Arrow stream of rubbish": HostileFile(lambda: b"\xff\xff\xff\xff\x10\x00\x00\x00" + b"x" * 50, "damaged"),
    "workbook of rubbish": HostileFile(lambda: b"\xd0\xcf\x11\xe0" + bytes(600), "workbook"),
    "workbook cut": HostileFile(lambda: workbook(_HEADER)[:-40], "damaged|workbook"),
    "zip that says it is a workbook": HostileFile(lambda: zipped({"xl/workbook.xml": b"<x/>"}), "workbook"),
    "array not closed": HostileFile(lambda: b'[{"id": 1, "text": "a"}, {"id": 2', "not closed|end|cut"),
    # Larger than they look
    "gzip bomb": HostileFile(lambda: gzip.compress(_ZEROS), "unpacked"),
    "bzip2 bomb": HostileFile(lambda: bz2.compress(_ZEROS), "unpacked"),
    "xz bomb": HostileFile(lambda: lzma.compress(_ZEROS), "unpacked"),
    "Zstandard bomb": HostileFile(lambda: zstd.compress(_ZEROS), "unpacked"),
    "zip bomb": HostileFile(lambda: zipped({"a.csv": _ZEROS}, compression=zipfile.ZIP_DEFLATED), "unpacked"),
    "gzip in gzip in gzip": HostileFile(lambda: gzip.compress(gzip.compress(gzip.compress(CSV))), "archive inside"),
    "Parquet bomb": HostileFile(
        lambda: parquet(pa.table({"id": ["a"], "text": [" " * (MAX_IMPORT_BYTES + 1)]}), compression="zstd"),
        "unpacked",
    ),
    "Parquet of one text a million times": HostileFile(
        lambda: parquet(pa.table({"n": pa.array([0] * 1_000_000)})), "no field holds texts"
    ),
    "workbook with a cell far away": HostileFile(
        lambda: workbook(f'{_HEADER}<row r="1048576">{cell("XFD1048576", "x")}</row>'), "workbook"
    ),
    "workbook of laughs": HostileFile(
        lambda: workbook('<row r="1"><c r="A1" t="s"><v>0</v></c></row>', {"xl/sharedStrings.xml": _LAUGHS}),
        "workbook|no rows|no documents|damaged|no field",
    ),
    "zip of 70,000 files": HostileFile(lambda: zipped({f"{n}": b"" for n in range(70_000)}), "70,000 without a suffix"),
    "zip of zips": HostileFile(lambda: zipped({"a.csv": zipped({"b.csv": zipped({"c.csv": CSV})})}), "archive inside"),
    # Where they lead
    "tar of links": HostileFile(lambda: tarred({}, "a.txt", "b.csv"), "no file|damaged|empty|links"),
    "zip with a way out": HostileFile(lambda: zipped({"../../a.png": b"x"}), "empty"),
    # Not what the options say
    "no such encoding": HostileFile(lambda: CSV, "encoding", Options(encoding="rot13")),
    "a wrong encoding": HostileFile(
        lambda: "id,text\n1,été\n".encode("latin-1"),
        "no UTF-8, after 0 characters",
        Options(encoding="utf-8"),
    ),
    "UTF-16 cut in a character": HostileFile(
        lambda: CSV.decode().encode("utf-16")[:-1], "UTF-16|utf-16|damaged", Options(encoding="utf-16")
    ),
    "no such column": HostileFile(lambda: CSV, "body", Options(text_fields=("body",))),
    "no such id column": HostileFile(lambda: CSV, "key", Options(id_field="key")),
    "a delimiter of two": HostileFile(lambda: CSV, "delimiter", Options(delimiter="||")),
    "CSV as Parquet": HostileFile(lambda: CSV, "Parquet", Options(format=FORMAT.FORMAT_PARQUET)),
    "CSV as a workbook": HostileFile(lambda: CSV, "workbook", Options(format=FORMAT.FORMAT_SPREADSHEET)),
    "no such sheet": HostileFile(lambda: workbook(_HEADER), "sheet", Options(sheet="Reviews")),
    # Text that only looks like a table, or a document
    "array of arrays of arrays": HostileFile(lambda: b"[" * 100_000, "not closed|end|cut|nested|object|JSON"),
    "one line of 5 MB": HostileFile(lambda: json.dumps({"a": "x" * 5_000_000}).encode(), "text|bytes"),
    "an open quote": HostileFile(lambda: b'id,text\n1,"' + b"x" * 100_000, "quote|not closed|row"),
}


@dataclass(frozen=True)
class Answer:
    """What an embedder says of a file. peak_bytes: the most memory of it and its children since it started."""

    name: str
    code: str
    message: str
    document_count: int
    rejected_count: int
    peak_bytes: int


async def answers(embedder: ServiceProcess) -> AsyncIterator[Answer]:
    """What an embedder that runs says of each file."""
    async with grpc.aio.insecure_channel(embedder.address) as channel:
        stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
        for name, file in FILES.items():
            yield await _answer(stub, embedder, name, file)


async def _answer(
    stub: embedder_service_pb2_grpc.EmbedderServiceStub, embedder: ServiceProcess, name: str, file: HostileFile
) -> Answer:
    dataset = await stub.CreateDataset(pb2.CreateDatasetRequest(dataset=resources_pb2.Dataset(display_name="hostile")))
    code, message, rejected = "OK", "", 0
    try:
        report = await stub.ImportDocuments(_messages(dataset.name, file))
        rejected, message = report.rejected_count, report.rejections[0].message if report.rejections else ""
    except grpc.aio.AioRpcError as error:
        code, message = error.code().name, error.details() or ""
    stored = await stub.GetDataset(pb2.GetDatasetRequest(name=dataset.name))
    await stub.DeleteDataset(pb2.DeleteDatasetRequest(name=dataset.name))
    return Answer(
        name=name,
        code=code,
        message=message,
        document_count=stored.document_count,
        rejected_count=rejected,
        peak_bytes=peak_bytes(embedder.pid),
    )


def peak_bytes(pid: int) -> int:
    """The most resident memory of a process so far."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        return next(int(line.split()[1]) << 10 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return psutil.Process(pid).memory_info().rss


def _messages(dataset: str, file: HostileFile) -> Iterator[pb2.ImportDocumentsRequest]:
    options = file.options
    yield pb2.ImportDocumentsRequest(
        config=pb2.ImportDocumentsRequest.Config(
            dataset=dataset,
            id_field=options.id_field,
            text_fields=options.text_fields,
            format=options.format,
            encoding=options.encoding,
            delimiter=options.delimiter,
            sheet=options.sheet,
        )
    )
    data = file.make()
    for start in range(0, len(data), 1 << 20):
        yield pb2.ImportDocumentsRequest(chunk=data[start : start + (1 << 20)])


async def main() -> None:
    """Prints a line for each file."""
    with tempfile.TemporaryDirectory() as folder:
        nats_server = NatsServer(Path(folder, "nats"))
        nats_server.start()
        settings = {"PRISMA_NATS_URL": nats_server.url, "PRISMA_MAX_IMPORT_BYTES": str(MAX_IMPORT_BYTES)}
        embedder = ServiceProcess("embedder", Path(folder), settings)
        embedder.start()
        try:
            async for answer in answers(embedder):
                print(
                    f"{answer.name:36} {answer.code:18} {answer.document_count:3} documents"
                    f" {answer.peak_bytes >> 20:5} MiB  {answer.message}"
                )
        finally:
            embedder.kill()
            nats_server.stop()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
