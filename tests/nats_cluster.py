"""Three real NATS servers as one cluster, with TLS and credentials."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

from tests.certificates import Authority
from tests.nats_accounts import Operator
from tests.nats_server import NatsServer
from tests.ports import free_port

SIZE = 3


class NatsCluster:
    """Servers of one cluster. url: all addresses. settings: PRISMA's, for a process that uses it."""

    def __init__(self, folder: Path, *, publish: tuple[str, ...] = (">",), subscribe: tuple[str, ...] = (">",)) -> None:
        folder.mkdir()
        Authority().issue(folder)
        operator = Operator()
        operator.write_credentials(folder / "prisma.creds", publish=publish, subscribe=subscribe)
        tls = (
            f'tls {{ cert_file: "{folder}/certificate.pem", key_file: "{folder}/key.pem", '
            f'ca_file: "{folder}/authority.pem" }}'
        )
        routes = [free_port() for _ in range(SIZE)]
        joined = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        self._monitors = [free_port() for _ in range(SIZE)]
        self.servers = [
            NatsServer(
                folder / f"n{number}",
                f"server_name: n{number}\nhttp: 127.0.0.1:{self._monitors[number]}\n{operator.settings}\n{tls}\n"
                f'cluster {{ name: tests, listen: "127.0.0.1:{routes[number]}", routes: [{joined}] }}',
            )
            for number in range(SIZE)
        ]
        self.settings = {
            "PRISMA_NATS_URL": ",".join(f"tls://127.0.0.1:{server.port}" for server in self.servers),
            "PRISMA_NATS_CREDENTIALS": str(folder / "prisma.creds"),
            "PRISMA_NATS_TLS_AUTHORITY": str(folder / "authority.pem"),
            "PRISMA_NATS_REPLICAS": str(SIZE),
        }

    def start(self) -> None:
        for server in self.servers:
            server.start()

    def kill(self) -> None:
        for server in self.servers:
            server.kill()

    def leader(self, stream: str) -> NatsServer:
        """The server that leads a stream."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for monitor in self._monitors:
                if (name := self._leader_seen_by(monitor, stream)) is not None:
                    return self.servers[int(name.removeprefix("n"))]
            time.sleep(0.1)
        raise TimeoutError(f"no server leads {stream}")

    def _leader_seen_by(self, monitor: int, stream: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{monitor}/jsz?streams=true&accounts=true") as response:
                accounts = json.load(response).get("account_details", [])
        except OSError:
            return None
        for account in accounts:
            for detail in account.get("stream_detail", []):
                if detail["name"] == stream:
                    return detail.get("cluster", {}).get("leader") or None
        return None
