"""How a service uses a PostgreSQL server. SQLite needs none of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.chassis.startup import StartRefused

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_SERVICE = "{service}"
_POOLED_CONNECTIONS = 5


@dataclass(frozen=True)
class DatabaseOptions:
    """What the settings PRISMA_DATABASE_… and PRISMA_MIGRATE say."""

    schema: str | None = None
    """Schema of the tables, created by the migration; None for the one that the server selects, usually `public`."""
    connections: int = 15
    """Connections at most; transactions beyond that wait for one."""
    statement_seconds: float = 300.0
    """How long one statement may take; not those of migrations."""
    lock_seconds: float = 30.0
    """How long a transaction waits for its turn; not a migration."""
    prepared: bool = True
    """Whether statements that are used often are prepared on the server, which poolers may not support."""
    migrate: bool = True
    """Whether a service migrates its tables when it starts."""

    @property
    def pool(self) -> tuple[int, int]:
        """Connections that stay open, and those beyond them that are closed after their transaction."""
        pooled = min(self.connections, _POOLED_CONNECTIONS)
        return pooled, self.connections - pooled

    def begin(self, *, bounded: bool) -> str:
        """SQL for the begin of a transaction. The settings end with it, so connections may go through a pooler.

        bounded: whether statements and waits are limited.
        """
        seconds = (self.statement_seconds, self.lock_seconds) if bounded else (0.0, 0.0)
        statements = [
            f"SET LOCAL {name} = {round(value * 1000)}"
            for name, value in zip(("statement_timeout", "lock_timeout"), seconds, strict=True)
        ]
        if self.schema is not None:
            statements.append(f'SET LOCAL search_path = "{self.schema}"')
        return "; ".join(statements)


def schema_of(service: str, template: str | None) -> str | None:
    """The schema of a service: the template, in which `{service}` stands for its name. Raises StartRefused."""
    schema = None if template is None else template.replace(_SERVICE, service)
    if schema is not None and not _SCHEMA.fullmatch(schema):
        raise StartRefused(
            f"PRISMA_DATABASE_SCHEMA: expected a name of small letters, digits and _, in which {_SERVICE} stands for "
            f"the service's name, got {template!r}"
        )
    return schema
