"""Who may come in: API keys as over gRPC, sessions for browsers, and no foreign page in either case.

A page of another origin can neither read responses nor make changes, unless the operator names its origin: then it
calls with an API key, never with a session. Requests that change something must come from this origin, and without
keys the Host must be this machine's name, or a foreign name could be pointed at it (DNS rebinding).
"""

from __future__ import annotations

from pathlib import Path

from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway import binding
from gateway.sessions import Sessions
from gateway.settings import GatewaySettings
from gateway.uploads import whole_body
from prisma_common.addresses import is_loopback
from prisma_common.keys import digest
from services.chassis.auth import Caller, Keys
from services.chassis.errors import InvalidArgument, PermissionDenied, Unauthenticated

_MAX_SIGN_IN_BYTES = 4 << 10  # the caller has shown no key yet
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Doors:
    """Lets callers in."""

    def __init__(self, settings: GatewaySettings, folder: Path) -> None:
        """folder: where ended sessions are remembered."""
        self.keys = Keys(settings)
        self.sessions = Sessions(settings, folder)
        self._loopback = is_loopback(settings.http_listen)
        self._trust_forwarded = settings.trust_forwarded
        self.origins = settings.origins
        """Of other pages that may call."""

    def caller(self, request: Request) -> Caller:
        """Who calls. Raises Unauthenticated, KeyMissing, KeyExpired, KeysUnreadable, PermissionDenied."""
        authorization = request.headers.get("authorization", "")
        # Without keys the header proves nothing: a foreign page could send any, and must not get around what follows.
        if authorization and self.keys.required:
            return self.keys.caller(authorization)
        self.refuse_foreign_pages(request)
        return self.caller_in_session(request) or self.keys.caller("")

    def caller_in_session(self, request: Request) -> Caller | None:
        """Who has signed in; None without a session. Raises KeysUnreadable."""
        session = self.sessions.session(request) if self.keys.required else None
        if session is None:
            return None
        try:
            return self.keys.caller_of(session.digest)
        except Unauthenticated:
            return None  # the key was revoked or has expired

    def is_secure(self, request: Request) -> bool:
        """Whether the browser speaks HTTPS: to this process, or to a proxy that is trusted to say so."""
        return self._scheme(request) == "https"

    def refuse_foreign_pages(self, request: Request) -> None:
        """Raises PermissionDenied for requests that a page of another origin could have made."""
        host = request.headers.get("host", "")
        if self._loopback and not self.keys.required and not is_loopback(_with_port(host)):
            raise PermissionDenied(
                f"this server was addressed as {host[:200]!r}, expected localhost or 127.0.0.1: "
                "another name could be a foreign page's. With an API key any name is accepted."
            )
        origin = request.headers.get("origin")
        expected = f"{self._scheme(request)}://{host}"
        allowed = (expected,) if self.keys.required else (expected, *self.origins)
        if request.method not in _SAFE_METHODS and origin is not None and origin not in allowed:
            raise PermissionDenied(
                f"cross-origin request from {origin[:200]!r} refused, expected {expected[:200]!r}. Behind a proxy that "
                "ends TLS, set PRISMA_TRUST_FORWARDED=true on the gateway; pages that may call with an API key are "
                "listed in PRISMA_CORS_ORIGINS."
            )

    def _scheme(self, request: Request) -> str:
        forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
        if self._trust_forwarded and forwarded in ("http", "https"):
            return forwarded
        return request.url.scheme


class SessionEndpoint(HTTPEndpoint):
    """`/session`: who is signed in (GET), sign in with a key (POST), sign out (DELETE)."""

    async def get(self, request: Request) -> Response:
        """Who is signed in, and whether keys are in use at all."""
        doors = _doors(request)
        doors.refuse_foreign_pages(request)
        return _state(doors, doors.caller_in_session(request))

    async def post(self, request: Request) -> Response:
        """Signs in. Raises InvalidArgument, Unauthenticated, KeyExpired, KeysUnreadable."""
        doors = _doors(request)
        doors.refuse_foreign_pages(request)
        body = binding.parse_json(await whole_body(request, _MAX_SIGN_IN_BYTES))
        key = body.get("key") if isinstance(body, dict) else None
        if not isinstance(key, str) or not key:
            raise InvalidArgument.field("key", 'expected {"key": "…"}')
        caller = doors.keys.caller_of(digest(key))
        response = _state(doors, caller)
        doors.sessions.begin(response, digest(key), secure=doors.is_secure(request))
        return response

    async def delete(self, request: Request) -> Response:
        """Signs out: the cookie is refused from now on."""
        doors = _doors(request)
        doors.refuse_foreign_pages(request)
        response = _state(doors, None)
        doors.sessions.end(request, response, secure=doors.is_secure(request))
        return response


def _doors(request: Request) -> Doors:
    return request.app.state.doors


def _state(doors: Doors, caller: Caller | None) -> JSONResponse:
    name, scope = (caller.name, caller.scope.word) if caller is not None else (None, None)
    return JSONResponse({"required": doors.keys.required, "user": name, "scope": scope})


def _with_port(host: str) -> str:
    return host if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else f"{host}:80"
