"""The scripts of docs/examples do what they say, on a real stack, and are as long as the reference says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from prisma_client import Prisma
from prisma_sae import SparseAutoencoder
from tests import messy
from tests.stack import Stack

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples"
REFERENCE = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")


def output(stack: Stack, name: str, *arguments: str | Path) -> str:
    ended = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def delete_datasets(stack: Stack, title: str) -> None:
    with Prisma(stack.url) as prisma:
        for data in prisma.datasets.list():
            if data.message.display_name == title:
                data.delete()


def own_vectors(texts: pd.Series) -> np.ndarray:
    """Vectors by words, with a number for tabs: what the user's own model tells apart."""
    words = TfidfVectorizer(sublinear_tf=True).fit_transform(texts)
    vectors = TruncatedSVD(63, random_state=0).fit_transform(words)
    return np.column_stack([vectors, 0.7 * texts.str.contains("tabs")]).astype(np.float32)


def test_a_data_scientist_gets_features_of_a_messy_frame_and_own_vectors(stack: Stack, tmp_path: Path) -> None:
    rows = [row for row in messy.reviews().rows[:1000] if len(str(row["body"])) < 100_000]
    frame = pd.DataFrame(rows)
    frame.loc[frame["body"].str.contains("tabs", na=False), "rating"] -= 3
    frame.to_csv(tmp_path / "reviews.csv", index=False)
    np.save(tmp_path / "vectors.npy", own_vectors(frame["body"].fillna("")))
    try:
        printed = output(stack, "messy_dataframe.py", tmp_path / "reviews.csv", tmp_path / "vectors.npy")
        assert re.search(r"index +label +trust +score +density", printed)
        assert re.search(r"feature.label +effect +q_value +confirmed\n0 +tabs +0\.[0-3].* True", printed), printed
        assert re.search(r"metadata.rating +features\n0 +r00000", printed), "the first row is closest to its own vector"
        assert len(re.findall(r"^\d", printed, re.MULTILINE)) >= 15
    finally:
        delete_datasets(stack, "Reviews")


def test_a_search_engineer_gets_explained_hits(stack: Stack) -> None:
    try:
        printed = output(stack, "over_http.py", EXAMPLES / "abstracts.jsonl", "heart failure")
        scores = [float(line.split()[0]) for line in printed.splitlines()]
        assert len(scores) == 5
        assert scores == sorted(scores, reverse=True)
        assert "['" in printed, "some hit shares a feature with a label"
    finally:
        delete_datasets(stack, "Documents")


def test_a_researcher_trains_without_a_server(stack: Stack, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((40, 64))
    np.save(tmp_path / "X.npy", topics[rng.integers(40, size=(3000, 3))].sum(axis=1).astype(np.float32))
    printed = output(stack, "without_a_server.py", tmp_path / "X.npy", tmp_path / "sae.zip")
    errors = [float(number) for number in re.findall(r"FVU ([\d.]+)", printed)]
    assert errors == sorted(errors, reverse=True)
    assert SparseAutoencoder.load(tmp_path / "sae.zip").n_latents == 128


def lines_and_statements(file: Path) -> tuple[int, int]:
    """Lines with code, without imports and the docstring, and statements. Both of what the formatter makes of it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    statements = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)][1:]
    source = file.read_text(encoding="utf-8").splitlines()
    first, last = statements[0].lineno - 1, statements[-1].end_lineno
    lines = [line for line in source[first:last] if line.strip() and not line.strip().startswith("#")]
    return len(lines), sum(isinstance(node, ast.stmt) for statement in statements for node in ast.walk(statement))


@pytest.mark.parametrize(
    "name",
    [
        "messy_dataframe.py",
        "without_a_server.py",
        "over_http.py",
        "peers/bertopic_messy_dataframe.py",
        "peers/saelens_without_a_server.py",
        "peers/qdrant_over_http.py",
    ],
)
def test_the_reference_has_the_lengths_of_the_scripts(name: str) -> None:
    lines, statements = lines_and_statements(EXAMPLES / name)
    assert f"[{Path(name).name}](../examples/{name}): {lines} lines, {statements} statements" in REFERENCE
