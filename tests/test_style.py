"""How the code reads is measured, and does not get worse."""

import pytest

from tests.style import files, measure

CLEAN: tuple[str, ...] = ()
"""Packages whose names are nouns and whose calls name their arguments."""


@pytest.mark.parametrize("package", CLEAN)
def test_names_are_nouns_and_calls_name_their_arguments(package: str) -> None:
    measures = measure(*files(package))
    assert not measures.pronouns
    assert not measures.pronouns_in_any_scope
    assert not measures.positional
