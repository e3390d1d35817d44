"""The client without async: `deploy/generate-sync` makes it."""

from prisma_client.sync.client import Prisma

__all__ = ["Prisma"]
