"""Settings of the interpreter."""

from __future__ import annotations

from services.chassis.settings import ChassisSettings


class InterpreterSettings(ChassisSettings):
    """What the interpreter reads at start."""

    interpreter_listen: str = "127.0.0.1:50053"
    """Where it listens."""
