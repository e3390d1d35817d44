"""One log entry per change: who changed which resource by which method, under which request id, with what outcome."""

from __future__ import annotations

from google.protobuf.message import Message

from services.chassis import logs

_PATHS = (
    ("name",),
    ("config", "dataset"),
    ("config", "name"),
    ("dataset", "name"),
    ("run", "name"),
    ("label", "name"),
    ("parent",),
    ("dataset",),
    ("run",),
)
"""Where requests name the resource that they change, the most specific first."""
_MAX_NAME = 300

_log = logs.get(logs.AUDIT)


def record(*, method: str, resource: str | None, outcome: str) -> None:
    """Writes the entry of one change; who and under which request id stand in every entry of a call."""
    _log.info("change", method=method, resource=resource, outcome=outcome)


def resource_of(*messages: Message | None) -> str | None:
    """The resource that the first of a call's messages names that names one."""
    for message in messages:
        for path in _PATHS if message is not None else ():
            value: object = message
            for field in path:
                value = getattr(value, field, None)
            if isinstance(value, str) and value:
                return value[:_MAX_NAME]
    return None
