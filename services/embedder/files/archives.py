"""Files in files: compressed ones, and archives of several. Each is unpacked into a temporary file without a name."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias

from services.chassis.errors import Cancelled
from services.embedder.errors import FileTooLarge, InvalidFile
from services.embedder.files.formats import Limits

MAX_MEMBERS = 1_000_000
_CHUNK_BYTES = 1 << 20
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, RuntimeError)
_IGNORED = {"__MACOSX", ".DS_Store", "Thumbs.db"}


Stream: TypeAlias = IO[bytes] | io.BufferedIOBase | io.RawIOBase


def _zstandard(file: IO[bytes]) -> Stream:
    return importlib.import_module("backports.zstd").ZstdFile(file)


COMPRESSIONS: dict[bytes, tuple[str, Callable[[IO[bytes]], Stream]]] = {
    b"\x1f\x8b": ("gzip", lambda file: gzip.GzipFile(fileobj=file)),
    b"BZh": ("bzip2", bz2.BZ2File),
    b"\xfd7zXZ\x00": ("xz", lzma.LZMAFile),
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

    def check_stopped(self) -> None:
        """Raises Cancelled if it is to end."""
        if self._stopped is not None and self._stopped.is_set():
            raise Cancelled("the import was stopped")

    def temporary_file(self) -> IO[bytes]:
        """An empty file that vanishes when it is closed."""
        return tempfile.TemporaryFile(dir=self._folder)

    def keep(self, opened: Callable[[], Stream], name: str) -> IO[bytes]:
        """The content of a compressed file or a member of an archive. Raises InvalidFile, FileTooLarge."""
        file = self.unpack(opened, name, max_bytes=self._limits.file_bytes - self._kept_bytes)
        self._kept_bytes += file.seek(0, 2)
        file.seek(0)
        return file

    def unpack(self, opened: Callable[[], Stream], name: str, max_bytes: int) -> IO[bytes]:
        """The content of a compressed file or a member of an archive. Raises InvalidFile, FileTooLarge."""
        target = self.temporary_file()
        try:
            with opened() as source:
                while chunk := source.read(_CHUNK_BYTES):
                    self.check_stopped()
                    if target.tell() + len(chunk) > max_bytes:
                        raise FileTooLarge(
                            f"{name} has more than {max_bytes:,} bytes unpacked", metadata={"limit": str(max_bytes)}
                        )
                    target.write(chunk)
        except BaseException as error:
            if isinstance(error, EOFError) and self._limits.is_partial:
                target.seek(0)
                return target
            target.close()
            if isinstance(error, ImportError):
                message = "this server cannot read Zstandard: `pip install 'prisma-suite[embedder-files]'` there"
                raise InvalidFile(message) from None
            if isinstance(error, _DAMAGED) or type(error).__name__ == "ZstdError":
                raise InvalidFile(f"{name} is damaged, or has a password: {str(error)[:200]}") from None
            raise
        target.seek(0)
        return target


Member = tuple[str, Callable[[], IO[bytes]]]
"""The path of a file in an archive, and what opens it."""


def is_tar(file: IO[bytes]) -> bool:
    """Whether a file is a tar archive (POSIX.1-1988 and later: with a mark at byte 257)."""
    file.seek(257)
    return file.read(5) == b"ustar"


def zip_members(file: IO[bytes]) -> list[Member]:
    """The files of a zip archive, sorted by path. Raises InvalidFile."""
    try:
        archive = zipfile.ZipFile(file)
        files = [member for member in archive.infolist() if not member.is_dir()]
    except _DAMAGED as error:
        raise InvalidFile(f"the zip file is damaged: {str(error)[:200]}") from None
    return _sorted((member.filename, lambda member=member: archive.open(member)) for member in files)


def tar_members(file: IO[bytes]) -> list[Member]:
    """The files of a tar archive, sorted by path; links and devices are left out. Raises InvalidFile."""
    try:
        file.seek(0)
        archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - members are opened later
        files = [member for member in archive if member.isreg()]
    except _DAMAGED as error:
        raise InvalidFile(f"the tar file is damaged: {str(error)[:200]}") from None

    def opened(member: tarfile.TarInfo) -> IO[bytes]:
        content = archive.extractfile(member)
        if content is None:
            raise tarfile.ReadError("no regular file")
        return content

    return _sorted((member.name, lambda member=member: opened(member)) for member in files)


def _sorted(members: Iterator[Member]) -> list[Member]:
    """The members by path, without hidden files and those that systems add."""
    visible = [(name.removeprefix("./"), opened) for name, opened in members if not _is_ignored(name)]
    if len(visible) > MAX_MEMBERS:
        raise InvalidFile(f"the archive has {len(visible):,} files, at most {MAX_MEMBERS:,} are read")
    return sorted(visible, key=lambda member: member[0])


def _is_ignored(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part in _IGNORED or (part.startswith(".") and part != ".") for part in parts)
