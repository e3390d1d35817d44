"""Items of a list that is read page by page."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Generic, Self, TypeVar

from google.protobuf.message import Message

from prisma_client.errors import FilterNotice
from prisma_client.tables import Rows, table_of, to_pandas, to_polars

T = TypeVar("T", bound=Message)


class Listing(AsyncIterator[T], Generic[T]):
    """An iterator over items, which reads pages as they are needed; all of them at once by `collect`, or as a table.

    Warns FilterNotice of each of the server's notices.
    """

    def __init__(self, pages: AsyncIterator[Any], field: str, kind: type[T], limit: int | None = None) -> None:
        """field: of a page, which holds its items. kind: their type. limit: the most items."""
        self.notices: list[str] = []
        """What the server says of the filter, once the first page is read: such as a key that no document has."""
        self._items = self._of_pages(pages, field, limit)
        self._kind = kind

    def __repr__(self) -> str:
        kind = self._kind.DESCRIPTOR.name
        return f"<listing of {kind} messages: iterate over it, or call collect(), to_pandas() or to_polars()>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return await anext(self._items)

    async def aclose(self) -> None:
        """Reads no further page."""
        await self._items.aclose()

    async def collect(self) -> Rows[T]:
        """Returns the items that are left, as a list that notebooks show as a table."""
        items = [item async for item in self]
        return Rows(items, self._kind, self.notices)

    async def to_pandas(self) -> Any:
        """Returns the items that are left as a pandas.DataFrame. Raises MissingLibrary."""
        return to_pandas(table_of(await self.collect(), self._kind))

    async def to_polars(self) -> Any:
        """Returns the items that are left as a polars.DataFrame. Raises MissingLibrary."""
        return to_polars(table_of(await self.collect(), self._kind))

    async def _of_pages(self, pages: AsyncIterator[Any], field: str, limit: int | None) -> AsyncGenerator[Any]:
        count = 0
        async for page in pages:
            self._take_notices(page)
            for item in getattr(page, field):
                yield item
                count += 1
                if count == limit:
                    return

    def _take_notices(self, page: Any) -> None:
        for notice in getattr(page, "notices", ()):
            if notice not in self.notices:
                self.notices.append(notice)
                warnings.warn(notice, FilterNotice, stacklevel=4)
