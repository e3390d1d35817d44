"""Request bodies: small ones in memory within a limit, files in chunks as they arrive, never in memory as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from email.message import Message as Header

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from gateway import problems
from services.chassis.errors import InvalidArgument

CHUNK_BYTES = 1 << 20
MAX_FIELD_BYTES = 64 << 10


async def chunks(parts: AsyncIterator[tuple[str | None, bytes]]) -> AsyncIterator[tuple[str | None, bytes]]:
    """The same bytes in chunks of CHUNK_BYTES, each of one file; the last one of a file may be smaller."""
    buffer, name = bytearray(), None
    async for part_name, part in parts:
        if part_name != name and buffer:
            yield name, bytes(buffer)
            buffer.clear()
        name = part_name
        buffer += part
        while len(buffer) >= CHUNK_BYTES:
            yield name, bytes(buffer[:CHUNK_BYTES])
            del buffer[:CHUNK_BYTES]
    if buffer:
        yield name, bytes(buffer)


def media_type(request: Request) -> str:
    """The type of a request's body in lower case, without parameters; empty where none is named."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def whole_body(request: Request, limit: int) -> bytes:
    """A request's body. Raises HttpError (413) beyond `limit` bytes."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > limit:
            raise problems.too_large(limit)
    return bytes(data)


class Upload:
    """The body of a request that uploads a file: the file itself, or a form with fields and then the file."""

    def __init__(self, request: Request, further_files: Collection[str] = ()) -> None:
        """further_files: names of fields with files beside the main one, whose name says nothing."""
        self._request = request
        self._further_files = further_files
        self.fields: list[tuple[str, str]] = []
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        self._boundary = options.get(b"boundary", b"") if kind.startswith(b"multipart/") else None
        self._ready: list[bytes] = []

    async def files(self) -> AsyncIterator[tuple[str | None, bytes]]:
        """The bytes of the file, and of the further ones, each with the name of its field; None for the main file.

        `fields` is complete once the first of them, or the end, was reached. Raises InvalidArgument for a damaged or
        incomplete form, or one with fields after a file, or several main files.
        """
        if self._boundary is None:
            async for part in self._request.stream():
                yield None, part
            return
        form = _Form(self.fields, self._further_files)
        try:
            parser = MultipartParser(self._boundary, form.callbacks())  # pyright: ignore[reportArgumentType]
            async for part in self._request.stream():
                parser.write(part)
                if form.error:
                    raise form.error
                for name, data in form.data:
                    yield name, bytes(data)
                form.data.clear()
            parser.finalize()
        except FormParserError as error:
            raise InvalidArgument(f"the form is damaged: {error}; was all of it sent?") from error
        if not form.complete:
            raise InvalidArgument("the form ends without its closing boundary; was all of it sent?")
        if not form.has_file:
            raise InvalidArgument.field("file", "expected a form with a file in it, got none")


class _Form:
    """The callbacks of a multipart parser."""

    def __init__(self, fields: list[tuple[str, str]], further_files: Collection[str]) -> None:
        self.data: list[tuple[str | None, bytearray]] = []
        self._further_files = set(further_files)
        self._file_name: str | None = None
        self._has_main_file = False
        self.has_file = False
        self.complete = False
        self.error: InvalidArgument | None = None
        self._fields = fields
        self._header = b""
        self._value = b""
        self._headers: dict[str, str] = {}
        self._name = ""
        self._in_file = False
        self._text = bytearray()

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _finish(self) -> None:
        self.complete = True

    def _begin(self) -> None:
        self._headers = {}
        self._text.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        header = Header()
        header["content-disposition"] = self._headers.get("content-disposition", "")
        self._name = str(header.get_param("name", "", "content-disposition"))
        self._in_file = header.get_param("filename", None, "content-disposition") is not None
        if self._in_file and self._name in self._further_files:
            self._further_files.remove(self._name)
            self._file_name = self._name
        elif self._has_main_file or (self.has_file and not self._in_file):
            part = "a second file" if self._in_file else f"the field {self._name!r} after the file"
            self.error = InvalidArgument.field("file", f"expected one file as the last part of the form, got {part}")
        elif self._in_file:
            self._file_name, self._has_main_file = None, True
        self.has_file = self.has_file or self._in_file

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            if not self.data or self.data[-1][0] != self._file_name:
                self.data.append((self._file_name, bytearray()))
            self.data[-1][1].extend(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > MAX_FIELD_BYTES:
            self.error = InvalidArgument.field(self._name, f"expected at most {MAX_FIELD_BYTES:,} bytes")

    def _end(self) -> None:
        if not self._in_file:
            self._fields.append((self._name, self._text.decode("utf-8", "replace")))
