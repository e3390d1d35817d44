"""Certificates for tests: an authority, and what it signs."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

NAMES = ("127.0.0.1", "localhost")


class Authority:
    """An authority of its own."""

    def __init__(self, name: str = "tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        builder = _builder(self._name, days=30).issuer_name(self._name).public_key(self._key.public_key())
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self._certificate = builder.add_extension(constraints, critical=True).sign(self._key, hashes.SHA256())
        self.pem = self._certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        folder: Path,
        *,
        names: tuple[str, ...] = NAMES,
        days: float = 30,
        start_days: float = -1,
        password: bytes | None = None,
    ) -> None:
        """Writes `certificate.pem`, `key.pem` and `authority.pem`. days and start_days: from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name("prisma"), days=days, start_days=start_days)
        builder = builder.issuer_name(self._name).public_key(key.public_key())
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), False)
        certificate = builder.sign(self._key, hashes.SHA256())
        encryption: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
        replace(folder / "key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        replace(folder / "certificate.pem", certificate.public_bytes(Encoding.PEM))
        if not (folder / "authority.pem").exists():
            replace(folder / "authority.pem", self.pem)


def replace(file: Path, data: bytes) -> None:
    """Replaces a file at once, as a cluster does with a secret."""
    new = file.with_suffix(".new")
    new.write_bytes(data)
    new.replace(file)


def _builder(name: x509.Name, *, days: float, start_days: float = -1) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).serial_number(x509.random_serial_number())
    return builder.not_valid_before(now + timedelta(days=start_days)).not_valid_after(now + timedelta(days=days))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
