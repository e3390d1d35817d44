"""One logger: JSON lines, or readable ones where a terminal looks on. Each line carries the request id."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

from services.chassis import context
from services.chassis.settings import ChassisSettings


def set_up(settings: ChassisSettings, service: str) -> None:
    """Sets up logging of this process, the libraries' too."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_context(service),
        structlog.processors.format_exc_info if as_json else _keep,
    ]
    renderer = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    for noisy in ("httpx", "httpcore", "alembic", "nats"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def get(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    return structlog.stdlib.get_logger(name)


def _keep(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    return entry


def _add_context(service: str) -> structlog.typing.Processor:
    def add(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
        entry.setdefault("service", service)
        for name, value in (("request_id", context.request_id.get()), ("user", context.user.get())):
            if value:
                entry.setdefault(name, value)
        return entry

    return add
