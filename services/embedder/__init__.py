"""Datasets, their documents, and the vectors of these."""
