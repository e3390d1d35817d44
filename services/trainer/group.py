"""The group of processes that train one run together. Imports nothing heavy: the settings use it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """`processes` training processes on each of `hosts` hosts."""

    processes: int = 1
    hosts: int = 1
    rendezvous: str | None = None
    """`host:port` at which several hosts meet; None for one host."""

    @property
    def size(self) -> int:
        """Training processes on all hosts."""
        return self.processes * self.hosts
