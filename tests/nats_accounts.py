"""Keys, accounts and users of NATS for tests, as its tool nsc writes them."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OPERATOR, ACCOUNT, USER = 14 << 3, 0, 20 << 3
_UNLIMITED = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
_STORAGE = ("mem_storage", "disk_storage", "streams", "consumer")


class Key:
    """A key pair of a kind."""

    def __init__(self, kind: int) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.public = _text(bytes([kind]) + self._private.public_key().public_bytes_raw())
        prefix = bytes([18 << 3 | kind >> 5, (kind & 31) << 3])
        self.seed = _text(prefix + self._private.private_bytes_raw())

    def claim(self, subject: Key, claims: Mapping[str, Any], *, name: str, seconds: float | None = None) -> str:
        """A JWT by this key. seconds: until it expires."""
        body: dict[str, Any] = {"iat": int(time.time()), "iss": self.public, "name": name, "sub": subject.public}
        body |= {"jti": name, "nats": {**claims, "version": 2}}
        if seconds is not None:
            body["exp"] = int(time.time() + seconds)
        signed = f"{_url_safe(json.dumps({'typ': 'JWT', 'alg': 'ed25519-nkey'}))}.{_url_safe(json.dumps(body))}"
        return f"{signed}.{base64.urlsafe_b64encode(self._private.sign(signed.encode())).decode().rstrip('=')}"


class Operator:
    """An operator with one account for PRISMA. settings: what a server's configuration holds of them."""

    def __init__(self) -> None:
        operator, system, self._account = Key(OPERATOR), Key(ACCOUNT), Key(ACCOUNT)
        limits = {**dict.fromkeys(_UNLIMITED, -1), "wildcards": True}
        claims = {"type": "account", "limits": {**limits, **dict.fromkeys(_STORAGE, -1)}}
        accounts = {
            system.public: operator.claim(system, {"type": "account", "limits": limits}, name="SYS"),
            self._account.public: operator.claim(self._account, claims, name="PRISMA"),
        }
        self.settings = "\n".join(
            [
                f"operator: {operator.claim(operator, {'type': 'operator'}, name='tests')}",
                f"system_account: {system.public}",
                "resolver: MEMORY",
                "resolver_preload: {",
                *(f"  {public}: {jwt}" for public, jwt in accounts.items()),
                "}",
            ]
        )

    def write_credentials(
        self,
        file: Path,
        *,
        publish: Sequence[str] = (">",),
        subscribe: Sequence[str] = (">",),
        seconds: float | None = None,
    ) -> None:
        """A new user's credentials file. publish, subscribe: what the user may do. seconds: until they expire."""
        user = Key(USER)
        claims = {"type": "user", "pub": {"allow": [*publish]}, "sub": {"allow": [*subscribe]}}
        claims |= dict.fromkeys(("subs", "data", "payload"), -1)
        jwt = self._account.claim(user, claims, name="services", seconds=seconds)
        blocks = {"NATS USER JWT": jwt, "USER NKEY SEED": user.seed}
        file.write_text(
            "\n\n".join(f"-----BEGIN {name}-----\n{text}\n------END {name}------" for name, text in blocks.items())
        )


def _text(data: bytes) -> str:
    return base64.b32encode(data + binascii.crc_hqx(data, 0).to_bytes(2, "little")).decode().rstrip("=")


def _url_safe(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
