"""Files in files: compressed ones, and archives of several. Each is unpacked into a temporary file without a name."""

from __future__ import annotations

import bz2
import errno
import gzip
import importlib
import io
import lzma
import sys
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol, Self, TypeAlias, cast

from services.chassis.errors import Cancelled
from services.embedder.errors import FileTooLarge, InvalidFile
from services.embedder.files.formats import Limits

MAX_MEMBERS = 100_000
_CHUNK_BYTES = 1 << 20
_MAX_READ_BYTES = 32 << 20
"""Of one read of an archive's directory, which libraries hold in memory."""
_MAX_DIRECTORY_BYTES = 256 << 20
"""Of all reads of an archive's directory."""
_ZIP_ENTRY = b"PK\x01\x02"
_TAR_BLOCK_BYTES = 512
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, RuntimeError)
_IGNORED = {"__MACOSX", ".DS_Store", "Thumbs.db"}


Stream: TypeAlias = IO[bytes] | io.BufferedIOBase | io.RawIOBase


def is_of_system(error: BaseException) -> bool:
    """Whether an error is the system's, such as a full disk, rather than a damaged file's."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)  # EINVAL: offsets that do not exist


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Streams(io.RawIOBase):
    """Compressed streams one after the other, with zeros between and behind them.

    The classes of `bz2` and `lzma` leave out all from a damaged stream on, if it is not the first.
    """

    def __init__(self, file: IO[bytes], decompressor: Callable[[], _Decompressor]) -> None:
        self._file = file
        self._new_decompressor = decompressor
        self._decompressor = decompressor()

    def read(self, size: int = -1) -> bytes:
        """Some bytes, or none at the end. Raises EOFError and the decompressor's errors."""
        data = b""
        while True:
            if self._decompressor.eof:
                data = self._next_stream()
                if not data:
                    return b""
                self._decompressor = self._new_decompressor()
            elif self._decompressor.needs_input:
                data = self._file.read(_CHUNK_BYTES)
                if not data:
                    raise EOFError("it is cut short")
            unpacked = self._decompressor.decompress(data, size)
            data = b""
            if unpacked:
                return unpacked

    def _next_stream(self) -> bytes:
        """The bytes from the beginning of the next stream on; none at the end of the file."""
        data = self._decompressor.unused_data
        while not (rest := data.lstrip(b"\0")):
            if not (data := self._file.read(_CHUNK_BYTES)):
                return b""
        return rest


def _zstandard(file: IO[bytes]) -> Stream:
    try:
        module = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
        return importlib.import_module(module).ZstdFile(file)
    except ImportError:
        message = "this server cannot read Zstandard: `pip install 'prisma-suite[embedder-files]'` there"
        raise InvalidFile(message) from None


COMPRESSIONS: dict[bytes, tuple[str, Callable[[IO[bytes]], Stream]]] = {
    b"\x1f\x8b": ("gzip", lambda file: gzip.GzipFile(fileobj=file)),
    b"BZh": ("bzip2", lambda file: _Streams(file, bz2.BZ2Decompressor)),
    b"\xfd7zXZ\x00": ("xz", lambda file: _Streams(file, lzma.LZMADecompressor)),
    b"\x28\xb5\x2f\xfd": ("Zstandard", _zstandard),
}
"""By the first bytes of a compressed file: the name of the compression, and what unpacks it."""


class Unpacking:
    """Unpacks files into temporary ones in a folder: those of `keep` have `limits.file_bytes` together at most."""

    def __init__(self, folder: Path | None, limits: Limits, stopped: threading.Event | None = None) -> None:
        """stopped: set from another thread, to end it."""
        self._folder = folder
        self._limits = limits
        self._stopped = stopped
        self._kept_bytes = 0
        self.unpacked_bytes = 0
        """All so far, those of files that were damaged too."""

    def check_stopped(self) -> None:
        """Raises Cancelled if it is to end."""
        if self._stopped is not None and self._stopped.is_set():
            raise Cancelled("the import was stopped")

    def another_pass(self) -> Unpacking:
        """Unpacks the same files again: they are counted anew."""
        return Unpacking(self._folder, self._limits, self._stopped)

    def stoppable(self, file: IO[bytes]) -> IO[bytes]:
        """The file, whose reads raise Cancelled as soon as it is to end."""
        return file if self._stopped is None else cast("IO[bytes]", _StoppableFile(file, self.check_stopped))

    def temporary_file(self) -> IO[bytes]:
        """An empty file that vanishes when it is closed."""
        return tempfile.TemporaryFile(dir=self._folder)

    def keep(self, opened: Callable[[], Stream], name: str) -> IO[bytes]:
        """The content of a compressed file or a member of an archive. Raises InvalidFile, FileTooLarge."""
        file = self.unpack(opened, name, max_bytes=self._limits.file_bytes - self._kept_bytes)
        self._kept_bytes += file.seek(0, 2)
        file.seek(0)
        return self.stoppable(file)

    def unpack(self, opened: Callable[[], Stream], name: str, max_bytes: int) -> IO[bytes]:
        """The content of a compressed file or a member of an archive. Raises InvalidFile, FileTooLarge, Cancelled."""
        target = self.temporary_file()
        try:
            for chunk in self._chunks(opened, name):
                if target.tell() + len(chunk) > max_bytes:
                    raise FileTooLarge(
                        f"{name} has more than {max_bytes:,} bytes unpacked", metadata={"limit": str(max_bytes)}
                    )
                target.write(chunk)
            target.seek(0)
        except BaseException:
            target.close()
            raise
        return target

    def _chunks(self, opened: Callable[[], Stream], name: str) -> Iterator[bytes]:
        try:
            with opened() as source:
                while chunk := source.read(_CHUNK_BYTES):
                    self.check_stopped()
                    self.unpacked_bytes += len(chunk)
                    yield chunk
        except Exception as error:
            if is_of_system(error):
                raise
            if isinstance(error, EOFError | tarfile.ReadError) and self._limits.is_partial:
                return
            if isinstance(error, _DAMAGED) or type(error).__name__ == "ZstdError":
                raise InvalidFile(f"{name} is damaged, or has a password: {str(error)[:200]}") from None
            raise


