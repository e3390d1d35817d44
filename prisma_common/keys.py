"""API keys and the file that lists them.

A key is 256 random bits, sent as `Authorization: Bearer <key>`. The file holds one key per line, as a digest:

    # name  sha256  scope  expiry
    ada  9f86d081…  write  2027-01-31T00:00:00Z
    ci   2c26b46b…  read   never

Lines of two columns, as earlier versions wrote them, mean the scope `admin` and no expiry.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

RESERVED_NAME = "service"
"""The caller name of other PRISMA processes; no key may have it."""
MIN_SERVICE_KEY_LENGTH = 16
MAX_FILE_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NEVER = "never"


class Scope(IntEnum):
    """What a key allows, as `prisma.common.v1.Scope`; each scope includes those below it."""

    READ = 1
    WRITE = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """`read`, `write`, `admin`: as the keys file and the command line spell it."""
        return self.name.lower()

    @classmethod
    def of_word(cls, word: str) -> Scope:
        """The scope of a word. Raises ValueError."""
        for scope in cls:
            if scope.word == word:
                return scope
        raise ValueError(f"expected read, write or admin, got {word!r}")


class KeysFileError(ValueError):
    """A keys file that cannot be used. The message names the line and never quotes it."""


@dataclass(frozen=True)
class ApiKey:
    """One line of the keys file. digest: SHA-256 in 64 hexadecimal digits. expire_time: UTC, None for never."""

    name: str
    digest: str
    scope: Scope
    expire_time: datetime | None

    def expired(self, now: datetime) -> bool:
        """Whether the key has expired at `now` (with time zone)."""
        return self.expire_time is not None and now >= self.expire_time

    @property
    def line(self) -> str:
        """The line of the keys file."""
        expiry = self.expire_time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if self.expire_time else _NEVER
        return f"{self.name} {self.digest} {self.scope.word} {expiry}"


def new_key() -> str:
    """A new key: 256 random bits in URL-safe letters."""
    return secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """SHA-256 of a key. Any text has one, lone surrogates included, so that no key can cause an error."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def check_name(name: str) -> str:
    """`name` if a key can have it. Raises ValueError."""
    if not _NAME.fullmatch(name) or name == RESERVED_NAME:
        raise ValueError(
            f"expected a name of 1 to 64 letters, digits or . _ -, other than `{RESERVED_NAME}`; got {name!r}"
        )
    return name


def parse_keys(data: bytes) -> list[ApiKey]:
    """The keys of a keys file. Raises KeysFileError."""
    if len(data) > MAX_FILE_BYTES:
        raise KeysFileError(f"a keys file has at most {MAX_FILE_BYTES:,} bytes, this one has {len(data):,}")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise KeysFileError(f"byte {error.start + 1} is not UTF-8") from None
    return [
        _parse_line(number, line)
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]


def read_keys(file: Path) -> list[ApiKey]:
    """The keys of a file. Raises KeysFileError for one that is absent, unreadable or malformed."""
    try:
        return parse_keys(file.read_bytes())
    except OSError as error:
        raise KeysFileError(error.strerror or type(error).__name__) from error


def add_key(file: Path, key: ApiKey) -> None:
    """Appends a key; creates the file with mode 0600 where there is none. Raises KeysFileError, ValueError."""
    check_name(key.name)
    known_keys = read_keys(file) if file.exists() else []
    if any(other.name == key.name for other in known_keys):
        raise ValueError(f"{file} already has a key named {key.name!r}; revoke it first")
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as stream:
        content = stream.read()
        separator = b"\n" if content and not content.endswith(b"\n") else b""
        stream.write(separator + key.line.encode() + b"\n")


def remove_key(file: Path, name: str) -> None:
    """Removes the key of this name. Raises KeysFileError, and ValueError where there is none.

    The file is changed in place: a container that mounts it must see the change.
    """
    if all(key.name != name for key in read_keys(file)):
        raise ValueError(f"{file} has no key named {name!r}")
    lines = [line for line in file.read_text("utf-8").splitlines() if line.split()[:1] != [name]]
    with file.open("r+b") as stream:
        stream.write(_joined(lines))
        stream.truncate()


def _joined(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _parse_line(number: int, line: str) -> ApiKey:
    columns = line.split()
    if len(columns) == 2:
        columns = [*columns, Scope.ADMIN.word, _NEVER]
    if len(columns) != 4:
        raise KeysFileError(f"line {number}: expected name, digest, scope and expiry, got {len(columns)} columns")
    name, key_digest, scope, expiry = columns
    if not _NAME.fullmatch(name):
        raise KeysFileError(f"line {number}: the name must be 1 to 64 letters, digits or . _ -")
    if not _DIGEST.fullmatch(key_digest):
        raise KeysFileError(f"line {number}: the second column must be a SHA-256 of 64 hexadecimal digits")
    try:
        return ApiKey(name, key_digest, Scope.of_word(scope), _parse_expiry(expiry))
    except ValueError:
        raise KeysFileError(
            f"line {number}: expected the scope read, write or admin, and an expiry: 2027-01-31T00:00:00Z, or never"
        ) from None


def _parse_expiry(text: str) -> datetime | None:
    if text == _NEVER:
        return None
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
