"""Documents from a list, a data frame or a file, as the JSON lines that the embedder imports.

Missing values of Python's data libraries (NaN, NaT, pandas.NA, None) and infinities have no JSON: those fields are
left out of the document, as if the column were absent in that row. Values have the forms that the same values have when
they come from a file (docs/reference/files.md): times are ISO 8601, durations are seconds.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import hashlib
import json
import math
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

CHUNK_BYTES = 1 << 20
FRAME_ROWS = 4096
"""Rows of a data frame that are converted together."""
ID_FIELD, TEXT_FIELD = "id", "text"
"""The fields that hold a document's id and text by default."""
TextId = Callable[[int, str], str]
"""The id of a plain text, from its position in the source and the text."""
_TOO_LARGE = 1 << 63
"""Whole decimal numbers from here on are text."""
_MISSING_TYPES = ("NAType", "NaTType")
"""The types of pandas.NA and pandas.NaT, by name: neither pandas nor numpy is imported here, which takes long."""


def position_id(position: int, text: str) -> str:
    """The id of a plain text in a new dataset: its position."""
    return str(position)


def digest_id(position: int, text: str) -> str:
    """The id of a plain text that is added to a dataset: half of its SHA-256, so that only the same text has it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def chunks(
    source: Any,
    *,
    text_id: TextId | None = digest_id,
    id_field: str | None = None,
    text_field: str | Sequence[str] | None = None,
) -> Iterator[bytes]:
    """Returns the bytes of a file of documents, or of documents as JSON lines, in parts of about 1 MiB.

    source: the path of a file, or of a folder, whose files are packed into a tar archive; a data frame or series of
    pandas or polars; or documents: dictionaries `{"id", "text", …}`, or plain texts. `text_id` gives the ids of plain
    texts, None where the embedder is to give them. A file is opened, and the first document converted,
    before anything is returned. Raises OSError, TypeError.
    """
    if isinstance(source, str | Path):
        return _folder_chunks(Path(source)) if Path(source).is_dir() else _file_chunks(Path(source))
    id_field = id_field or ID_FIELD
    text_field = text_field if isinstance(text_field, str) else next(iter(text_field or ()), TEXT_FIELD)
    rows: Iterable[Any] = source
    if isinstance(source, Mapping):
        raise TypeError("expected a list of documents, got one dictionary")
    if getattr(source, "ndim", None) != 1 and (hasattr(source, "to_dict") or hasattr(source, "to_dicts")):
        rows = _frame_rows(source, id_field=id_field)
    return _line_chunks(
        _line(position, row, text_id, id_field=id_field, text_field=text_field) for position, row in enumerate(rows)
    )


def _frame_rows(frame: Any, *, id_field: str) -> Iterator[dict[Any, Any]]:
    """The rows of a data frame; an index with the name of the id field is a column."""
    if getattr(getattr(frame, "index", None), "name", None) == id_field:
        frame = frame.reset_index()
    columns = getattr(frame, "columns", None)
    if columns is not None and len(set(columns)) < len(columns):
        raise TypeError(f"several columns have the same name; the columns are {list(columns)!r:.200}")
    return _rows_of_blocks(frame)


def _rows_of_blocks(frame: Any) -> Iterator[dict[Any, Any]]:
    """The rows of a frame of pandas or polars; few of them are dictionaries at a time."""
    for first in range(0, len(frame), FRAME_ROWS):
        last = first + FRAME_ROWS
        yield from (
            frame[first:last].to_dicts() if hasattr(frame, "to_dicts") else frame.iloc[first:last].to_dict("records")
        )


def _file_chunks(path: Path) -> Iterator[bytes]:
    file = path.open("rb")

    def read() -> Iterator[bytes]:
        with file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    return read()


def _folder_chunks(folder: Path) -> Iterator[bytes]:
    """The files of a folder as a tar archive, in constant memory. Raises FileNotFoundError where there are none."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if not paths:
        raise FileNotFoundError(f"there are no files in {folder}")

    def read() -> Iterator[bytes]:
        for path in paths:
            with path.open("rb") as file:
                member = tarfile.TarInfo(path.relative_to(folder).as_posix())
                member.size = size = path.stat().st_size
                yield member.tobuf(tarfile.PAX_FORMAT)
                while chunk := file.read(min(CHUNK_BYTES, size)):
                    size -= len(chunk)
                    yield chunk
                if size:
                    raise OSError(f"{path} became shorter while it was read")
            yield b"\0" * (-member.size % tarfile.BLOCKSIZE)
        yield b"\0" * (2 * tarfile.BLOCKSIZE)

    return read()


