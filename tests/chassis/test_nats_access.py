"""Message servers as operators secure them: what they accept, and how a refusal is told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog

from prisma.common.v1.status_pb2 import ServiceStatus
from services.chassis import nats
from services.chassis.certificates import CertificateFiles
from services.chassis.errors import Unavailable
from services.chassis.nats import NatsLink
from services.chassis.nats_access import NatsAccess, SecuredClient
from services.chassis.server import nats_dependency
from services.chassis.settings import ChassisSettings
from services.chassis.startup import StartRefused
from tests.certificates import Authority
from tests.nats_accounts import USER, Key, Operator
from tests.nats_server import NatsServer

PASSWORD = "p@ss#word"
QUOTED = "p%40ss%23word"
LOGIN = f'authorization {{ user: prisma, password: "{PASSWORD}" }}'


@asynccontextmanager
async def running(folder: Path, settings: str) -> AsyncIterator[NatsServer]:
    server = NatsServer(folder / "nats", settings)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def linked(access: NatsAccess, **options: int) -> AsyncIterator[NatsLink]:
    link = NatsLink(access, **options)
    link.start()
    try:
        yield link
    finally:
        await link.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the server decides
            await asyncio.sleep(0.02)


async def problem_of(link: NatsLink, pattern: str) -> None:
    """Waits until the status and a call say the same problem, which matches."""
    await until(lambda: re.search(pattern, link.problem) is not None)
    state = await nats_dependency(link).state()
    assert re.search(pattern, state.message), state.message
    with pytest.raises(Unavailable, match=pattern):
        _ = link.bucket


async def test_a_wrong_password_is_told_and_a_right_one_may_hold_any_character(tmp_path: Path) -> None:
    async with running(tmp_path, LOGIN) as server:
        wrong = NatsAccess.to(server.url.replace("nats://", "nats://prisma:guess-0815@"))
        async with linked(wrong) as link:
            await problem_of(link, "refuses the user that PRISMA shows .*PRISMA_NATS_URL")
            assert "guess-0815" not in link.problem
        async with linked(NatsAccess.to(server.url.replace("nats://", f"nats://prisma:{QUOTED}@"))) as link:
            await link.ready()
            assert (await nats_dependency(link).state()).message == ""


async def test_a_user_with_an_nkey(tmp_path: Path) -> None:
    key = Key(USER)
    (tmp_path / "seed").write_text(f"{key.seed}\n")
    async with running(tmp_path, f"authorization {{ users: [{{ nkey: {key.public} }}] }}") as server:
        async with linked(NatsAccess.to(server.url, nkey=tmp_path / "seed")) as link:
            await link.ready()
        (tmp_path / "seed").write_text(Key(USER).seed)
        async with linked(NatsAccess.to(server.url, nkey=tmp_path / "seed")) as link:
            await problem_of(link, "refuses the user")


async def test_credentials_are_read_again_when_they_expire(tmp_path: Path) -> None:
    operator, file = Operator(), tmp_path / "prisma.creds"
    operator.write_credentials(file, seconds=3)
    async with (
        running(tmp_path, operator.settings) as server,
        linked(NatsAccess.to(server.url, credentials=file)) as link,
    ):
        await link.ready()
        heard = asyncio.Event()

        async def hear(_message: object) -> None:
            heard.set()

        await link.listen("prisma.events.x", hear)
        await problem_of(link, "refuses the user that PRISMA shows .*expired")
        operator.write_credentials(file)
        await link.wait_for_new_generation(1, seconds=30)
        assert link.connected
        await link.publish("prisma.events.x", b"")
        await heard.wait()


async def test_a_missing_permission_is_told_in_its_words(tmp_path: Path) -> None:
    operator, file = Operator(), tmp_path / "prisma.creds"
    async with running(tmp_path, operator.settings) as server:
        operator.write_credentials(file, publish=["prisma.>"])
        async with linked(NatsAccess.to(server.url, credentials=file)) as link:
            await problem_of(link, r"lacks a permission .*publish to \"\$js.api.stream.info.prisma_jobs")
        operator.write_credentials(file, subscribe=["_INBOX.>"])
        async with linked(NatsAccess.to(server.url, credentials=file)) as link:
            await link.ready()
            await link.listen("prisma.events.x", _ignore)
            await until(lambda: link.violation is not None)
            state = await nats_dependency(link).state()
            assert "subscription to" in state.message
            assert state.health == ServiceStatus.HEALTH_DEGRADED


async def _ignore(_message: object) -> None:
    """Hears nothing."""


async def test_tls_is_verified_and_never_done_without_where_it_is_demanded(tmp_path: Path) -> None:
    authority, other = Authority(), Authority()
    for name, signer in (("server", authority), ("client", authority)):
        (tmp_path / name).mkdir()
        signer.issue(tmp_path / name)
    files_of_server = "".join(
        f'{setting}: "{tmp_path}/server/{name}.pem", '
        for setting, name in (("cert_file", "certificate"), ("key_file", "key"), ("ca_file", "authority"))
    )
    settings = f"tls {{ {files_of_server} verify: true }}"
    client = {name: tmp_path / "client" / f"{name}.pem" for name in ("certificate", "key", "authority")}
    (tmp_path / "other.pem").write_bytes(other.pem)

    def files(**paths: Path | None) -> CertificateFiles:
        return CertificateFiles(variable="PRISMA_NATS_TLS", **{**client, **paths})

    async with running(tmp_path, settings) as server:
        async with linked(NatsAccess.to(server.url, files=files())) as link:
            await link.ready()
        async with linked(NatsAccess.to(server.url, files=files(authority=tmp_path / "other.pem"))) as link:
            await problem_of(link, "cannot be trusted: .*PRISMA_NATS_TLS_AUTHORITY")
        async with linked(NatsAccess.to(server.url, files=files(certificate=None, key=None))) as link:
            await problem_of(link, "PRISMA_NATS_TLS_CERTIFICATE")
    async with running(tmp_path / "plain", LOGIN) as server:
        url = server.url.replace("nats://", f"tls://prisma:{QUOTED}@")
        async with linked(NatsAccess.to(url)) as link:
            await problem_of(link, "does not speak TLS")


def test_files_that_are_being_replaced_leave_the_former_context_in_use(tmp_path: Path) -> None:
    Authority().issue(tmp_path)
    authority = tmp_path / "authority.pem"
    authority.write_bytes("# Behörde für Häfen\n".encode() + authority.read_bytes())
    paths = {name: tmp_path / f"{name}.pem" for name in ("certificate", "key")}
    files = CertificateFiles(variable="PRISMA_NATS_TLS", **paths, authority=authority)
    client = SecuredClient(NatsAccess.to("tls://host", files=files))
    context = client.ssl_context
    assert context.get_ca_certs()
    paths["key"].write_text("half a k")
    assert client.ssl_context is context


async def test_what_nobody_expects_is_tried_again(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect, failures = SecuredClient.connect, [ValueError("unexpected")]

    async def connect_later(*arguments: Any, **options: Any) -> None:
        if failures:
            raise failures.pop()
        await connect(*arguments, **options)

    monkeypatch.setattr(SecuredClient, "connect", connect_later)
    async with linked(NatsAccess.to(nats_server.url)) as link, asyncio.timeout(30):
        await until(lambda: "(ValueError)" in link.problem)
        await link.ready()


async def test_replicas_that_a_server_cannot_have_are_told(nats_server: NatsServer) -> None:
    async with linked(NatsAccess.to(nats_server.url), replicas=3) as link:
        await problem_of(link, "cannot store jobs: replicas > 1")


async def test_each_problem_is_logged_once_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(nats, "_log", structlog.wrap_logger(None, processors=[_append_to(warnings)]))
    async with linked(NatsAccess.to("nats://127.0.0.1:9")) as link:
        await problem_of(link, "NATS at 127.0.0.1:9 is unreachable")
        await asyncio.sleep(1.5)  # it is tried again each second
    assert warnings == ["NATS at 127.0.0.1:9 is unreachable"]


def _append_to(entries: list[str]) -> Callable[..., NoReturn]:
    def append(_logger: object, _method: str, entry: dict[str, str]) -> NoReturn:
        entries.append(entry["event"])
        raise structlog.DropEvent

    return append


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"nats_url": "http://nats:4222"}, "expected nats://user:password@host:4222"),
        ({"nats_url": "nats://a:b@one:4222,nats://a:c@two:4222"}, "the same for all servers"),
        ({"nats_url": "nats://:4222"}, "expected nats://"),
        ({"nats_url": "nats://to/ken@host:4222"}, "%2F for /"),
        ({"nats_url": "nats://to#ken@host:4222"}, "%23 for #"),
        ({"nats_url": "nats://to?ken@host:4222"}, "%3F for [?]"),
        ({"nats_url": ","}, "is empty"),
        ({"nats_credentials": "/nowhere/x.creds"}, "cannot read /nowhere/x.creds .PRISMA_NATS_CREDENTIALS"),
        ({"nats_credentials": __file__}, "expected a credentials file with the part 'USER NKEY SEED'"),
        ({"nats_nkey": __file__}, "expected the seed of a user's NKEY"),
        ({"nats_nkey": __file__, "nats_credentials": __file__}, "are both set"),
        ({"nats_tls_authority": __file__}, "holds no certificate in PEM"),
    ],
)
def test_what_cannot_be_used_is_refused_at_start(variables: dict[str, str], message: str) -> None:
    with pytest.raises(StartRefused, match=message):
        NatsAccess.of(ChassisSettings.model_validate(variables))
