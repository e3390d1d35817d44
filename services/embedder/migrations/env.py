"""Alembic's way to the embedder's tables."""

from services.chassis.database import run_migrations
from services.embedder.tables import METADATA

run_migrations(METADATA)