def _line_chunks(lines: Iterator[bytes]) -> Iterator[bytes]:
    first = next(lines, b"")

    def gather() -> Iterator[bytes]:
        chunk = bytearray(first)
        for line in lines:
            chunk += line
            if len(chunk) >= CHUNK_BYTES:
                yield bytes(chunk)
                chunk.clear()
        yield bytes(chunk)

    return gather()


def _line(position: int, row: Any, text_id: TextId | None, *, id_field: str, text_field: str) -> bytes:
    if isinstance(row, str):
        own_id = {} if text_id is None else {id_field: text_id(position, row)}
        row = {**own_id, text_field: row}
    if not isinstance(row, Mapping):
        raise TypeError(f"document {position}: expected a dictionary or a text, got {type(row).__name__}")
    try:
        document = _json_object(cast("Mapping[Any, Any]", row))
        return json.dumps(document).encode() + b"\n"
    except RecursionError:
        raise TypeError(f"document {position}: it is nested too deeply, or contains itself") from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise TypeError(f"document {position}: {error}") from None


def _json_object(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Converts a dictionary, leaving out missing values."""
    converted = {str(name): _field_value(name, value) for name, value in values.items()}
    if len(converted) < len(values):
        raise TypeError(f"several fields have the same name as text; the names are {list(values)!r:.200}")
    return {name: value for name, value in converted.items() if value is not None}


def _field_value(name: object, value: Any) -> Any:
    try:
        return _json_value(value)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None


def _json_value(value: Any) -> Any:
    """Converts a value of Python, numpy or pandas to JSON; None for a missing one.

    Raises TypeError for bytes, complex numbers and objects that have no text of their own.
    """
    if isinstance(value, enum.Enum):
        return _json_value(value.value)
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, decimal.Decimal):
        return _json_number(value)
    if type(value).__name__ in _MISSING_TYPES:
        return None
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _json_value(_python_value(value))
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return _json_object(cast("Mapping[Any, Any]", value))
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes | bytearray | memoryview):
        return [_json_value(item) for item in cast("Iterable[Any]", value)]
    if isinstance(value, bytes | bytearray | memoryview | complex) or _has_no_text(value):
        raise TypeError(f"expected text, numbers, dates, lists or dictionaries; got {type(value).__name__}")
    return str(value)


def _has_no_text(value: object) -> bool:
    """Whether the text of an object is its address."""
    return type(value).__str__ is object.__str__ and type(value).__repr__ is object.__repr__


def _json_number(value: decimal.Decimal) -> int | float | str | None:
    """A decimal number, as text where no double holds it."""
    if not value.is_finite():
        return None
    if value == value.to_integral_value():
        return int(value) if abs(value) < _TOO_LARGE else format(value, "f")
    return float(value) if decimal.Decimal(repr(float(value))) == value else format(value, "f")


def _python_value(value: Any) -> Any:
    """Converts a scalar or array of numpy or pandas; times become text, durations seconds, NaT becomes None."""
    if value.dtype.kind == "m":
        import numpy as np  # the value is of numpy: it is loaded

        return (value / np.timedelta64(1, "s")).tolist()
    if value.dtype.kind != "M":
        return value.tolist()
    texts = value.astype(str).tolist()
    return None if texts == "NaT" else texts
