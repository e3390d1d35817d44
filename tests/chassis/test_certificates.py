"""Files of TLS that cannot be used are refused in words, and replaced ones are read again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.https import certificate_files
from gateway.settings import GatewaySettings
from prisma.common.v1.status_pb2 import ServiceStatus
from services.chassis import certificates
from services.chassis.certificates import CertificateFiles
from services.chassis.server import check_tls
from services.chassis.settings import ChassisSettings
from services.chassis.startup import StartRefused
from tests.certificates import Authority, replace

AUTHORITY = Authority()


def files(folder: Path, **paths: Path | None) -> CertificateFiles:
    usual: dict[str, Path | None] = {
        "certificate": folder / "certificate.pem",
        "key": folder / "key.pem",
        "authority": folder / "authority.pem",
    }
    return CertificateFiles(variable="PRISMA_TLS", **{**usual, **paths})


@pytest.fixture(autouse=True)
def noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "CHECK_SECONDS", 0.0)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cannot read .*certificate.pem.*No such file": lambda folder: (folder / "certificate.pem").unlink(),
    "key.pem .*KEY.* is no private key": lambda folder: (folder / "key.pem").write_text("-----BEGIN NOTHING-----"),
    "certificate.pem .*holds no certificate": lambda folder: (folder / "certificate.pem").write_text("pem?"),
    "is not that of the certificate": lambda folder: replace_one(folder, "key.pem"),
    "is encrypted": lambda folder: AUTHORITY.issue(folder, password=b"secret"),
    r"certificate.pem \(PRISMA_TLS_CERTIFICATE\) expired on 20": lambda folder: AUTHORITY.issue(
        folder, days=-1, start_days=-9
    ),
    "is not valid before 20": lambda folder: AUTHORITY.issue(folder, start_days=3),
    "authority.pem .*holds no certificate": lambda folder: (folder / "authority.pem").write_bytes(b"\x00"),
}


def replace_one(folder: Path, name: str) -> None:
    """Replaces one file of a pair by that of another pair."""
    (other := folder / "other").mkdir()
    AUTHORITY.issue(other)
    replace(folder / name, (other / name).read_bytes())


@pytest.mark.parametrize("message", DAMAGES)
def test_unusable_files_are_refused_at_start_and_left_out_later(tmp_path: Path, message: str) -> None:
    AUTHORITY.issue(tmp_path)
    running = files(tmp_path)
    before = running.current
    DAMAGES[message](tmp_path)
    with pytest.raises(StartRefused, match=message):
        files(tmp_path)
    assert running.current is before
    state = asyncio.run(running.dependencies[0].state())
    assert state.health == ServiceStatus.HEALTH_DEGRADED
    assert "the former ones stay in force" in state.message
    AUTHORITY.issue(tmp_path)
    replace(tmp_path / "authority.pem", AUTHORITY.pem)
    assert running.current is not before
    assert asyncio.run(running.dependencies[0].state()).health == ServiceStatus.HEALTH_OK


def test_half_a_pair_is_refused(tmp_path: Path) -> None:
    AUTHORITY.issue(tmp_path)
    with pytest.raises(StartRefused, match="PRISMA_TLS_CERTIFICATE is set without PRISMA_TLS_KEY"):
        files(tmp_path, key=None)
    with pytest.raises(StartRefused, match="PRISMA_TLS_KEY is set without PRISMA_TLS_CERTIFICATE"):
        files(tmp_path, certificate=None)


@pytest.mark.parametrize(
    ("days", "start_days", "notice"), [(10, -300, True), (20, -300, False), (0.9, -0.1, False), (0.1, -0.9, True)]
)
def test_an_expiry_is_told_before_it_comes(tmp_path: Path, days: float, start_days: float, notice: bool) -> None:
    AUTHORITY.issue(tmp_path, days=days, start_days=start_days)
    state = asyncio.run(files(tmp_path).dependencies[0].state())
    assert ("expires on" in state.message) is notice
    assert (state.health == ServiceStatus.HEALTH_DEGRADED) is notice
    assert notice or state.details["names"] == "localhost, 127.0.0.1"


def test_settings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    AUTHORITY.issue(tmp_path)
    pair = {"certificate": tmp_path / "certificate.pem", "key": tmp_path / "key.pem"}
    with pytest.raises(StartRefused, match="needs PRISMA_TLS_AUTHORITY"):
        check_tls(ChassisSettings(tls_client_certificates="required"))
    tls = {f"tls_{name}": path for name, path in pair.items()}
    own = {f"http_tls_{name}": path for name, path in pair.items()}
    with pytest.raises(StartRefused, match="PRISMA_HTTP_TLS=off contradicts"):
        certificate_files(GatewaySettings.model_validate({"http_tls": "off", **own}))
    assert certificate_files(GatewaySettings.model_validate({"http_tls": "off", **tls})) is None
    assert certificate_files(GatewaySettings.model_validate(tls)) is not None
    assert certificate_files(GatewaySettings.model_validate({"tls_authority": tmp_path / "authority.pem"})) is None
