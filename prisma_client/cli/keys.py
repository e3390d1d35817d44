"""`prisma keys`: creates API keys, of which only the SHA-256 is stored."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import typer

from prisma_common import keys
from prisma_common.keys import ApiKey, Scope


def create(name: str, file: Path, *, scope: Scope = Scope.ADMIN, expire_time: datetime | None = None) -> str:
    """Adds a key to the keys file and returns it. Raises typer.BadParameter."""
    key = keys.new_key()
    try:
        keys.add_key(file, ApiKey(name, keys.digest(key), scope, expire_time))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return key
