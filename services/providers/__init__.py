"""Access to model servers, shared by embeddings and labels: one HTTP client, and one module per server protocol."""
