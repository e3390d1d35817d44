"""The back end for those who outgrow one machine: an OpenSearch cluster."""

from services.search.opensearch.cluster import Access
from services.search.opensearch.index import OpenSearchIndex
from services.search.opensearch.layout import Layout

__all__ = ["Access", "Layout", "OpenSearchIndex"]
