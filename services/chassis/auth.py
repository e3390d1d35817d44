"""Who may call: API keys with scopes, and the key that the services show each other.

Unauthenticated
├── KeyMissing             no key came with the call
└── KeyExpired             the key's time is over
Unavailable
└── KeysUnreadable         the keys file broke while the server ran
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from prisma_common import keys
from prisma_common.addresses import is_loopback
from prisma_common.keys import MIN_SERVICE_KEY_LENGTH, RESERVED_NAME, ApiKey, KeysFileError, Scope
from services.chassis import logs
from services.chassis.errors import PermissionDenied, Unauthenticated, Unavailable
from services.chassis.files import state_of
from services.chassis.settings import ChassisSettings
from services.chassis.startup import StartRefused

_log = logs.get(__name__)


class KeyMissing(Unauthenticated):
    """No API key came with the call."""

    reason = "API_KEY_MISSING"


class KeyExpired(Unauthenticated):
    """The API key has expired."""

    reason = "API_KEY_EXPIRED"


class KeysUnreadable(Unavailable):
    """The keys file can no longer be read, so no key can be checked."""

    reason = "API_KEYS_UNREADABLE"


@dataclass(frozen=True)
class Caller:
    """Who calls.

    name: the name of the API key; None where no keys are in use.
    scope: what the caller may do.
    trusted: whether what the caller says of user and request id is believed: other services, and this machine's
    programs where no keys are in use.
    """

    name: str | None
    scope: Scope
    trusted: bool

    def require(self, scope: Scope) -> None:
        """Raises PermissionDenied where the caller's scope does not include `scope`."""
        if self.scope < scope:
            raise PermissionDenied(
                f"this needs an API key with the scope `{scope.word}`; the key {self.name!r} has `{self.scope.word}`",
                metadata={"required_scope": scope.word},
            )


_NO_KEYS = Caller(name=None, scope=Scope.ADMIN, trusted=True)
_SERVICE = Caller(name=RESERVED_NAME, scope=Scope.ADMIN, trusted=True)


class Keys:
    """The keys of people and programs, and the services' own. The file is read again when it has changed."""

    def __init__(self, settings: ChassisSettings) -> None:
        self._file = settings.api_keys_file
        self._service_key = settings.service_key.get_secret_value() if settings.service_key else None
        self._read_state: tuple[int, int, int] | None = None
        self._keys: Sequence[ApiKey] = ()
        self._failed = False

    @property
    def required(self) -> bool:
        """Whether callers must show a key."""
        return self._file is not None or self._service_key is not None

    def caller(self, authorization: str) -> Caller:
        """Who sends this `Authorization` header. Raises Unauthenticated, KeyMissing, KeyExpired, KeysUnreadable."""
        if not self.required:
            return _NO_KEYS
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise KeyMissing("this server requires an API key: send `Authorization: Bearer <key>`")
        if self._service_key is not None and _equal(key, self._service_key):
            return _SERVICE
        return self.caller_of(keys.digest(key))

    def caller_of(self, digest: str) -> Caller:
        """Who has the key with this digest. Raises Unauthenticated, KeyExpired, KeysUnreadable."""
        matching = [key for key in self._current() if _equal(digest, key.digest)]
        if not matching:
            raise Unauthenticated("this API key is unknown; create one with `prisma keys create`")
        key = matching[0]
        if key.expired(datetime.now(UTC)):
            raise KeyExpired(f"the API key {key.name!r} has expired; create a new one with `prisma keys create`")
        return Caller(name=key.name, scope=key.scope, trusted=False)

    def _current(self) -> Sequence[ApiKey]:
        if self._file is None:
            return ()
        state = state_of(self._file)
        if state is None or state != self._read_state:
            self._read_state = state
            self._read(self._file)
        if self._failed:
            raise KeysUnreadable("API keys cannot be checked at the moment: the server's keys file is damaged")
        return self._keys

    def _read(self, file: Path) -> None:
        try:
            self._keys = keys.read_keys(file)
            self._failed = False
        except KeysFileError as error:
            self._failed = True
            _log.error(
                "the keys file cannot be used; all callers with keys are refused", file=str(file), cause=str(error)
            )


def check_keys(settings: ChassisSettings) -> None:
    """Refuses to start with a keys file or a service key that cannot be used. Raises StartRefused."""
    if settings.service_key is not None:
        length = len(settings.service_key.get_secret_value())
        if length < MIN_SERVICE_KEY_LENGTH:
            raise StartRefused(
                f"PRISMA_SERVICE_KEY has {length} characters; it needs at least {MIN_SERVICE_KEY_LENGTH}. "
                "`openssl rand -hex 32` creates one."
            )
    if settings.api_keys_file is not None:
        if settings.service_key is None:
            raise StartRefused(
                "PRISMA_API_KEYS_FILE needs PRISMA_SERVICE_KEY, by which services call each other: set it to the same\n"
                "key for all services (`openssl rand -hex 32`)."
            )
        try:
            keys.read_keys(settings.api_keys_file)
        except KeysFileError as error:
            raise StartRefused(
                f"the keys file {settings.api_keys_file} (PRISMA_API_KEYS_FILE) cannot be used: {error}.\n"
                "This process must be able to read it (a container runs as another user: `chmod 0644`, it holds only\n"
                "digests). `prisma keys create NAME --file FILE` creates keys, `prisma keys list` shows them."
            ) from error


def refuse_open_listener(settings: ChassisSettings, listen: str) -> None:
    """Refuses to listen beyond loopback without keys. Raises StartRefused."""
    if is_loopback(listen) or (settings.service_key is not None and settings.api_keys_file is not None):
        return
    raise StartRefused(
        f"refusing to listen on {listen} without keys: whoever reaches it could read and delete everything.\n"
        "Create a key with `prisma keys create NAME --file FILE`, then set PRISMA_API_KEYS_FILE=FILE and\n"
        "PRISMA_SERVICE_KEY (`openssl rand -hex 32`, the same for all services), or listen on 127.0.0.1."
    )


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))
