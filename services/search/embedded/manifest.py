"""The file that says what a stream consists of: written last and renamed into place, so that a commit exists or not.

It begins with its own SHA-256, and holds size and SHA-256 of every other file. These are verified when a stream is
opened, and again when a query fails on it, so that a damaged file gives at most one wrong answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from services.chassis.files import whole
from services.search.backend import Position

FORMAT = 5
_NAME = "manifest.json"


class DamagedFiles(Exception):
    """Files of a stream are missing, damaged, or of another version: it must be deleted and derived again."""


class FileDigest(NamedTuple):
    """What a file must hold."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A commit of a stream."""

    history: str
    revision: int
    item_count: int
    update_time: float
    """In seconds since 1970."""
    parts: list[str]
    """Names of the folders of its segments, oldest first."""
    digests: dict[str, FileDigest]
    """By path below the stream's folder."""
    detail: dict[str, int] = field(default_factory=dict[str, int])
    """What the kind of stream needs besides, such as its dimension."""
    text_part: str | None = None
    """The folder of the full-text index."""
    format: int = FORMAT

    @property
    def position(self) -> Position:
        """The position that the commit has reached."""
        return Position(self.history, self.revision)

    @property
    def folders(self) -> list[str]:
        """All folders that belong to the commit."""
        return [*self.parts, *([self.text_part] if self.text_part else [])]


def load(folder: Path) -> Manifest | None:
    """The last commit; None where there is none. Raises DamagedFiles when it cannot be read. Verifies no files."""
    try:
        digest, _, body = (folder / _NAME).read_bytes().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            raise DamagedFiles(f"{folder / _NAME} is damaged, or of another version")
        content = json.loads(body)
        if content.get("format") != FORMAT:
            raise DamagedFiles(f"{folder} has format {content.get('format')}; this version writes {FORMAT}")
        content["digests"] = {name: FileDigest(*digest) for name, digest in content["digests"].items()}
        return Manifest(**content)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedFiles(f"{folder / _NAME} cannot be read: {error}") from error


def save(folder: Path, manifest: Manifest) -> None:
    """Makes the manifest durable and, by its rename, the commit."""
    body = json.dumps(asdict(manifest)).encode()
    with whole(folder / _NAME) as file:
        file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def verify(folder: Path, digests: dict[str, FileDigest]) -> None:
    """Raises DamagedFiles when a file is missing or its size or content is not what was written."""
    for name, digest in digests.items():
        try:
            actual = digest_of(folder / name)
        except OSError as error:
            raise DamagedFiles(f"{folder / name} cannot be read: {error}") from error
        if actual != digest:
            raise DamagedFiles(f"{folder / name} is damaged: expected {digest}, got {actual}")


def digest_of(path: Path) -> FileDigest:
    """Size and digest of a file."""
    with path.open("rb") as file:
        return FileDigest(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def digests_of(folder: Path, part: str) -> dict[str, FileDigest]:
    """The digests of all files of a part."""
    return {f"{part}/{path.name}": digest_of(path) for path in sorted((folder / part).iterdir())}


def new_part(folder: Path) -> str:
    """Creates an empty folder for a part, with a name that no part has; returns the name."""
    numbers = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    name = f"{max(numbers, default=0) + 1:08d}"
    (folder / name).mkdir()
    return name


def unreferenced(folder: Path, names: Iterable[str]) -> list[Path]:
    """Parts that no commit refers to: left by a crash, or replaced."""
    referenced = set(names)
    return [path for path in folder.iterdir() if path.is_dir() and path.name not in referenced]
