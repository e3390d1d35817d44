"""A service's part of an object store: S3 and what speaks its protocol, or a folder that hosts share (`file://`).

Objects are whole or absent. Large ones are sent and read in parts, and each request is retried for a while.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import ObjectStore, from_url

from services.chassis.errors import Unavailable
from services.chassis.files import is_full_disk
from services.chassis.startup import StartRefused

if TYPE_CHECKING:
    from obstore import GetOptions

_PART_BYTES = 16 << 20
_READS = 4
"""How often an object is read that is replaced meanwhile each time."""
_RETRIES = 4
_RETRY_TIMEOUT = timedelta(seconds=15)
"""A call must not wait for minutes: jobs retry by themselves, and callers are told why."""
_T = TypeVar("_T")


class StoreUnavailable(Unavailable):
    """The object store does not answer, or refuses to."""

    reason = "STORE_UNAVAILABLE"


class ObjectChanged(StoreUnavailable):
    """An object was replaced while it was read: what was read of it must be read again."""


@dataclass(frozen=True)
class StoredObject:
    """An object as a listing shows it."""

    path: str
    """Relative to the service's part."""
    modified: float
    """Seconds since 1970, by the clock of the store."""


class ServiceObjects:
    """The objects of one service. All methods raise StoreUnavailable. Those that earlier versions wrote without the
    service's prefix are still read and deleted, but not listed."""

    def __init__(self, url: str, prefix: str) -> None:
        """The objects below `prefix`, in the store at `url`. Raises StartRefused."""
        self._store = _open(url)
        self._prefix = prefix
        self.address = _address(url)

    def upload(self, path: str, file: Path) -> None:
        """Writes an object, in parts where the file is large."""
        with self._reporting_outages():
            obstore.put(self._store, self._key(path), file)

    def chunks(self, path: str) -> Iterator[bytes | memoryview]:
        """The content of an object. Raises FileNotFoundError before the first chunk, ObjectChanged behind it."""
        with self._reporting_outages():
            try:
                item = obstore.head(self._store, self._key(path))
            except FileNotFoundError:
                item = obstore.head(self._store, path)
        return self._parts(item["path"], size=item["size"], version=item["e_tag"])

    def download(self, path: str, file: IO[bytes]) -> None:
        """Writes the content of an object to an empty file. Raises FileNotFoundError."""

        def copy() -> None:
            file.seek(0)
            file.truncate()
            for chunk in self.chunks(path):
                file.write(chunk)

        _until_unchanged(copy)

    def size(self, path: str) -> int | None:
        """Bytes of an object; None where there is none."""
        with self._reporting_outages():
            for key in (self._key(path), path):
                with suppress(FileNotFoundError):
                    return self._size(key)
        return None

    def difference(self, path: str, *, size: int, digest: str) -> str | None:
        """How an object differs from what is recorded of it; None if it does not. The digest is SHA-256."""
        try:
            stored = _until_unchanged(lambda: _digest(self.chunks(path)))
        except FileNotFoundError:
            return "is missing in the object store"
        return None if stored == (size, digest) else "is damaged in the object store"

    def below(self, prefix: str = "") -> Iterator[StoredObject]:
        """The objects below a prefix, which is a folder; without one, all of the service."""
        key = self._key(prefix) if prefix else self._prefix
        with self._reporting_outages():
            for batch in obstore.list(self._store, prefix=key or None):
                for item in batch:
                    path = item["path"].removeprefix(self._prefix)
                    yield StoredObject(path, item["last_modified"].timestamp())

    def delete(self, prefix: str) -> None:
        """Deletes the object at `prefix`, and all below it."""
        with self._reporting_outages():
            if keys := sorted(self._keys_at(prefix)):
                obstore.delete(self._store, keys)

    def check(self) -> None:
        """Raises StoreUnavailable where the store does not answer."""
        with self._reporting_outages(), suppress(FileNotFoundError):
            obstore.head(self._store, self._key("none"))

    def _key(self, path: str) -> str:
        return f"{self._prefix}{path}"

    def _size(self, key: str) -> int:
        return int(obstore.head(self._store, key)["size"])

    def _parts(self, key: str, *, size: int, version: str | None) -> Iterator[bytes | memoryview]:
        """An object in ranges, all of one version; each is a request that is retried by itself."""
        for start in range(0, size, _PART_BYTES):
            options: GetOptions = {"range": (start, min(start + _PART_BYTES, size))}
            if version is not None:
                options["if_match"] = version
            with self._reporting_outages():
                try:
                    part = obstore.get(self._store, key, options=options).bytes()
                except (PreconditionError, FileNotFoundError) as error:
                    raise ObjectChanged(
                        f"{key} in the object store {self.address} was replaced or deleted while it was read: retry",
                        metadata={"store": self.address},
                    ) from error
            yield memoryview(part)

    def _keys_at(self, path: str) -> Iterator[str]:
        """The keys of an object and of all below it."""
        for key in {self._key(path), path}:
            for batch in obstore.list(self._store, prefix=key):  # lists what is below, not the object itself
                yield from (item["path"] for item in batch)
            with suppress(FileNotFoundError):
                yield obstore.head(self._store, key)["path"]

    @contextmanager
    def _reporting_outages(self) -> Generator[None]:
        """Turns the store's errors into StoreUnavailable; not those that say that an object or space is missing."""
        try:
            yield
        except BaseError as error:
            if is_full_disk(error):
                raise
            raise StoreUnavailable(
                f"the object store {self.address} does not answer as it should: {_first_line(error)}",
                metadata={"store": self.address},
            ) from error


def _until_unchanged(read: Callable[[], _T]) -> _T:
    """Reads an object once more where it was replaced meanwhile. Raises ObjectChanged where that goes on."""
    for _ in range(_READS - 1):
        with suppress(ObjectChanged):
            return read()
    return read()


def _digest(chunks: Iterable[bytes | memoryview]) -> tuple[int, str]:
    """Size and SHA-256."""
    size, sha256 = 0, hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        sha256.update(chunk)
    return size, sha256.hexdigest()


def _open(url: str) -> ObjectStore:
    try:
        return from_url(url, retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_TIMEOUT})
    except (BaseError, ValueError) as error:
        raise StartRefused(
            f"PRISMA_BLOB_URL: expected s3://bucket/folder or file:///folder, got {_address(url)}: {_first_line(error)}"
        ) from error


def _address(url: str) -> str:
    """A URL without user, password and parameters."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
