"""The asynchronous client. `prisma_client.sync` is made from it by `deploy/generate-sync`."""

from prisma_client.aio.client import AsyncPrisma

__all__ = ["AsyncPrisma"]
