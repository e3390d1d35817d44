"""Starts the gateway: `python -P -m gateway`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn

from gateway import app
from gateway.doors import Doors
from gateway.overview import Overview
from gateway.settings import GatewaySettings
from gateway.transcoder import Transcoder
from services.chassis.auth import refuse_open_door
from services.chassis.channels import open_channel
from services.chassis.server import Chassis, Parts, run_service

SERVICE = "gateway"
_CLOSE_SECONDS = 3


class Server(uvicorn.Server):
    """A server whose signals are the process's own affair."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leaves signals alone."""
        yield


def main() -> None:
    """Runs until SIGTERM."""
    settings = GatewaySettings()
    refuse_open_door(settings, settings.http_listen)
    listening = _bind(settings.http_listen)

    async def build(chassis: Chassis) -> Parts:
        own = settings.gateway_listen.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")  # noqa: S104
        addresses = {
            "embedder": settings.embedder_address,
            "trainer": settings.trainer_address,
            "interpreter": settings.interpreter_address,
            "search": settings.search_address,
            SERVICE: own,
        }
        channels = {name: open_channel(address, settings) for name, address in addresses.items()}
        everywhere = {**channels, "common": channels[SERVICE]}

        async def ready() -> bool:
            return chassis.link.connected

        application = app.build(
            Transcoder(everywhere, settings.max_body_bytes),
            Doors(settings, settings.http_listen),
            Overview(channels, addresses),
            ready,
        )
        server = Server(
            uvicorn.Config(
                application,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_CLOSE_SECONDS,
                ssl_certfile=settings.tls_certificate,
                ssl_keyfile=settings.tls_key,
            )
        )

        async def serve() -> None:
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            try:
                await asyncio.shield(serving)
            except asyncio.CancelledError:
                server.should_exit = True
                await serving

        async def close() -> None:
            for channel in channels.values():
                await channel.close()

        return Parts(servicers=[], tasks=[serve], close=[close])

    run_service(SERVICE, settings, settings.gateway_listen, build)


def _bind(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, ValueError) as error:
        raise SystemExit(
            f"the gateway can't listen on {listen}: {error}. Is one running already? "
            "PRISMA_HTTP_LISTEN chooses another address."
        ) from error


if __name__ == "__main__":
    main()
