"""Imports of weights: the boundary between files of unknown origin and the domain."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.chassis import logs
from services.chassis.errors import PrismaError
from services.chassis.files import reporting_full_disk
from services.trainer.errors import FileTooLarge, InvalidWeights
from services.trainer.sae import exchange
from services.trainer.sae.weights import Weights

IMPORTS_AT_ONCE = 2
"""Imports that hold their file and their weights in memory; others wait."""
_MAX_MESSAGE_CHARACTERS = 300
_log = logs.get(__name__)


@dataclass(frozen=True)
class ImportedWeights:
    """Weights that were read from a file."""

    weights: Weights
    layout: str


@dataclass(frozen=True)
class Upload:
    """A file that was received completely."""

    path: Path
    digest: str
    """SHA-256, hexadecimal."""


class WeightImports:
    """Receives and reads files of weights, a few at a time."""

    def __init__(self, *, folder: Path, max_bytes: int) -> None:
        """`folder` holds files while they are received; `max_bytes` limits a file, and what a .zip unpacks to."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._places = asyncio.Semaphore(IMPORTS_AT_ONCE)
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*"):  # of a killed process
            leftover.unlink(missing_ok=True)

    @asynccontextmanager
    async def receive(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[Upload]:
        """A file on disk with the chunks' content, until the end of the context. Raises FileTooLarge, StorageFull."""
        with reporting_full_disk(self._folder), tempfile.NamedTemporaryFile(dir=self._folder) as file:
            digest, size = hashlib.sha256(), 0
            async for chunk in chunks:
                size += len(chunk)
                if size > self._max_bytes:
                    raise FileTooLarge(
                        f"the file has more than {self._max_bytes:,} bytes", metadata={"limit": str(self._max_bytes)}
                    )
                digest.update(chunk)
                await asyncio.to_thread(file.write, chunk)
            file.flush()
            yield Upload(path=Path(file.name), digest=digest.hexdigest())

    @asynccontextmanager
    async def read(self, path: Path, *, dimension: int) -> AsyncGenerator[ImportedWeights]:
        """The autoencoder in a file, in memory until the end of the context; a few at a time, others wait.

        Raises InvalidWeights for whatever is wrong with the file.
        """
        async with self._places:
            imported = await asyncio.to_thread(read_weights, path, max_bytes=self._max_bytes)
            if imported.weights.dimension != dimension:
                raise InvalidWeights(
                    f"the weights are for vectors of {imported.weights.dimension} numbers, the dataset's have "
                    f"{dimension}"
                )
            yield imported


def read_weights(path: Path, *, max_bytes: int) -> ImportedWeights:
    """The autoencoder in a file. Raises InvalidWeights, with a specific message where the layout is understood."""
    try:
        _check_unpacked_size(path, max_bytes)
        weights, layout = exchange.read(path.read_bytes())
    except exchange.UnknownLayout as error:
        raise InvalidWeights(f"the file: {error}") from error
    except PrismaError:
        raise
    except Exception as error:
        # A file can be wrong in more ways than there are messages for; none of them is a defect of the server.
        _log.info("unreadable weights refused", error=f"{type(error).__name__}: {error}"[:_MAX_MESSAGE_CHARACTERS])
        message = str(error).strip().partition("\n")[0][:_MAX_MESSAGE_CHARACTERS]
        raise InvalidWeights(f"the file cannot be read: {message or type(error).__name__}") from error
    return ImportedWeights(weights=weights, layout=layout)


def _check_unpacked_size(path: Path, max_bytes: int) -> None:
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > max_bytes:
        raise InvalidWeights(f"the .zip unpacks to {size:,} bytes, more than {max_bytes:,}")
