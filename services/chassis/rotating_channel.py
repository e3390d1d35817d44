"""A channel whose certificates can be replaced: the next call opens a connection with the new ones.

gRPC binds a channel to its credentials. So there is a channel for each state of the files; a former one ends with the
last of its calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc
from grpc import aio

from services.chassis.certificates import CertificateFiles, Certificates


class RotatingChannel(aio.Channel):
    """files: where the certificates are. open_channel: opens a channel with them."""

    def __init__(self, files: CertificateFiles, open_channel: Callable[[Certificates], aio.Channel]) -> None:
        self._files = files
        self._open_channel = open_channel
        self._latest = _Period(files.current, open_channel(files.current))
        self._periods = {self._latest}

    @property
    def latest(self) -> _Period:
        """The channel with the certificates that are in force."""
        certificates = self._files.current
        if certificates is not self._latest.certificates:
            former, self._latest = self._latest, _Period(certificates, self._open_channel(certificates))
            self._periods = {period for period in self._periods if not period.ended} | {self._latest}
            former.retire()
        return self._latest

    async def close(self, grace: float | None = None) -> None:
        """Closes all channels."""
        await asyncio.gather(*(period.channel.close(grace) for period in self._periods))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The state of the latest channel."""
        return self.latest.channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits for a change of the latest channel's state."""
        await self.latest.channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits until the latest channel is connected."""
        await self.latest.channel.channel_ready()

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        """A method of this kind, called on the latest channel."""
        return _Method(self, "unary_unary", arguments, options)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        """A method of this kind, called on the latest channel."""
        return _Method(self, "unary_stream", arguments, options)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        """A method of this kind, called on the latest channel."""
        return _Method(self, "stream_unary", arguments, options)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        """A method of this kind, called on the latest channel."""
        return _Method(self, "stream_stream", arguments, options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class _Period:
    """The channel of one state of the files, and how many of its calls are in progress."""

    def __init__(self, certificates: Certificates, channel: aio.Channel) -> None:
        self.certificates = certificates
        self.channel = channel
        self._calls = 0
        self._retired = False
        self._closing: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether the channel is closed."""
        return self._closing is not None and self._closing.done()

    def watch(self, call: Any) -> Any:
        """The call, which the channel waits for before it closes."""
        self._calls += 1
        call.add_done_callback(self._end_call)
        return call

    def retire(self) -> None:
        """Closes the channel once its calls have ended."""
        self._retired = True
        if not self._calls and self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self.channel.close())

    def _end_call(self, _call: Any) -> None:
        self._calls -= 1
        if self._retired:
            self.retire()


class _Method:
    """A method of a service, on whichever channel is the latest when it is called."""

    def __init__(self, channel: RotatingChannel, kind: str, arguments: tuple[Any, ...], options: Any) -> None:
        self._channel = channel
        self._kind, self._arguments, self._options = kind, arguments, options
        self._period: _Period | None = None
        self._method: Any = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Begins a call."""
        period = self._channel.latest
        if period is not self._period:
            self._period = period
            self._method = getattr(period.channel, self._kind)(*self._arguments, **self._options)
        return period.watch(self._method(*arguments, **options))
