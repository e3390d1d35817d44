"""Comparisons with the peers: `python -m benchmarks NAME --json FILE`."""
