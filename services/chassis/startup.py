"""Refusing to start: one sentence that says why, and what to do."""

from __future__ import annotations


class StartRefused(SystemExit):
    """The process must not start as it is configured. The message is printed and the exit status is 1."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
