"""Commands for API keys: create, list, revoke. The file holds their digests, never the keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prisma_client.cli import output
from prisma_common import keys
from prisma_common.keys import ApiKey, Scope

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True, rich_markup_mode=None)
KeysFile = Annotated[
    Path, typer.Option(help="The keys file; PRISMA_API_KEYS_FILE if not given.", envvar="PRISMA_API_KEYS_FILE")
]
KeyName = Annotated[str, typer.Argument(help="Name of the key's holder: letters, digits, . _ -")]


class ScopeName(StrEnum):
    """What a key allows; each scope includes those before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@app.command("create", epilog="Example: prisma keys create ada --scope write --days 90 --file keys")
def create_key(
    name: KeyName,
    file: KeysFile,
    scope: Annotated[
        ScopeName, typer.Option(help="read: look; write: also change data; admin: everything.")
    ] = ScopeName.ADMIN,
    days: Annotated[int | None, typer.Option(help="Days until the key expires. Default: never.", min=1)] = None,
) -> None:
    """Create a key, and print it once.

    The file holds its SHA-256: the key cannot be shown again.
    """
    expire_time = None if days is None else datetime.now(UTC) + timedelta(days=days)
    typer.echo(create(name, file, scope=Scope.of_word(scope.value), expire_time=expire_time))


@app.command("list", epilog="Example: prisma keys list --file keys")
def list_keys(file: KeysFile) -> None:
    """List the keys of the file: name, scope and expiry."""
    now = datetime.now(UTC)
    columns: output.Columns = {
        "name": lambda key: key["name"],
        "scope": lambda key: key["scope"],
        "expires": lambda key: key["expires"] or "never",
        "": lambda key: "expired" if key["expired"] else "",
    }
    try:
        rows = [_row(key, now) for key in keys.read_keys(file)]
    except ValueError as error:
        raise _error(file, error) from None
    output.show(rows, columns)


@app.command("revoke", epilog="Example: prisma keys revoke ada --file keys")
def revoke_key(name: KeyName, file: KeysFile) -> None:
    """Remove a key from the file.

    Running services refuse it from then on.
    """
    try:
        keys.remove_key(file, name)
    except ValueError as error:
        raise _error(file, error) from None
    output.show_one({"revoked": name}, [f"the key of {name} was revoked"])


def create(name: str, file: Path, *, scope: Scope = Scope.ADMIN, expire_time: datetime | None = None) -> str:
    """Adds a key to the keys file and returns it. Raises typer.BadParameter."""
    key = keys.new_key()
    try:
        keys.add_key(file, ApiKey(name, keys.digest(key), scope, expire_time))
    except ValueError as error:
        raise _error(file, error) from error
    return key


def _row(key: ApiKey, now: datetime) -> dict[str, object]:
    return {
        "name": key.name,
        "scope": key.scope.word,
        "expires": key.expire_time.isoformat() if key.expire_time else None,
        "expired": key.expired(now),
    }


def _error(file: Path, error: ValueError) -> typer.BadParameter:
    message = str(error)
    return typer.BadParameter(message if str(file) in message else f"{file}: {message}")
