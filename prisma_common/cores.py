"""How many processor cores this process may use: in a container fewer than the machine has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath


@cache
def core_count() -> int:
    """Cores that this process may use at the same time, at least 1: by its affinity, and by the quota of its cgroup."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """Processor time that the cgroups of this process allow it per time, in cores; None where nothing limits it.

    Reads `cpu.max` (cgroup v2), or `cpu.cfs_quota_us` and `cpu.cfs_period_us` (v1), of its group and of those around
    it. In a container its own group is mostly the root of what it sees.
    """
    quotas = [quota for folder in _folders(root) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _folders(root: Path) -> Iterator[Path]:
    """The folders of this process's groups, by both versions."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, described = line.partition(":")
        controllers, _, path = described.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        hierarchies = ["cpu", "cpu,cpuacct"] if controllers else [".", "unified"]
        group = PurePosixPath(path.strip().lstrip("/"))
        for hierarchy in hierarchies:
            for part in (group, *group.parents):
                yield root / "sys/fs/cgroup" / hierarchy / part


def _quota(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    if not quota:
        quota, _, period = _read(folder / "cpu.max").partition(" ")
    try:
        return int(quota) / int(period) if int(quota) > 0 else None
    except (ValueError, ZeroDivisionError):  # "max", no such file, or not what a kernel writes
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
