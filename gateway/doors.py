"""Who may come in: API keys as over gRPC, a signed cookie for browsers, and no foreign page in either case.

The cookie (RFC 6265) holds the key's name and digest, signed; nothing is stored here, and a key that is taken out of
the keys file ends its sessions. A page of another origin can neither read answers (no CORS headers are sent) nor make
changes: requests that change something must come from this origin, and without keys the Host must be this machine's
name, or a foreign name could be pointed at it (DNS rebinding).
"""

from __future__ import annotations

import hashlib
import secrets
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway import binding
from gateway.uploads import whole_body
from prisma_common.addresses import is_loopback
from prisma_common.keys import digest
from services.chassis.auth import Keys
from services.chassis.errors import InvalidArgument, PermissionDenied, Unauthenticated
from services.chassis.settings import ChassisSettings

COOKIE = "prisma_session"
SESSION_SECONDS = 30 * 24 * 3600
_MAX_SESSION_BYTES = 4 << 10  # nobody has shown a key yet
_SAFE = ("GET", "HEAD", "OPTIONS")


class Doors:
    """Lets callers in."""

    def __init__(self, settings: ChassisSettings, listen: str) -> None:
        self._keys = Keys(settings)
        key = settings.service_key.get_secret_value() if settings.service_key else secrets.token_hex(32)
        self._signer = URLSafeTimedSerializer(hashlib.sha256(b"session" + key.encode()).digest(), salt="prisma")
        self._secure = settings.tls_certificate is not None
        self._loopback = is_loopback(listen)

    def caller(self, request: Request) -> str:
        """Who calls; empty where no keys are in use. Raises KeyMissing, Unauthenticated, PermissionDenied."""
        authorization = request.headers.get("authorization", "")
        # Without keys the header proves nothing: a foreign page could send any, and must not get around what follows.
        if authorization and self._keys.required:
            return self._keys.caller(authorization).name
        self._refuse_foreign_pages(request)
        if not self._keys.required:
            return ""
        return self._in_session(request) or self._keys.caller("").name

    async def session(self, request: Request) -> Response:
        """`/session`: who is in (GET), come in with a key (POST), go (DELETE)."""
        self._refuse_foreign_pages(request)
        if request.method == "DELETE":
            response = JSONResponse({"required": self._keys.required, "user": None})
            response.delete_cookie(COOKIE, path="/", secure=self._secure, httponly=True, samesite="strict")
            return response
        if request.method == "POST":
            held = binding.parse_json(await whole_body(request, _MAX_SESSION_BYTES))
            key = held.get("key") if isinstance(held, dict) else None
            if not isinstance(key, str) or not key:
                raise InvalidArgument.field("key", 'expected {"key": "…"}')
            name = self._keys.name_of(digest(key))
            if not name:
                raise Unauthenticated("this API key is not known here; make one with `prisma keys create`")
            response = JSONResponse({"required": True, "user": name})
            response.set_cookie(
                COOKIE,
                self._signer.dumps([name, digest(key)]),
                max_age=SESSION_SECONDS,
                path="/",
                secure=self._secure,
                httponly=True,
                samesite="strict",
            )
            return response
        user = self._in_session(request) if self._keys.required else ""
        return JSONResponse({"required": self._keys.required, "user": user or None})

    def _in_session(self, request: Request) -> str:
        try:
            _, shown = self._signer.loads(request.cookies.get(COOKIE, ""), max_age=SESSION_SECONDS)
        except (BadSignature, ValueError, TypeError):
            return ""
        return self._keys.name_of(shown) if isinstance(shown, str) else ""

    def _refuse_foreign_pages(self, request: Request) -> None:
        host = request.headers.get("host", "")
        if self._loopback and not self._keys.required and not is_loopback(_with_port(host)):
            raise PermissionDenied(
                f"this server is asked under the name {host[:200]!r}, expected localhost or 127.0.0.1: "
                "another name could be a foreign page's. With an API key any name is taken."
            )
        origin = request.headers.get("origin")
        if request.method not in _SAFE and origin is not None and urlsplit(origin).netloc != host:
            raise PermissionDenied(f"a page of {origin[:200]!r} may change nothing here")


def _with_port(host: str) -> str:
    return host if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else f"{host}:80"
