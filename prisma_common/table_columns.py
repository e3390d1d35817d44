"""The columns of a table of documents with their features, by which an import knows such a table."""

ID, TEXT, FEATURES = "id", "text", "features"
PASSAGE_COLUMNS = ("passage", "passage_count", "passage_start", "passage_end")
FEATURE_PREFIX = "feature: "
"""Before the label of a feature whose activations a column holds."""
