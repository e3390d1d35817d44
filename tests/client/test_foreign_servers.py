"""A server that is no gateway of PRISMA is told from one, and a key that cannot be sent is not quoted."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from prisma_client import Prisma, PrismaError, Unavailable, choices
from prisma_client.cli import doctor
from tests.certificates import Authority
from tests.client.scripted_gateway import Answer, reply, scripted, stream


@pytest.mark.parametrize(
    "answer",
    [reply(200, {"models": []}), reply(200, "a text"), reply(200, [1]), reply(200, {"datasets": 7}), stream("<html>")],
)
def test_the_answer_of_another_server_is_no_empty_list(answer: Answer) -> None:
    with (
        scripted([answer]) as gateway,
        Prisma(gateway.url) as prisma,
        pytest.raises(PrismaError, match="is no gateway of PRISMA"),
    ):
        prisma.datasets.list()


def test_the_status_of_another_server_is_none() -> None:
    with (
        scripted([reply(200, {"models": []})]) as gateway,
        Prisma(gateway.url) as prisma,
        pytest.raises(PrismaError, match="is no gateway of PRISMA"),
    ):
        prisma.status()


def test_the_doctor_reports_another_server_and_an_unusable_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with scripted([reply(200, {"models": []})]) as gateway:
        monkeypatch.setenv("PRISMA_URL", gateway.url)
        advice = {finding.what: finding.advice or "" for finding in doctor.findings(tmp_path)}
        assert "is no gateway of PRISMA" in advice["gateway (running)"]
    monkeypatch.setenv("PRISMA_API_KEY", "se\ncret")
    advice = {finding.what: finding.advice or "" for finding in doctor.findings(tmp_path)}
    assert "characters that no key has" in advice["API key"]


@pytest.mark.parametrize(
    ("content", "mode", "fine", "words"),
    [
        (None, 0o600, False, "No such file"),
        ("ada short\n", 0o644, False, "line 1"),
        ("", 0o644, False, "0 in"),
        (f"ada {'0' * 64}\n", 0o600, True, "containers run as another one and need `chmod 0644`"),
        (f"ada {'0' * 64}\n", 0o644, True, "1 in"),
    ],
)
def test_the_doctor_reads_the_keys_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, mode: int, fine: bool, words: str
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    monkeypatch.setenv("PRISMA_API_KEYS_FILE", str(file))
    monkeypatch.setenv("PRISMA_URL", "http://127.0.0.1:9")
    finding = next(finding for finding in doctor.findings(tmp_path) if finding.what == "keys file")
    assert finding.fine == fine
    assert words in finding.result
    assert fine or "prisma keys create" in (finding.advice or "")
    assert mode == 0o600 or "chmod" not in finding.result


def test_fields_of_a_newer_gateway_are_ignored() -> None:
    newer = {"datasets": [{"name": "datasets/a", "colour": 1}], "more": 2}
    with scripted([reply(200, newer)]) as gateway, Prisma(gateway.url) as prisma:
        assert [dataset.name for dataset in prisma.datasets.list()] == ["datasets/a"]


@pytest.mark.parametrize("key", ["se\ncret", "se cret", "secrét", "se\x00cret"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_quoted(key: str) -> None:
    with pytest.raises(ValueError, match="the API key has characters") as caught:
        Prisma("http://127.0.0.1:1", key=key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("key", ["secret\n", " \n"])
def test_blanks_around_a_key_do_not_count(key: str) -> None:
    """A key that was read from a file ends in a line break; an empty file holds none."""
    with scripted([reply(200, {})]) as gateway, Prisma(gateway.url, key=key) as prisma:
        assert prisma.datasets.list() == []


@pytest.mark.parametrize("fields", [{"seed": -1}, {"epochs": 1 << 40}, {"k": "many"}, {"k": 1.5}])
def test_a_value_that_a_setting_cannot_have_names_the_setting(fields: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{next(iter(fields))}: "):
        choices.training_config(fields)


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
def test_a_server_whose_certificate_nobody_vouches_for_is_not_talked_to(scheme: str, tmp_path: Path) -> None:
    Authority().issue(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        while True:
            with contextlib.suppress(ssl.SSLError):
                try:
                    connection, _ = listener.accept()
                except OSError:  # closed
                    return
                context.wrap_socket(connection, server_side=True).close()

    thread = threading.Thread(target=greet)
    thread.start()
    try:
        address = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        with Prisma(address) as prisma, pytest.raises(Unavailable, match=r"(?i)certificate"):
            prisma.datasets.list()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
