"""The back end for those who outgrow one machine: an OpenSearch cluster."""

from services.search.opensearch.index import OpenSearchIndex

__all__ = ["OpenSearchIndex"]
