"""Files that were previewed, kept for a while, so that another preview with other options need not send them again."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import IO, cast

from services.chassis.errors import InvalidArgument

MAX_FILES = 16
KEPT_SECONDS = 600.0
"""Since the latest preview of a file."""


@dataclass
class _KeptFile:
    content: IO[bytes]
    size: int
    expiry: asyncio.TimerHandle
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of the file's position: one preview reads it at a time."""
    is_forgotten: bool = False


class KeptFiles:
    """Files without names, by tokens that nobody can guess. All together have `max_bytes` at most."""

    def __init__(self, max_bytes: int, seconds: float = KEPT_SECONDS) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._files: dict[str, _KeptFile] = {}

    def keep(self, file: IO[bytes]) -> str:
        """Keeps a file that its caller closes; the oldest ones go where there are too many. Returns its token."""
        content = cast("IO[bytes]", os.fdopen(os.dup(file.fileno()), "rb"))
        size = os.fstat(content.fileno()).st_size
        while self._files and (len(self._files) >= MAX_FILES or self._bytes + size > self._max_bytes):
            self._forget(next(iter(self._files)))
        token = secrets.token_urlsafe(16)
        self._files[token] = _KeptFile(content, size, self._expiry(token))
        return token

    @asynccontextmanager
    async def use(self, token: str) -> AsyncGenerator[IO[bytes]]:
        """The file of a token, which is kept longer then. Raises InvalidArgument for a token without one."""
        spooled = self._files.pop(token, None)
        if spooled is None:
            raise InvalidArgument.field(
                "config.file_token", "the file is kept no longer, or by another server: send it again, without a token"
            )
        spooled.expiry.cancel()
        spooled.expiry = self._expiry(token)
        self._files[token] = spooled  # the newest now
        async with spooled.lock:
            try:
                if spooled.is_forgotten:
                    raise InvalidArgument.field("config.file_token", "the file is kept no longer: send it again")
                spooled.content.seek(0)
                yield spooled.content
            finally:
                if spooled.is_forgotten:
                    spooled.content.close()

    @property
    def _bytes(self) -> int:
        return sum(spooled.size for spooled in self._files.values())

    def _expiry(self, token: str) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._seconds, self._forget, token)

    def _forget(self, token: str) -> None:
        spooled = self._files.pop(token)
        spooled.expiry.cancel()
        spooled.is_forgotten = True
        if not spooled.lock.locked():
            spooled.content.close()
