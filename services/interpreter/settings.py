"""Settings of the interpreter."""

from __future__ import annotations

from pydantic import Field

from prisma_common import addresses
from services.providers.settings import ProviderSettings


class InterpreterSettings(ProviderSettings):
    """What the interpreter reads at start."""

    interpreter_listen: str = addresses.INTERPRETER
    """The address it listens on."""
    label_part: int = Field(default=64, gt=0)
    """The fewest features that a part of a labelling job by a model has. Interpreters that share their data divide jobs
    of at least two parts among them."""
