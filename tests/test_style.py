"""How the code reads is measured, and does not get worse."""

from tests.style import files, measure

CLEAN: tuple[str, ...] = (
    "prisma_common",
    "services",
    "gateway",
    "prisma_client",
    "tests/embedder",
    "tests/interpreter",
    "tests/search",
)
"""Packages whose names are nouns and whose calls name their arguments."""


def test_names_are_nouns_and_calls_name_their_arguments() -> None:
    for package in CLEAN:
        measures = measure(*files(package))
        assert not measures.pronouns
        assert not measures.pronouns_in_any_scope, package
        assert not measures.positional
