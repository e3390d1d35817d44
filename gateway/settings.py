"""Settings of the gateway."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from prisma_common import addresses
from services.chassis.settings import ChassisSettings
from services.chassis.startup import StartRefused

_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?")
_DEFAULT_PORT = re.compile("^https:.*:443$|^http:.*:80$")


class GatewaySettings(ChassisSettings):
    """What the gateway reads at start."""

    gateway_listen: str = addresses.GATEWAY
    """`host:port` for gRPC: all services, jobs, health."""
    http_listen: str = addresses.HTTP
    """`host:port` for HTTP: the API and the page."""
    http_listen_fd: int | None = Field(default=None, ge=0)
    """Descriptor of a socket that listens already, which this process was started with, instead of http_listen."""
    http_tls: Literal["auto", "off"] = "auto"
    """`auto`: HTTPS where there is a certificate; `off`: plain HTTP all the same, for a proxy that ends TLS."""
    http_tls_certificate: Path | None = None
    """PEM certificate of HTTP, with those between it and its authority; none for `tls_certificate`."""
    http_tls_key: Path | None = None
    """PEM key of that certificate; none for `tls_key`."""
    max_body_bytes: int = Field(default=16 << 20, gt=0)
    """Size limit of a request's body, in bytes; imported files have no limit here."""
    trust_forwarded: bool = False
    """Whether X-Forwarded-Proto is believed: set it only behind a proxy that ends TLS and overwrites the header."""

    cors_origins: str = ""
    """Origins whose pages may call the API with an API key, separated by commas: `https://app.example.org`."""

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins whose pages may call. Raises StartRefused for what is no origin."""
        origins = tuple(origin.strip() for origin in self.cors_origins.split(",") if origin.strip())
        for origin in origins:
            if not _ORIGIN.fullmatch(origin) or _DEFAULT_PORT.search(origin):
                raise StartRefused(
                    f"PRISMA_CORS_ORIGINS: expected origins such as https://app.example.org as browsers send them, in "
                    f"lower case, without a path, without *, and without the ports 443 of https and 80 of http; got "
                    f"{origin!r}"
                )
        return origins

    @property
    def shares_data(self) -> bool:
        """Whether several processes may use one data folder: the gateway stores nothing."""
        return True
