"""RPCs that the gateway answers itself, called like those of other processes but without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from typing import Any

from google.protobuf.message import Message
from grpc import aio

from services.chassis.errors import DeadlineExceeded


class LocalCall:
    """A call in progress: await it for its single response, or `read` its stream."""

    def __init__(self, response: Awaitable[Message] | AsyncIterator[Message], timeout: float | None) -> None:
        self._response = response
        self._timeout = timeout
        self._deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        self._reading: asyncio.Task[Any] | None = None

    def __await__(self) -> Generator[Any, None, Message]:
        """The response. Raises PrismaError, TimeoutError."""
        assert isinstance(self._response, Awaitable)
        return asyncio.wait_for(self._response, self._timeout).__await__()

    async def read(self) -> Any:
        """The next message of the stream, or aio.EOF. Raises PrismaError; DeadlineExceeded for the whole stream."""
        assert isinstance(self._response, AsyncIterator)
        self._reading = asyncio.current_task()
        deadline = asyncio.timeout_at(self._deadline)
        try:
            async with deadline:
                return await anext(self._response, aio.EOF)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise DeadlineExceeded(f"took longer than {self._timeout:g} s") from error
        finally:
            self._reading = None

    def cancel(self) -> None:
        """Ends a stream together with the task that reads it; a single response ends with whoever awaits it."""
        if self._reading is not None:
            self._reading.cancel()


class LocalServices:
    """Servicers of this process by the full names of their services."""

    def __init__(self, servicers: Mapping[str, object]) -> None:
        self._servicers = servicers

    def method(self, full_name: str) -> Callable[..., LocalCall] | None:
        """`/package.Service/Method` as a function of (message, timeout); None for another process's."""
        service, _, name = full_name.strip("/").rpartition("/")
        servicer = self._servicers.get(service)
        if servicer is None:
            return None
        method = getattr(servicer, name)

        def call(message: Message, timeout: float | None = None) -> LocalCall:
            return LocalCall(method(message, None), timeout)

        return call
