"""Files of documents: what kind of file it is, its items, and the documents in them."""
