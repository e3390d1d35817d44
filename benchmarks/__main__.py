"""Runs a benchmark: `python -m benchmarks trainer --json out.json`.

Writes a JSON list of flat records {"benchmark", "subject", "case", "metric", "value", "unit"}; `subject` is `prisma` or
the peer's name.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import (
    embedding,
    familiarity,
    files,
    filters,
    imports,
    interpretation,
    load,
    providers,
    replicas,
    scale,
    search,
    trainer,
    trial,
    truth,
)

BENCHMARKS = {
    "embedding": embedding,
    "familiarity": familiarity,
    "files": files,
    "filters": filters,
    "import": imports,
    "interpretation": interpretation,
    "load": load,
    "providers": providers,
    "replicas": replicas,
    "scale": scale,
    "search": search,
    "trainer": trainer,
    "truth": truth,
    "try": trial,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    for name, module in BENCHMARKS.items():
        own = names.add_parser(name, help=(module.__doc__ or "").splitlines()[0], description=module.__doc__)
        own.add_argument("--json", type=Path, required=True, help="where the records go")
        module.arguments(own)
    options = parser.parse_args()
    records = BENCHMARKS[options.name].run(options)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(records, indent=1) + "\n")
    case = ""
    for record in records:
        if record["case"] != case:
            case = record["case"]
            print(f"\n{case}")
        print(f"  {record['subject']:<10} {record['metric']:<24} {record['value']:>12.4g} {record['unit']}")


main()
