"""The asynchronous client. `deploy/generate-sync` generates `prisma_client.sync` from it."""

from prisma_client.aio.client import AsyncPrisma

__all__ = ["AsyncPrisma"]
