"""The examples of docs/reference/filters.md match what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path

from services.chassis.filters import TRUTH, evaluate, parse_filter
from services.chassis.metadata_filters import METADATA, OPERATORS, metadata_test, passes
from services.chassis.metadata_schema import changed, types_of
from services.chassis.metadata_terms import described

REFERENCE = (Path(__file__).parents[1] / "docs/reference/filters.md").read_text()
EXAMPLES = REFERENCE.partition("## Examples")[2].partition("## Fields")[0]


def test_the_examples_of_the_reference_match_what_it_says() -> None:
    documents = [json.loads(text) for text in re.findall(r"`(\{.*?\})`", EXAMPLES)]
    metadata = [described(document) for document in documents]
    types = types_of(changed({}, metadata, by=1))
    rows = re.findall(r"^\| `(.*?)` \| (.*)\|$", EXAMPLES, re.MULTILINE)
    assert len(rows) >= 15
    for text, expected in rows:
        condition = parse_filter(text, {METADATA: OPERATORS})
        matching = [
            name
            for name, document in zip(("first", "second", "third"), metadata, strict=True)
            if evaluate(
                condition,
                lambda leaf, terms=document.terms: metadata_test(leaf, types, lambda test: passes(terms, test), TRUTH),
                TRUTH,
            )
        ]
        assert matching == [name.strip() for name in expected.split(",") if name.strip()], text
