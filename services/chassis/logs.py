"""One log per process, on stderr: JSON lines, or readable ones on a terminal. Each line carries the request id.

Entries are formatted and written in a thread of their own, so that neither a long traceback nor a reader that does not
read can stop the event loop. An entry has at most MAX_ENTRY bytes; exceptions are described without local variables
(`tracebacks`). When more entries wait than the queue holds, new ones are dropped and their number is logged.
"""

from __future__ import annotations

import atexit
import json
import logging
import logging.handlers
import os
import queue
import sys
import threading

import structlog
from structlog.typing import EventDict, WrappedLogger

from services.chassis import context, tracebacks
from services.chassis.settings import ChassisSettings

AUDIT = "prisma.audit"
"""The logger with one entry per change; it is written at every log level."""
ACCESS = "prisma.access"
"""The logger with one entry per request."""
MAX_ENTRY = 16 << 10
MAX_VALUE = 2 << 10
MAX_VALUES = 40
QUEUE_SIZE = 10_000
FLUSH_SECONDS = 5.0
_ESSENTIAL = ("timestamp", "level", "service", "event", "request_id", "user", "exception")
_CONTROL = {number: f"\\x{number:02x}" for number in (*range(0x20), *range(0x7F, 0xA0))}
"""C0, DEL and C1: what a terminal would obey, as an escape sequence in the path of a request."""
_CONTROL_WITHIN_LINES = {number: text for number, text in _CONTROL.items() if chr(number) != "\n"}
_QUIET_LIBRARIES = ("httpx", "httpcore", "alembic", "nats")


def set_up(settings: ChassisSettings, service: str) -> None:
    """Sets up logging of this process, the libraries' included."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    logging.raiseExceptions = False  # a log that cannot be written must not write about it
    on_call: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_context(service),
        _capture_exception,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=on_call,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _describe_exception,
            _bound_values,
            _render_json if as_json else _Text(colors=sys.stderr.isatty()),
        ],
    )
    handler = _start_writer(formatter)
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    logging.getLogger(AUDIT).setLevel(logging.INFO if settings.audit_log else logging.CRITICAL)
    logging.getLogger(ACCESS).setLevel(logging.NOTSET if settings.access_log else logging.CRITICAL)
    for library in _QUIET_LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *on_call,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def get(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    return structlog.stdlib.get_logger(name)


def _start_writer(formatter: logging.Formatter) -> logging.Handler:
    """A handler that hands records to a thread, which writes them to stderr; what waits at exit is still written."""
    records: queue.Queue[logging.LogRecord | None] = queue.Queue(QUEUE_SIZE)
    handler = _Enqueue(records)
    writer = threading.Thread(target=_write, args=(records, handler, formatter), name="log", daemon=True)
    writer.start()

    def flush() -> None:
        try:
            records.put(None, timeout=FLUSH_SECONDS)
        except queue.Full:
            return  # nobody reads stderr: ending matters more
        writer.join(FLUSH_SECONDS)

    atexit.register(flush)
    return handler


class _Enqueue(logging.handlers.QueueHandler):
    """Never blocks: a record that finds the queue full is counted and dropped."""

    dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Fixes what would be different in another thread: the arguments' text, and the call's context."""
        if not isinstance(record.msg, dict):
            try:
                record.msg = record.getMessage()
            except Exception:  # noqa: BLE001 - a library's wrong format string must not fail the call that logs
                record.msg = f"(unformatted) {record.msg}"
            record.args = None
            record.call_context = (context.request_id.get(), context.user.get())
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Hands a record to the writer."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


def _write(records: queue.Queue[logging.LogRecord | None], handler: _Enqueue, formatter: logging.Formatter) -> None:
    """Writes by the file descriptor: a buffered stream's lock, held while a pipe is full, would block the exit."""
    descriptor = sys.stderr.fileno()

    def write(record: logging.LogRecord) -> None:
        try:
            line = memoryview(formatter.format(record).encode("utf-8", "backslashreplace") + b"\n")
            while line:
                line = line[os.write(descriptor, line) :]
        except Exception:  # noqa: BLE001 - an entry that cannot be written is lost; there is nowhere to say so
            handler.dropped += 1

    while (record := records.get()) is not None:
        write(record)
        if handler.dropped:
            count, handler.dropped = handler.dropped, 0
            message = f"{count} log entries were dropped: they came faster than they could be written"
            write(
                logging.makeLogRecord(
                    {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": message}
                )
            )


def _add_context(service: str) -> structlog.typing.Processor:
    def add(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
        record: logging.LogRecord | None = entry.get("_record")
        request_id, user = getattr(record, "call_context", (context.request_id.get(), context.user.get()))
        entry.setdefault("service", service)
        for name, value in (("request_id", request_id), ("user", user)):
            if value:
                entry.setdefault(name, value)
        return entry

    return add


def _capture_exception(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """The exception that is being handled, while it still is: the writer's thread handles none."""
    error = entry.get("exc_info")
    if error is True:
        entry["exc_info"] = sys.exc_info()[1]
    elif isinstance(error, tuple):
        entry["exc_info"] = error[1]
    return entry


def _describe_exception(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    error = entry.pop("exc_info", None)
    entry.pop("stack_info", None)
    if isinstance(error, BaseException):
        entry["exception"] = tracebacks.describe(error)
    return entry


def _bound_values(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    bounded: EventDict = {}
    names = [name for name in _ESSENTIAL if name in entry]
    names += [name for name in entry if name not in _ESSENTIAL][:MAX_VALUES]
    for name in names:
        value = entry[name]
        if name == "exception" or value is None or isinstance(value, (bool, int, float)):
            bounded[name] = value
            continue
        text = value if isinstance(value, str) else repr(value)
        bounded[name] = text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}… ({len(text):,} characters)"
    return bounded


def _render_json(_logger: WrappedLogger, _method: str, entry: EventDict) -> str:
    line = json.dumps(entry)
    if len(line) <= MAX_ENTRY:
        return line
    essential = {name: str(entry[name])[-MAX_ENTRY // 16 :] for name in _ESSENTIAL if name in entry}
    return json.dumps({**essential, "truncated": True})


class _Text:
    """Readable lines without control characters; one entry has several only where it holds an exception."""

    def __init__(self, *, colors: bool) -> None:
        self._renderer = structlog.dev.ConsoleRenderer(
            colors=colors, sort_keys=False, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )

    def __call__(self, logger: WrappedLogger, method: str, entry: EventDict) -> str:
        """The text of an entry."""
        for name, value in entry.items():
            if isinstance(value, str):
                entry[name] = value.translate(_CONTROL_WITHIN_LINES if name == "exception" else _CONTROL)
        text = str(self._renderer(logger, method, entry)).encode("utf-8", "backslashreplace")
        if len(text) > MAX_ENTRY:
            text = text[: MAX_ENTRY - 20] + b" (truncated)"
        return text.decode("utf-8", "replace")
