"""The file that says what a stream consists of: written last, renamed into place, so that a commit is there or not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from services.chassis.files import whole

FORMAT = 1
_NAME = "manifest.json"


class TornIndex(Exception):
    """What is on disk does not fit together: it is thrown away and derived again."""


@dataclass(frozen=True)
class Manifest:
    """A commit of a stream.

    parts: names of the folders that hold it, oldest first. detail: what the kind of stream needs besides.
    sizes: bytes of each file of the parts that never changes again.
    """

    revision: int
    item_count: int
    update_time: float
    parts: list[str]
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    detail: dict[str, Any] = field(default_factory=dict[str, Any])
    format: int = FORMAT


def load(folder: Path) -> Manifest | None:
    """The last commit; None where there is none. Raises TornIndex when it, or a file it names, is damaged."""
    try:
        manifest = Manifest(**json.loads((folder / _NAME).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise TornIndex(f"{folder / _NAME} cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise TornIndex(f"{folder} has format {manifest.format}, this version writes {FORMAT}")
    for name, size in manifest.sizes.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise TornIndex(f"{path} is missing or was cut: expected {size} bytes")
    return manifest


def save(folder: Path, manifest: Manifest) -> None:
    """Makes the manifest durable and, by its rename, the commit."""
    with whole(folder / _NAME) as file:
        file.write(json.dumps(asdict(manifest)).encode())


def new_part(folder: Path) -> Path:
    """A new empty folder for a part, with a name that no part has."""
    numbers = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    part = folder / f"{max(numbers, default=0) + 1:08d}"
    part.mkdir()
    return part


def strangers(folder: Path, kept: Iterable[str]) -> list[Path]:
    """Parts that no commit names: left by a crash, or replaced."""
    names = set(kept)
    return [path for path in folder.iterdir() if path.is_dir() and path.name not in names]
