"""What keeps the index up to date goes on whatever it meets."""

from __future__ import annotations

import errno
from unittest.mock import Mock

from services.search.backend import Kind, Stream
from services.search.follower import IndexFollower


async def test_an_index_that_cannot_be_read_ends_no_scrubbing() -> None:
    index = Mock()
    follower = IndexFollower(index, Mock(), Mock())
    index.scrub.side_effect = OSError(errno.EIO, "Input/output error")
    await follower.scrub()
    assert not follower.errors
    index.scrub.side_effect = [[Stream(Kind.DOCUMENTS, "d")]]
    await follower.scrub()
    assert len(follower.errors) == 1
