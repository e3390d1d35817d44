"""Statistics of a dataset, computed in one pass over its texts and one over its vectors. No gRPC, NATS or SQL."""
