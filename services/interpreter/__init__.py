"""The interpreter: statistics of features, labels and their history, families, analysis of texts."""
