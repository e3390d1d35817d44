"""Items of a list that is read page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Generic, Self, TypeVar

from google.protobuf.message import Message

from prisma_client.tables import Rows, table_of, to_pandas, to_polars

T = TypeVar("T", bound=Message)


class Listing(AsyncIterator[T], Generic[T]):
    """An iterator over items, which reads pages as they are needed; all of them at once by `collect`, or as a table."""

    def __init__(self, pages: AsyncIterator[Any], field: str, kind: type[T], limit: int | None = None) -> None:
        """field: of a page, which holds its items. kind: their type. limit: the most items."""
        self._items = _items(pages, field, limit)
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
        return Rows([item async for item in self], self._kind)

    async def to_pandas(self) -> Any:
        """Returns the items that are left as a pandas.DataFrame. Raises MissingLibrary."""
        return to_pandas(table_of(await self.collect(), self._kind))

    async def to_polars(self) -> Any:
        """Returns the items that are left as a polars.DataFrame. Raises MissingLibrary."""
        return to_polars(table_of(await self.collect(), self._kind))


async def _items(pages: AsyncIterator[Any], field: str, limit: int | None) -> AsyncGenerator[Any]:
    count = 0
    async for page in pages:
        for item in getattr(page, field):
            yield item
            count += 1
            if count == limit:
                return
