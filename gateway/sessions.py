"""Browser sessions: a signed cookie (RFC 6265) that holds the digest of an API key.

Revoking the key ends its sessions; signing out ends one session: its id is remembered, also across restarts, until the
cookie would have expired.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.settings import ChassisSettings

COOKIE = "prisma_session"
SESSION_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class Session:
    """What a valid cookie says. digest: of the API key."""

    id: str
    digest: str


class Sessions:
    """Issues, reads and ends sessions."""

    def __init__(self, settings: ChassisSettings, folder: Path) -> None:
        key = settings.service_key.get_secret_value() if settings.service_key else secrets.token_hex(32)
        self._signer = URLSafeTimedSerializer(hashlib.sha256(b"session" + key.encode()).digest(), salt="prisma")
        self._file = folder / "ended_sessions"
        self._ended = _read(self._file)

    def session(self, request: Request) -> Session | None:
        """The session of a request's cookie; None without a valid one."""
        try:
            session_id, digest = self._signer.loads(request.cookies.get(COOKIE, ""), max_age=SESSION_SECONDS)
        except (BadSignature, ValueError, TypeError):
            return None
        if not isinstance(session_id, str) or not isinstance(digest, str) or session_id in self._ended:
            return None
        return Session(session_id, digest)

    def begin(self, response: Response, digest: str, *, secure: bool) -> None:
        """Sets the cookie of a new session."""
        response.set_cookie(
            COOKIE,
            self._signer.dumps([secrets.token_urlsafe(16), digest]),
            max_age=SESSION_SECONDS,
            path="/",
            secure=secure,
            httponly=True,
            samesite="strict",
        )

    def end(self, request: Request, response: Response, *, secure: bool) -> None:
        """Deletes the cookie, and refuses it from now on."""
        session = self.session(request)
        if session is not None:
            expiry = int(time.time()) + SESSION_SECONDS
            self._ended[session.id] = expiry
            with self._file.open("a") as file:
                file.write(f"{session.id} {expiry}\n")
        response.delete_cookie(COOKIE, path="/", secure=secure, httponly=True, samesite="strict")


def _read(file: Path) -> dict[str, int]:
    """The sessions that have ended and whose cookies have not expired; rewrites the file without the others."""
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        return {}
    entries = [line.split() for line in lines]
    ended = {
        entry[0]: int(entry[1])
        for entry in entries
        if len(entry) == 2 and entry[1].isdecimal() and int(entry[1]) > time.time()
    }
    file.write_text("".join(f"{session_id} {expiry}\n" for session_id, expiry in ended.items()))
    return ended
