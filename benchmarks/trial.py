"""`prisma try` on a messy table of 5,000 texts: seconds from the file to named features, by step, cold and warm.

The stack is its own, on free ports. cold: an empty data folder and an empty cache of kernels; warm: an empty data
folder; again: the same file once more. `--prisma` measures another installation, such as one from wheels.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import corpora
from tests.stack import PRISMA, environment

Record = dict[str, Any]
ROWS = 5000
WITHOUT_TEXT, WITHOUT_RATING, REPEATED = 94, 136, 6
_SEED = 3
_STEP = re.compile(r"^done +(.+?) +([\d.]+) s$", re.MULTILINE)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its own options."""
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--keep", type=Path, help="keep the table as this file")
    parser.add_argument("--prisma", type=Path, default=PRISMA, help="the command to measure")


def run(options: argparse.Namespace) -> list[Record]:
    """Measures the command three times."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = options.keep or folder / "reviews.csv"
        _write(table, options.rows)
        records: list[Record] = []
        for case, data in (("cold", "first"), ("warm", "second"), ("again", "second")):
            settings = {**environment(folder / data), "NUMBA_CACHE_DIR": str(folder / "kernels")}
            records += _measure(case, [options.prisma, "try", table, "--exit"], settings)
        return records


def _write(path: Path, count: int) -> None:
    """A table as people have them: a byte order mark, semicolons, quoted line breaks, HTML, emoji, empty cells.

    94 rows have no text, 136 no rating, 6 repeat an id, and one text has 2 MB.
    """
    rng = np.random.default_rng(_SEED)
    texts = [text.text for text in corpora.read("debian-long", count)]
    places = (rng.permutation(count - 10) + 10)[: WITHOUT_TEXT + WITHOUT_RATING + REPEATED + 1].tolist()
    empty, unrated = set(places[:WITHOUT_TEXT]), set(places[WITHOUT_TEXT : WITHOUT_TEXT + WITHOUT_RATING])
    repeated, long = set(places[-REPEATED - 1 : -1]), places[-1]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Review ID", "Product", "Rating", "Date", "Body"])
        for row, text in enumerate(texts):
            body = (
                "" if row in empty else (f"{text}\n" * (2_000_000 // len(text)) if row == long else _messy(text, rng))
            )
            rating = "NaN" if row in unrated else f"{rng.integers(1, 6)}.0"
            key = f"R{0 if row in repeated else row:05d}"
            day = f"2025-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}"
            writer.writerow([key, text.split()[0], rating, day, body])


def _messy(text: str, rng: np.random.Generator) -> str:
    """Some texts get markup, line breaks, quotes or an emoji."""
    variants = [text, text, text, f"<p>{text}</p>", text.replace(". ", ".\n"), f'"{text}"', f"{text} 👍"]
    return variants[rng.integers(len(variants))]


def _measure(case: str, command: Sequence[str | Path], settings: Mapping[str, str]) -> list[Record]:
    """One call of the command; its summary goes to standard output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    ended = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    summary = json.loads(ended.stdout)
    print(json.dumps({key: summary[key] for key in ("documents", "latents", "named", "trusted", "families")}))
    values = {"seconds": seconds, "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}
    values |= {f"{step}_seconds": float(value) for step, value in _STEP.findall(ended.stderr)}
    return [
        {"benchmark": "try", "subject": "prisma", "case": case, "metric": metric, "value": value, "unit": "s"}
        for metric, value in values.items()
    ]
