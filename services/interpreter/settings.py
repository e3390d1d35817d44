"""Settings of the interpreter."""

from __future__ import annotations

from prisma_common import addresses
from services.providers.settings import ProviderSettings


class InterpreterSettings(ProviderSettings):
    """What the interpreter reads at start."""

    interpreter_listen: str = addresses.INTERPRETER
    """The address it listens on."""
