"""Settings of the interpreter."""

from __future__ import annotations

from prisma_common import addresses
from services.chassis.settings import ChassisSettings


class InterpreterSettings(ChassisSettings):
    """What the interpreter reads at start."""

    interpreter_listen: str = addresses.INTERPRETER
    """The address it listens on."""
