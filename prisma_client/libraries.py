"""Libraries that the client needs for some calls only, imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class MissingLibrary(ImportError):
    """A library is needed that is not installed; the message says how to install it."""


def library(module: str, needed_for: str) -> Any:
    """Imports a module. needed_for: the call that needs it, for the message. Raises MissingLibrary."""
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise MissingLibrary(f"{needed_for} needs {name}, which is not installed: pip install {name}") from error
