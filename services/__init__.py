"""The services of PRISMA, each a process of its own."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
"""gRPC reads it when it is imported. Else it writes lines of its own among ours for each failed handshake of TLS, which
whoever reaches the port can cause."""
