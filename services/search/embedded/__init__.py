"""The built-in back end: one process, files under the data directory, no server."""

from services.search.embedded.index import EmbeddedIndex

__all__ = ["EmbeddedIndex"]
