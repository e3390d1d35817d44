"""Runs a benchmark: `python -m benchmarks trainer --json out.json`.

Writes a JSON list of flat records {"benchmark", "subject", "case", "metric", "value", "unit"}; `subject` is `prisma` or
the peer's name.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the trainer's processes; before numba is imported

from benchmarks import trainer

BENCHMARKS = {"trainer": trainer.run}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHMARKS))
    parser.add_argument("--json", type=Path, required=True, help="where the records go")
    arguments = parser.parse_args()
    records = BENCHMARKS[arguments.name]()
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(records, indent=1) + "\n")
    for record in records:
        print(f"{record['subject']:<8} {record['metric']:<24} {record['value']:>12.4g} {record['unit']}")


main()
