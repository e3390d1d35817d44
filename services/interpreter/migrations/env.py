"""Alembic's way to the interpreter's tables."""

from services.chassis.database import run_migrations
from services.interpreter.tables import METADATA

run_migrations(METADATA)
