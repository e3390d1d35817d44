"""Files as streams of HttpBody, with what people should know of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import LocalizedMessage

from services.chassis.table_files import Format

_LANGUAGE = "en"


async def table_bodies(
    format: Format, parts: AsyncIterator[bytes], notices: Sequence[str] = ()
) -> AsyncIterator[HttpBody]:
    """The parts of a table's file. Notices are in the extensions of the first."""
    extensions = [_packed(notice) for notice in notices]
    async for part in parts:
        yield HttpBody(content_type=format.content_type, data=part, extensions=extensions)
        extensions = []


def _packed(notice: str) -> Any:
    packed = Any()
    packed.Pack(LocalizedMessage(locale=_LANGUAGE, message=notice))
    return packed
