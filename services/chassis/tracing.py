"""Traces of requests through all processes: HTTP, gRPC, jobs, requests to model servers. OpenTelemetry, off by default.

PRISMA_OTLP_ENDPOINT turns them on. A trace that a caller has begun (W3C `traceparent`) is continued. Off, a span is one
comparison, and OpenTelemetry is not imported.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import metadata
from typing import Any, Literal

from services.chassis.settings import ChassisSettings
from services.chassis.startup import StartRefused

HEADER = "traceparent"
"""Of HTTP and of gRPC's metadata."""
Kind = Literal["server", "client", "producer", "consumer"]
_EXPORT_MILLISECONDS = 1000
_tracer: Any = None


class Span:
    """A span in progress; does nothing where traces are off."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def rename(self, name: str) -> None:
        """Names the span by what is known only now, as a route."""
        if self._span is not None:
            self._span.update_name(name)

    def set(self, **attributes: str | int) -> None:
        """Adds attributes; `__` in a name stands for a dot."""
        if self._span is not None:
            self._span.set_attributes({name.replace("__", "."): value for name, value in attributes.items()})

    def fail(self, reason: str) -> None:
        """Marks the span as failed."""
        if self._span is not None:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, reason))

    def end(self) -> None:
        """Ends a span of `begin`."""
        if self._span is not None:
            self._span.end()


_OFF = Span()


def set_up(settings: ChassisSettings, service: str) -> None:
    """Turns traces on where the settings say so. Raises StartRefused where OpenTelemetry is not installed."""
    global _tracer
    if settings.otlp_endpoint is None:
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = _exporter(settings.otlp_endpoint, settings.otlp_protocol)
    except ImportError as error:
        raise StartRefused(
            "PRISMA_OTLP_ENDPOINT is set, and OpenTelemetry is missing: pip install 'prisma-suite[tracing]'"
        ) from error
    version = metadata.version("prisma-suite")
    resource = Resource.create({"service.namespace": "prisma", "service.name": service, "service.version": version})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_EXPORT_MILLISECONDS))
    _tracer = provider.get_tracer("prisma", version)


def begin(name: str, kind: Kind, *, parent: str = "", **attributes: str | int) -> Span:
    """Begins a span, the current one of this task from now on: for tasks that a call has for itself alone."""
    if _tracer is None:
        return _OFF
    from opentelemetry import context, trace

    span = _start(name, kind, parent, attributes)
    context.attach(trace.set_span_in_context(span))
    return Span(span)


def span(name: str, kind: Kind, *, parent: str = "", **attributes: str | int) -> AbstractContextManager[Span]:
    """A span around what is within. parent: a `traceparent`; empty for the current span, for servers for none."""
    return nullcontext(_OFF) if _tracer is None else _around(name, kind, parent, attributes)


def traceparent() -> str:
    """The current span, for another process to continue; empty where traces are off or there is none."""
    if _tracer is None:
        return ""
    from opentelemetry import trace

    current = trace.get_current_span().get_span_context()
    return f"00-{current.trace_id:032x}-{current.span_id:016x}-{current.trace_flags:02x}" if current.is_valid else ""


@contextmanager
def _around(name: str, kind: Kind, parent: str, attributes: dict[str, str | int]) -> Generator[Span]:
    """Exceptions are told by their class alone: their messages quote documents."""
    from opentelemetry import trace

    current = _start(name, kind, parent, attributes)
    with trace.use_span(current, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield Span(current)
        except Exception as error:
            code = getattr(error, "code", None)  # of PrismaError; a method of grpc's errors
            name_of_code = getattr(code() if callable(code) else code, "name", None)
            Span(current).fail(str(name_of_code or type(error).__name__))
            raise


def _start(name: str, kind: Kind, parent: str, attributes: dict[str, str | int]) -> Any:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    # A server's task may still have the context of an earlier request of its connection.
    origin = Context() if kind == "server" else None
    if parent:
        origin = TraceContextTextMapPropagator().extract({HEADER: parent}, Context())
    named = {attribute.replace("__", "."): value for attribute, value in attributes.items()}
    return _tracer.start_span(name, context=origin, kind=trace.SpanKind[kind.upper()], attributes=named)


def _exporter(endpoint: str, protocol: Literal["grpc", "http"]) -> Any:
    if protocol == "http":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

        return HttpExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

    return GrpcExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"))
