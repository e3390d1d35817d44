"""How the code reads is measured, and does not get worse."""

import re

from tests.style import PACKAGES, PRONOUNS, ROOT, files, measure

GENERATED_TYPES = "schema.d.ts"


def test_names_are_nouns() -> None:
    measures = measure(*files(*PACKAGES, "tests", "benchmarks", "deploy"))
    assert not measures.pronouns
    assert not measures.pronouns_in_any_scope


def test_calls_name_their_arguments() -> None:
    assert not measure(*files(*PACKAGES, "tests/embedder", "tests/interpreter", "tests/search")).positional


def test_the_pages_names_are_nouns() -> None:
    pronouns = "|".join(sorted(PRONOUNS))
    declared = re.compile(rf"\b(?:const|let|as) (?:{pronouns})\b|\((?:{pronouns})\b(?:, \w+)*\) =>|\((?:{pronouns}): ")
    files_of_the_page = (ROOT / "gateway/web/src").rglob("*.*")
    sources = [path for path in files_of_the_page if path.suffix in (".svelte", ".ts") and path.name != GENERATED_TYPES]
    assert sources
    assert not [(path.name, match[0]) for path in sources for match in declared.finditer(path.read_text())]
