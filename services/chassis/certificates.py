"""Certificates and keys of TLS: read from files, checked, and read again when the files change.

Whoever replaces the files of a running process replaces what its next connections show and accept. Files that cannot be
used, as while they are being replaced, leave the former ones in force: the log and the status say so.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from prometheus_client import Gauge

from services.chassis import logs
from services.chassis.dependency import Degraded, Dependency
from services.chassis.files import state_of
from services.chassis.settings import ChassisSettings
from services.chassis.startup import StartRefused

CHECK_SECONDS = 1.0
"""How soon a replaced file is noticed, by the next connection or call."""
NOTICE = timedelta(days=14)
"""How long before its end a certificate is reported …"""
NOTICE_SHARE = 6
"""… or this part of its lifetime, where that is shorter: certificates that live for hours are replaced late."""
_WATCH_SECONDS = 5.0
_WARNING_SECONDS = 86_400.0
_EXPIRY = Gauge("prisma_tls_certificate_expiry_timestamp_seconds", "When a certificate in use expires", ["use"])

_log = logs.get(__name__)


class CertificateError(Exception):
    """Files that cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Pair:
    """A certificate, with those between it and its authority, and its key, in PEM. leaf: the certificate, parsed."""

    certificate: bytes
    key: bytes
    leaf: x509.Certificate


@dataclass(frozen=True)
class Certificates:
    """What the files hold. pair: what this process shows. authority: whom it believes, in PEM; None: the system's."""

    pair: Pair | None
    authority: bytes | None


class CertificateFiles:
    """The files of one use of TLS.

    variable: the prefix of the settings that name them, as in PRISMA_TLS_CERTIFICATE, for messages.
    Raises StartRefused for files that cannot be used.
    """

    def __init__(
        self, *, variable: str, certificate: Path | None, key: Path | None, authority: Path | None = None
    ) -> None:
        self._variable = variable
        self._certificate, self._key, self._authority = certificate, key, authority
        self._lock = threading.Lock()  # gRPC asks from threads of its own
        self._problem: str | None = None
        self._checked_at = time.monotonic()
        self._state = self._file_state()
        try:
            self._current = self._read()
        except CertificateError as error:
            raise StartRefused(f"TLS cannot be used as it is configured: {error}") from error
        self._publish()

    def __bool__(self) -> bool:
        """Whether any file is configured."""
        return bool(self._paths)

    @property
    def current(self) -> Certificates:
        """What is in force now: the same object until the files change."""
        with self._lock:
            if time.monotonic() - self._checked_at >= CHECK_SECONDS:
                self._refresh()
            return self._current

    @property
    def pair_files(self) -> tuple[Path, Path]:
        """Where the certificate and its key are."""
        assert self._certificate is not None
        assert self._key is not None
        return self._certificate, self._key

    @property
    def dependencies(self) -> Sequence[Dependency]:
        """The certificate, if there is one, as a process's status shows it: degraded before it expires."""
        if self._certificate is None:
            return []
        return [Dependency(f"{self._use}_certificate", str(self._certificate), self._check, essential=False)]

    async def watch(self) -> None:
        """Until cancelled: reads replaced files, and warns each day of a certificate that expires soon."""
        warned_at: float | None = None
        while True:
            pair = self.current.pair
            due = warned_at is None or time.monotonic() - warned_at > _WARNING_SECONDS
            if due and pair is not None and (message := _expiry_notice(pair.leaf)) is not None:
                _log.warning(message, file=str(self._certificate))
                warned_at = time.monotonic()
            await asyncio.sleep(_WATCH_SECONDS)

    @property
    def _use(self) -> str:
        return self._variable.removeprefix("PRISMA_").lower()

    @property
    def _paths(self) -> Sequence[Path]:
        return [path for path in (self._certificate, self._key, self._authority) if path is not None]

    def _file_state(self) -> Sequence[tuple[int, int, int] | None]:
        return [state_of(path) for path in self._paths]

    def _refresh(self) -> None:
        """Reads the files if they have changed; those that cannot be used are read again until they can."""
        self._checked_at = time.monotonic()
        state = self._file_state()
        if state == self._state and self._problem is None:
            return
        try:
            new = self._read()
        except CertificateError as error:
            if self._problem != str(error):
                _log.error("replaced files of TLS cannot be used; the former ones stay in force", cause=str(error))
            self._problem = str(error)
            return
        self._state, self._problem = state, None
        if (new.pair and new.pair.certificate, new.authority) != (
            self._current.pair and self._current.pair.certificate,
            self._current.authority,
        ):
            self._current = new
            self._publish()
            expires = None if new.pair is None else f"{new.pair.leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            _log.info("TLS uses new files", use=self._use, expires=expires)

    def _publish(self) -> None:
        if self._current.pair is not None:
            _EXPIRY.labels(self._use).set(self._current.pair.leaf.not_valid_after_utc.timestamp())

    def _read(self) -> Certificates:
        authority = None if self._authority is None else self._read_authority(self._authority)
        if self._certificate is None and self._key is None:
            return Certificates(pair=None, authority=authority)
        if self._certificate is None or self._key is None:
            present, absent = ("KEY", "CERTIFICATE") if self._certificate is None else ("CERTIFICATE", "KEY")
            raise CertificateError(
                f"{self._variable}_{present} is set without {self._variable}_{absent}: set both, or neither"
            )
        return Certificates(pair=self._read_pair(self._certificate, self._key), authority=authority)

    def _read_pair(self, certificate_file: Path, key_file: Path) -> Pair:
        certificate, leaf = self._certificates_of(certificate_file, "CERTIFICATE")
        key = self._bytes_of(key_file, "KEY")
        try:
            private_key = load_pem_private_key(key, password=None)
        except TypeError:
            raise CertificateError(
                f"the key {key_file} ({self._variable}_KEY) is encrypted, expected one without a password: "
                "`openssl pkey -in FILE -out FILE` removes it"
            ) from None
        except ValueError:
            raise CertificateError(f"{key_file} ({self._variable}_KEY) is no private key in PEM") from None
        if _public(private_key.public_key()) != _public(leaf[0].public_key()):
            raise CertificateError(
                f"the key {key_file} ({self._variable}_KEY) is not that of the certificate {certificate_file} "
                f"({self._variable}_CERTIFICATE), whose first certificate must be the process's own"
            )
        _refuse_outside_its_time(leaf[0], f"the certificate {certificate_file} ({self._variable}_CERTIFICATE)")
        return Pair(certificate, key, leaf[0])

    def _read_authority(self, file: Path) -> bytes:
        _data, certificates = self._certificates_of(file, "AUTHORITY")
        if all(certificate.not_valid_after_utc < datetime.now(UTC) for certificate in certificates):
            _refuse_outside_its_time(certificates[0], f"the authority {file} ({self._variable}_AUTHORITY)")
        # Without the file's comments, which may be in any encoding.
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)

    def _certificates_of(self, file: Path, setting: str) -> tuple[bytes, Sequence[x509.Certificate]]:
        data = self._bytes_of(file, setting)
        try:
            return data, x509.load_pem_x509_certificates(data)
        except ValueError:
            raise CertificateError(f"{file} ({self._variable}_{setting}) holds no certificate in PEM") from None

    def _bytes_of(self, file: Path, setting: str) -> bytes:
        try:
            return file.read_bytes()
        except OSError as error:
            raise CertificateError(f"cannot read {file} ({self._variable}_{setting}): {error.strerror}") from error

    async def _check(self) -> Mapping[str, str]:
        pair = self.current.pair
        if self._problem is not None:
            raise Degraded(f"the replaced files cannot be used, the former ones stay in force: {self._problem}")
        if pair is None:
            return {}
        if (message := _expiry_notice(pair.leaf)) is not None:
            raise Degraded(message)
        return {"expires": f"{pair.leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC", "names": ", ".join(names(pair.leaf))}


