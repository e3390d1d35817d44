"""How a process reaches a message server that is secured: TLS, and a password, a credentials file or an NKEY.

Files are read for each connection, so replaced ones need no restart. nats-py's own credentials need the package nkeys,
which has no wheels; what they take of it is a signature by Ed25519.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nats.aio.client import Client
from nats.errors import AuthorizationError
from nats.errors import Error as NatsError

from services.chassis.certificates import CertificateFiles, Certificates
from services.chassis.settings import ChassisSettings
from services.chassis.startup import StartRefused

_SEED_PREFIX, _USER_PREFIX = 18 << 3, 20 << 3
"""The first bits of a seed, and of a user's key, which make their text begin with S and U."""
_BLOCK = re.compile(r"-+BEGIN ([A-Z ]+)-+\s*([\w.-]+)\s*-+END ")
_SCHEMES = ("nats", "tls", "ws", "wss")


class SeedError(ValueError):
    """A file that holds no seed; the message never quotes it."""


@dataclass(frozen=True)
class NatsAccess:
    """What a connection needs.

    servers: addresses without user and password. user, password: of the addresses; None for none.
    credentials: file with a user's JWT and seed. nkey: file with a user's seed. files: certificates, None for none.
    """

    servers: Sequence[str]
    user: str | None = None
    password: str | None = None
    credentials: Path | None = None
    nkey: Path | None = None
    files: CertificateFiles | None = None

    @classmethod
    def to(cls, urls: str, **options: Any) -> NatsAccess:
        """Access to one address, or several of a cluster, separated by commas. Raises StartRefused."""
        parts = [_split(url.strip()) for url in urls.split(",") if url.strip()]
        if not parts:
            raise StartRefused("PRISMA_NATS_URL is empty, expected nats://host:4222, or several separated by commas")
        logins = {(part.username, part.password) for part in parts if part.username is not None}
        if len(logins) > 1:
            raise StartRefused("PRISMA_NATS_URL has several users or passwords, expected the same for all servers")
        user, password = next(iter(logins), (None, None))
        return cls(
            servers=[f"{part.scheme}://{part.netloc.rpartition('@')[2]}" for part in parts],
            user=None if user is None else unquote(user),
            password=None if password is None else unquote(password),
            **options,
        )

    @classmethod
    def of(cls, settings: ChassisSettings) -> NatsAccess:
        """Access as it is configured. Raises StartRefused for what cannot be used."""
        if settings.nats_credentials is not None and settings.nats_nkey is not None:
            raise StartRefused("PRISMA_NATS_CREDENTIALS and PRISMA_NATS_NKEY are both set: unset one of them")
        access = cls.to(
            settings.nats_url.get_secret_value(),
            credentials=settings.nats_credentials,
            nkey=settings.nats_nkey,
            files=_certificate_files(settings),
        )
        for file, variable in ((access.credentials, "CREDENTIALS"), (access.nkey, "NKEY")):
            try:
                if file is not None:
                    access.sign("")
            except OSError as error:
                raise StartRefused(f"cannot read {file} (PRISMA_NATS_{variable}): {error.strerror}") from error
            except SeedError as error:
                raise StartRefused(f"{file} (PRISMA_NATS_{variable}) cannot be used: {error}") from None
        return access

    @property
    def addresses(self) -> str:
        """Where the servers are, without credentials."""
        parts = [urlsplit(server) for server in self.servers]
        return ",".join(f"{part.hostname}:{part.port or 4222}" for part in parts)

    @property
    def demands_tls(self) -> bool:
        """Whether nothing is to be sent to a server without TLS."""
        own = self.files is not None and bool(self.files)
        return own or any(server.startswith(("tls://", "wss://")) for server in self.servers)

    def tls(self) -> ssl.SSLContext:
        """The context of the next connection."""
        current = self.files.current if self.files is not None else None
        authority = current.authority.decode("ascii") if current is not None and current.authority else None
        context = ssl.create_default_context(cadata=authority)
        if self.files is not None and current is not None and current.pair is not None:
            context.load_cert_chain(*self.files.pair_files)
        return context

    def sign(self, nonce: str) -> bytes:
        """The signature of a server's nonce, in base64. Raises OSError, SeedError."""
        return base64.b64encode(_private_key(self._seed()).sign(nonce.encode()))

    def jwt(self) -> bytes:
        """The user's JWT of the credentials file. Raises OSError, SeedError."""
        assert self.credentials is not None
        return _block(self.credentials, "NATS USER JWT").encode()

    def public_key(self) -> str:
        """The user's public key, as NATS writes it. Raises OSError, SeedError."""
        public = _private_key(self._seed()).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        data = bytes([_USER_PREFIX]) + public
        checksum = binascii.crc_hqx(data, 0).to_bytes(2, "little")
        return base64.b32encode(data + checksum).decode().rstrip("=")

    def _seed(self) -> str:
        if self.credentials is not None:
            return _block(self.credentials, "USER NKEY SEED")
        assert self.nkey is not None
        return _text(self.nkey).strip()


