"""Files of previews, which stay for a while, so that another preview with other options need not send them again."""

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
LIFETIME_SECONDS = 600.0
"""Since the latest preview of a file."""


@dataclass
class _PreviewFile:
    content: IO[bytes]
    size: int
    expiry: asyncio.TimerHandle
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of the file's position: one preview reads it at a time."""
    is_removed: bool = False


class PreviewFiles:
    """Files without names, by tokens that nobody can guess. All together have `max_bytes` at most."""

    def __init__(self, max_bytes: int, seconds: float = LIFETIME_SECONDS) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._files: dict[str, _PreviewFile] = {}

    def add(self, file: IO[bytes]) -> str:
        """Adds a file that its caller closes; the oldest ones go where there are too many. Returns its token."""
        content = cast("IO[bytes]", os.fdopen(os.dup(file.fileno()), "rb"))
        size = os.fstat(content.fileno()).st_size
        while self._files and (len(self._files) >= MAX_FILES or self._bytes + size > self._max_bytes):
            self._remove(next(iter(self._files)))
        token = secrets.token_urlsafe(16)
        self._files[token] = _PreviewFile(content, size, self._expiry(token))
        return token

    def clear(self) -> None:
        """Removes all files, as their space is needed."""
        for token in list(self._files):
            self._remove(token)

    @asynccontextmanager
    async def use(self, token: str) -> AsyncGenerator[IO[bytes]]:
        """The file of a token, which stays longer then. Raises InvalidArgument for a token without one."""
        file = self._files.pop(token, None)
        if file is None:
            raise InvalidArgument.field(
                "config.file_token", "the file is gone, or another server has it: send it again, without a token"
            )
        file.expiry.cancel()
        file.expiry = self._expiry(token)
        self._files[token] = file  # the newest now
        async with file.lock:
            try:
                if file.is_removed:
                    raise InvalidArgument.field("config.file_token", "the file is gone: send it again, without a token")
                file.content.seek(0)
                yield file.content
            finally:
                if file.is_removed:
                    file.content.close()

    @property
    def _bytes(self) -> int:
        return sum(file.size for file in self._files.values())

    def _expiry(self, token: str) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._seconds, self._remove, token)

    def _remove(self, token: str) -> None:
        file = self._files.pop(token)
        file.expiry.cancel()
        file.is_removed = True
        if not file.lock.locked():
            file.content.close()