def of_process(settings: ChassisSettings) -> CertificateFiles:
    """What a process shows and believes over gRPC, read once for all its uses. Raises StartRefused."""
    return _of_process(settings.tls_certificate, settings.tls_key, settings.tls_authority)


@cache
def _of_process(certificate: Path | None, key: Path | None, authority: Path | None) -> CertificateFiles:
    return CertificateFiles(variable="PRISMA_TLS", certificate=certificate, key=key, authority=authority)


def names(certificate: x509.Certificate) -> Sequence[str]:
    """The names that a certificate is for: DNS names and IP addresses, the only ones that are verified."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(address) for address in extension.get_values_for_type(x509.IPAddress)]
    return [*extension.get_values_for_type(x509.DNSName), *addresses]


def _expiry_notice(certificate: x509.Certificate) -> str | None:
    """A warning of a certificate that expires soon, or has expired."""
    now, end = datetime.now(UTC), certificate.not_valid_after_utc
    if now > end:
        return f"the certificate expired on {end:%Y-%m-%d %H:%M} UTC: replace its file; no restart is needed"
    if end - now > min(NOTICE, (end - certificate.not_valid_before_utc) / NOTICE_SHARE):
        return None
    return f"the certificate expires on {end:%Y-%m-%d %H:%M} UTC: replace its file; no restart is needed"


def _refuse_outside_its_time(certificate: x509.Certificate, name: str) -> None:
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        raise CertificateError(f"{name} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if now < certificate.not_valid_before_utc:
        raise CertificateError(f"{name} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")


def _public(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
