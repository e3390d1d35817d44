"""Archives and workbooks that are damaged, hostile or large: refused in one sentence, in little memory."""

from __future__ import annotations

import io
import zipfile

import pytest

from services.embedder.errors import FileTooLarge, InvalidFile
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
