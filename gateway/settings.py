"""Settings of the gateway."""

from __future__ import annotations

from pydantic import Field

from prisma_common import addresses
from services.chassis.settings import ChassisSettings


class GatewaySettings(ChassisSettings):
    """What the gateway reads at start."""

    gateway_listen: str = addresses.GATEWAY
    """Where it listens for gRPC: health, jobs, its own status."""
    http_listen: str = addresses.HTTP
    """Where it listens for HTTP: the API and the page."""
    max_body_bytes: int = Field(default=16 << 20, gt=0)
    """The largest body of a request, in bytes; files that are imported have no limit here."""