class SecuredClient(Client):
    """nats-py's client, with what NatsAccess knows, and reconnecting also where a server ends its access."""

    def __init__(self, access: NatsAccess) -> None:
        super().__init__()
        self._access = access
        self._latest: tuple[Certificates | None, ssl.SSLContext] | None = None

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """With the certificates in force: files that are being replaced leave the former context in use."""
        files = self._access.files
        current = files.current if files is not None else None
        if current is None or self._latest is None or self._latest[0] is not current:
            try:
                self._latest = current, self._access.tls()
            except (OSError, ValueError):
                if self._latest is None:
                    raise
        return self._latest[1]

    def _connect_command(self) -> bytes:
        """The message that shows the user, and is sent only where it may be read. Raises nats.errors.Error."""
        if self._access.demands_tls and not self._server_info.get("tls_required"):
            raise NatsError("nats: the server does not speak TLS, which PRISMA_NATS_URL or PRISMA_NATS_TLS_… demands")
        try:
            if self._access.nkey is not None:
                self._public_nkey = self._access.public_key()
            return super()._connect_command()
        except (OSError, SeedError) as error:
            raise NatsError(f"nats: the user's credentials cannot be read: {error}") from error

    async def _process_err(self, err_msg: str) -> None:
        """An error that the server reports: where it ends the connection, as for an expired user, tries again."""
        if "permissions violation" in err_msg or "stale connection" in err_msg:
            await super()._process_err(err_msg)
            return
        error = AuthorizationError() if "authorization" in err_msg else NatsError(f"nats: {err_msg}")
        await self._process_op_err(error)
        await self._error_cb(error)


def _split(url: str) -> Any:
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    try:
        # What follows the host would be a part of a password or token with a character that is not quoted.
        whole = parts.path in ("", "/") and not parts.query and not parts.fragment
        usable = whole and parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise StartRefused(
            "PRISMA_NATS_URL has an address that cannot be used, expected nats://user:password@host:4222 or "
            "tls://…, several separated by commas, without a path, and in passwords and tokens %23 for #, %2F for /, "
            "%3F for ? and %40 for @"
        )
    return parts


def _certificate_files(settings: ChassisSettings) -> CertificateFiles | None:
    """The files for NATS, which default to those of TLS where an address demands it. Raises StartRefused."""
    own = (settings.nats_tls_certificate, settings.nats_tls_key, settings.nats_tls_authority)
    demanded = re.search(r"\b(tls|wss)://", settings.nats_url.get_secret_value())
    if not any(own) and not demanded:
        return None
    certificate, key = own[:2] if any(own[:2]) else (settings.tls_certificate, settings.tls_key)
    return CertificateFiles(
        variable="PRISMA_NATS_TLS", certificate=certificate, key=key, authority=own[2] or settings.tls_authority
    )


def _private_key(seed: str) -> Ed25519PrivateKey:
    try:
        data = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except (binascii.Error, ValueError):
        raise SeedError("expected the seed of a user's NKEY, which begins with SU") from None
    body, checksum = data[:-2], data[-2:]
    is_seed = len(data) == 36 and body[0] & 0xF8 == _SEED_PREFIX
    kind = (body[0] & 7) << 5 | body[1] >> 3 if is_seed else None
    if kind != _USER_PREFIX or binascii.crc_hqx(body, 0).to_bytes(2, "little") != checksum:
        raise SeedError("expected the seed of a user's NKEY, which begins with SU and has 58 characters")
    return Ed25519PrivateKey.from_private_bytes(body[2:])


def _block(file: Path, name: str) -> str:
    """A part of a credentials file."""
    blocks = dict(_BLOCK.findall(_text(file)))
    if name not in blocks:
        raise SeedError(f"expected a credentials file with the part {name!r}, as `nsc generate creds` writes it")
    return blocks[name]


def _text(file: Path) -> str:
    return file.read_bytes().decode("ascii", "replace")
