"""Search over documents and features, on an index derived from the other services."""
