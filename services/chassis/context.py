"""Who calls, and under which id: set by the server for each call, sent on to other services, put in each log line."""

from __future__ import annotations

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the call that is being answered."""

user: ContextVar[str] = ContextVar("user", default="")
"""Who made it: the name of an API key; empty where no keys are in use."""
