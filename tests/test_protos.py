"""The stubs and the descriptor set that are checked in are those of the protos."""

import filecmp
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_generated_files_are_up_to_date(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["deploy/generate-protos", tmp_path], cwd=ROOT, check=True, env=os.environ | {"PATH": path})
    fresh = {file.relative_to(tmp_path) for file in tmp_path.rglob("*") if file.is_file()}
    committed = ROOT / "protos/python"
    present = {
        file.relative_to(committed)
        for file in committed.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert present == fresh, "run `make protos`"
    differing = [name for name in sorted(fresh) if not filecmp.cmp(tmp_path / name, committed / name, shallow=False)]
    assert not differing, "run `make protos`"