class _StoppableFile:
    """A file that calls a function before each read."""

    def __init__(self, file: IO[bytes], check: Callable[[], None]) -> None:
        self._file = file
        self._check = check

    def read(self, size: int = -1) -> bytes:
        self._check()
        return self._file.read(size)

    def read1(self, size: int = -1) -> bytes:
        self._check()
        return cast("io.BufferedIOBase", self._file).read1(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


Member = tuple[str, Callable[[], IO[bytes]]]
"""The path of a file in an archive, and what opens it."""


def is_tar(file: IO[bytes]) -> bool:
    """Whether a file is a tar archive (POSIX.1-1988 and later: with a mark at byte 257)."""
    file.seek(257)
    return file.read(5) == b"ustar"


class _Directory(io.RawIOBase):
    """An archive whose directory is read in bounded memory: libraries read what its headers say, and hold it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._bytes: int | None = 0

    def finish(self) -> None:
        """Lifts the bounds: members are read from here on."""
        self._bytes = None

    def read(self, size: int = -1) -> bytes:
        """Raises InvalidFile beyond the bounds."""
        if self._bytes is None:
            return self._file.read(size)
        data = self._file.read(min(size, _MAX_READ_BYTES + 1) if size >= 0 else _MAX_READ_BYTES + 1)
        self._bytes += len(data)
        if len(data) > _MAX_READ_BYTES or self._bytes > _MAX_DIRECTORY_BYTES:
            raise InvalidFile("the archive has too long a directory, or names that are too long")
        _check_count(data.count(_ZIP_ENTRY))
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def _check_count(members: int) -> None:
    if members > MAX_MEMBERS:
        raise InvalidFile(f"the archive has more than {MAX_MEMBERS:,} files: split it into several")


def zip_members(file: IO[bytes]) -> list[Member]:
    """The files of a zip archive, sorted by path. Raises InvalidFile."""
    directory = _Directory(file)
    try:
        archive = zipfile.ZipFile(cast("IO[bytes]", directory))
        files = [member for member in archive.infolist() if not member.is_dir()]
    except _DAMAGED as error:
        if is_of_system(error):
            raise
        raise InvalidFile(f"the zip file is damaged: {str(error)[:200]}") from None
    directory.finish()
    return _sorted((member.filename, lambda member=member: archive.open(member)) for member in files)


def tar_members(file: IO[bytes], *, is_partial: bool = False) -> list[Member]:
    """The files of a tar archive, sorted by path; links and devices are left out.

    is_partial: whether the file is the beginning of a longer one. Raises InvalidFile.
    """
    file.seek(0)
    directory = _Directory(file)
    files: list[Member] = []
    try:
        archive = tarfile.open(fileobj=cast("IO[bytes]", directory), mode="r:")  # noqa: SIM115 - members open later
        for count, member in enumerate(archive, start=1):
            _check_count(count)
            if member.isreg():
                files.append((member.name, partial(_open_tar_member, archive, member)))
        if not is_partial:
            _check_end(file, archive.offset)
    except _DAMAGED as error:
        if is_of_system(error):
            raise
        if not is_partial:
            raise InvalidFile(f"the tar file is damaged: {str(error)[:200]}") from None
    directory.finish()
    return _sorted(iter(files))


def _open_tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(member)
    if content is None:
        raise tarfile.ReadError("no regular file")
    return content


def _check_end(file: IO[bytes], offset: int) -> None:
    """Checks that zeros end a tar archive: `tarfile` ends without an error at a damaged header. Raises InvalidFile."""
    file.seek(offset)
    zeros = 0
    while chunk := file.read(_CHUNK_BYTES):
        if chunk.strip(b"\0"):
            raise InvalidFile("the tar file is damaged: a header is no header, or something follows its end")
        zeros += len(chunk)
    if zeros < _TAR_BLOCK_BYTES:
        raise InvalidFile("the tar file is damaged: it is cut short")


def _sorted(members: Iterator[Member]) -> list[Member]:
    """The members by path, without hidden files and those that systems add."""
    visible = [(name.removeprefix("./"), opened) for name, opened in members if not _is_ignored(name)]
    return sorted(visible, key=lambda member: member[0])


def _is_ignored(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part in _IGNORED or (part.startswith(".") and part != ".") for part in parts)
