"""Alembic's way to the trainer's tables."""

from services.chassis.database import run_migrations
from services.trainer.tables import METADATA

run_migrations(METADATA)
