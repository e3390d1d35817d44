"""Makes API keys: 256 random bits, of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

import typer


def create(name: str, file: Path) -> str:
    """Adds a key to the file, one `name sha256` a line, readable by its owner alone; returns the key."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name) or name == "service":
        raise typer.BadParameter(f"expected 1 to 64 letters, digits or . _ -, other than `service`; got {name!r}")
    known = file.read_text().splitlines() if file.exists() else []
    if any(line.split()[:1] == [name] for line in known):
        raise typer.BadParameter(f"{file} has a key of {name!r}; delete its line first")
    key = secrets.token_urlsafe(32)
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a") as opened:
        opened.write(f"{name} {hashlib.sha256(key.encode()).hexdigest()}\n")
    return key
