"""Keys: who may call. 256 random bits, stored as SHA-256, carried as `Authorization: Bearer` over gRPC and HTTP."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from pathlib import Path

from prisma_common.addresses import is_loopback
from prisma_common.keys import RESERVED_NAME, digest, read_keys
from services.chassis.errors import Unauthenticated
from services.chassis.settings import ChassisSettings


class KeyMissing(Unauthenticated):
    """No API key came with the call."""

    reason = "API_KEY_MISSING"


@dataclass(frozen=True)
class Caller:
    """Who calls."""

    name: str
    trusted: bool
    """True for other services: what they say of user and request id is believed."""


def refuse_open_door(settings: ChassisSettings, listen: str) -> None:
    """Ends the process where it would listen beyond loopback without keys."""
    if is_loopback(listen) or (settings.service_key and settings.api_keys_file and settings.api_keys_file.exists()):
        return
    raise SystemExit(
        f"refusing to listen on {listen} without keys: whoever reaches it could read and delete everything.\n"
        "Make a key with `prisma keys create NAME --file FILE`, then set PRISMA_API_KEYS_FILE=FILE and\n"
        "PRISMA_SERVICE_KEY (`openssl rand -hex 32`, the same for all services), or listen on 127.0.0.1."
    )


class Keys:
    """The keys of people and programs, and the services' own. The file is read again when it has changed."""

    def __init__(self, settings: ChassisSettings) -> None:
        self._file: Path | None = settings.api_keys_file
        self._service = settings.service_key.get_secret_value() if settings.service_key else ""
        self._read_at = -1
        self._digests: list[tuple[str, str]] = []

    @property
    def required(self) -> bool:
        """Whether callers must show a key."""
        return self._file is not None or bool(self._service)

    def caller(self, authorization: str) -> Caller:
        """Who sends this `Authorization` header. Raises KeyMissing, Unauthenticated."""
        if not self.required:
            return Caller("", trusted=True)
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise KeyMissing("this server wants an API key: send `Authorization: Bearer <key>`")
        if self._service and hmac.compare_digest(key.encode(), self._service.encode()):
            return Caller(RESERVED_NAME, trusted=True)
        found = self.name_of(digest(key))
        if not found:
            raise Unauthenticated("this API key is not known here; make one with `prisma keys create`")
        return Caller(found, trusted=False)

    def name_of(self, shown: str) -> str:
        """Whose key has this digest; empty where nobody's has."""
        found = ""
        for name, known in self._known():
            if hmac.compare_digest(shown, known):
                found = name
        return found

    def _known(self) -> list[tuple[str, str]]:
        if self._file is None or not self._file.exists():
            return []
        changed = self._file.stat().st_mtime_ns
        if changed != self._read_at:
            self._digests = [(key.name, key.digest) for key in read_keys(self._file)]
            self._read_at = changed
        return self._digests
