"""Figures as records, and medians with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Record = dict[str, Any]
Floats = NDArray[np.float64]
RESAMPLES = 2000
SURE, USELESS = 0.85, 0.55
"""Areas under the curve from which a label is good, and up to which it says nothing."""


@dataclass(frozen=True)
class Reporter:
    """Collects records of one case, and prints them."""

    records: list[Record]
    case: str

    def add(self, subject: str, values: Mapping[str, float], *, unit: str = "1", about: str = "") -> None:
        """Figures of a subject. about: is put before each metric's name."""
        self.records.extend(
            {
                "benchmark": "truth",
                "subject": subject,
                "case": self.case,
                "metric": f"{about}{metric}",
                "value": value,
                "unit": unit,
            }
            for metric, value in values.items()
        )
        figures = ", ".join(f"{metric} {value:.3g}" for metric, value in values.items())
        print(f"{self.case} | {subject} | {about}{figures}", flush=True)

    def leave_out(self, subject: str, reason: str) -> None:
        """Says that something was not measured."""
        self.add(subject, {f"left out: {reason}": 1.0}, unit="")


def median(values: Sequence[float | None]) -> dict[str, float]:
    """The median of those that are there, with its 95 % interval (bootstrap over features), and their number."""
    numbers = np.array([value for value in values if value is not None], np.float64)
    if not len(numbers):
        return {"count": 0}
    low, high = _interval(numbers, np.median)
    return {"median": float(np.median(numbers)), "low": low, "high": high, "count": len(numbers)}


def summary(values: Sequence[float | None]) -> dict[str, float]:
    """As `median`, with the shares of good and of useless labels."""
    numbers = np.array([value for value in values if value is not None], np.float64)
    if not len(numbers):
        return {"count": 0}
    shares = {"share of .85 and more": np.mean(numbers >= SURE), "share of .55 and less": np.mean(numbers <= USELESS)}
    return median(values) | {name: float(share) for name, share in shares.items()}


def paired(first: Sequence[float | None], second: Sequence[float | None]) -> dict[str, float]:
    """How much better the first is than the second on the same features; `p` of Wilcoxon's signed-rank test."""
    pairs = [(one, other) for one, other in zip(first, second, strict=True) if one is not None and other is not None]
    if not pairs:
        return {"count": 0}
    differences = np.array([one - other for one, other in pairs])
    low, high = _interval(differences, np.mean)
    return {
        "mean difference": float(differences.mean()),
        "low": low,
        "high": high,
        "median difference": float(np.median(differences)),
        "better": float(np.mean(differences > 0)),
        "worse": float(np.mean(differences < 0)),
        "p": float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0,
        "count": len(pairs),
    }


def _interval(values: Floats, statistic: Any) -> tuple[float, float]:
    """The 95 % interval of a statistic: percentiles of a bootstrap."""
    places = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(statistic(values[places], axis=1), [2.5, 97.5])
    return float(low), float(high)
