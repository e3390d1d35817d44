"""The embedder: datasets, their documents, and the documents' vectors."""
