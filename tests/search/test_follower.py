"""What keeps the index up to date goes on whatever it meets."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from unittest.mock import AsyncMock, Mock

import numpy as np

from services.search.backend import Kind, Position, Stream, StreamState
from services.search.errors import BackendUnavailable
from services.search.follower import IndexFollower
from services.search.upstream import Block, TextBlock


async def test_an_index_that_cannot_be_read_ends_no_scrubbing() -> None:
    index = Mock()
    follower = IndexFollower(index, Mock(), Mock())
    index.scrub.side_effect = OSError(errno.EIO, "Input/output error")
    await follower.scrub()
    assert not follower.errors
    index.scrub.side_effect = [[Stream(Kind.DOCUMENTS, "d")]]
    await follower.scrub()
    assert len(follower.errors) == 1


async def test_a_claim_is_renewed_while_a_slow_owner_sends_nothing_new() -> None:
    """Even where a renewal fails: a busy cluster is over in seconds."""
    index, beats, loop = Mock(), asyncio.Semaphore(0), asyncio.get_running_loop()

    def renew(_: Stream) -> None:
        loop.call_soon_threadsafe(beats.release)
        if index.renew.call_count == 1:
            raise BackendUnavailable("429")

    async def read(*arguments: object) -> AsyncIterator[Block]:
        for revision in range(2, 4):
            for _beat in range(2):
                await asyncio.wait_for(beats.acquire(), 20)
            rows = np.arange(5, dtype=np.uint64)
            yield Block("d", Position("first", revision), rows[:0], TextBlock(rows, rows, Mock()))

    index.renew.side_effect = renew
    index.state.return_value = StreamState(Position("first", 1), 5, 0.0)
    index.unchanged.return_value = np.ones(5, dtype=bool)
    dataset = Mock(uid="d", position=Position("first", 3), is_deleted=False)
    catalog = Mock(datasets=[dataset], runs=[])
    index.uids.return_value = set()
    owners = Mock(read=read, datasets=AsyncMock(return_value=[]), runs=AsyncMock(return_value=[]))
    follower = IndexFollower(index, owners, catalog, beat_seconds=0.01)
    await follower.catch_up()
    assert not follower.errors
    writer = index.text_writer.return_value
    assert not writer.upsert.called and writer.commit.called
