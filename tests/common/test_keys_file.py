"""The keys file: what is written comes back, old files are read, damaged ones are refused without quoting them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from prisma.common.v1 import access_pb2
from prisma_common import keys
from prisma_common.keys import ApiKey, KeysFileError, Scope

DIGEST = keys.digest("secret")
keys_of_the_file = st.builds(
    ApiKey,
    name=st.text("ABCxyz0189._-", min_size=1, max_size=64),
    digest=st.text().map(keys.digest),
    scope=st.sampled_from(Scope),
    expire_time=st.none()
    | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
        lambda moment: moment.replace(microsecond=0)
    ),
)


@given(st.lists(keys_of_the_file, max_size=5))
def test_lines_come_back_as_they_were_written(listed: list[ApiKey]) -> None:
    assert keys.parse_keys("".join(f"{key.line}\n" for key in listed).encode()) == listed


def test_scopes_are_those_of_the_proto() -> None:
    assert {scope.word: int(scope) for scope in Scope} == {
        name.removeprefix("SCOPE_").lower(): number for name, number in access_pb2.Scope.items() if number
    }


def test_lines_of_two_columns_are_admin_keys_that_never_expire() -> None:
    assert keys.parse_keys(f"# comment\n\nada {DIGEST}".encode()) == [ApiKey("ada", DIGEST, Scope.ADMIN, None)]


def test_a_key_is_added_to_a_file_without_a_last_newline(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ada {DIGEST}")
    added = ApiKey("bob", keys.digest("other"), Scope.READ, datetime(2027, 1, 31, tzinfo=UTC))
    keys.add_key(file, added)
    assert keys.read_keys(file) == [ApiKey("ada", DIGEST, Scope.ADMIN, None), added]
    with pytest.raises(ValueError, match="already"):
        keys.add_key(file, added)
    keys.remove_key(file, "ada")
    assert keys.read_keys(file) == [added]
    with pytest.raises(ValueError, match="no key"):
        keys.remove_key(file, "ada")


def test_a_new_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    keys.add_key(tmp_path / "keys", ApiKey("ada", DIGEST, Scope.WRITE, None))
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"ada \xff\n",
        b"ada topsecret\n",
        f"ada {DIGEST} write\n".encode(),
        f"ada {DIGEST} owner never\n".encode(),
        f"ada {DIGEST} read tomorrow\n".encode(),
        b"topsecret",
        b"x" * (keys.MAX_FILE_BYTES + 1),
    ],
)
def test_a_damaged_file_is_refused_and_not_quoted(content: bytes) -> None:
    with pytest.raises(KeysFileError) as caught:
        keys.parse_keys(content)
    assert "topsecret" not in str(caught.value)
    assert DIGEST not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_keys_or_a_clear_error(content: bytes) -> None:
    try:
        keys.parse_keys(content)
    except KeysFileError:
        pass


def test_a_key_expires_at_its_time() -> None:
    moment = datetime(2027, 1, 1, tzinfo=UTC)
    key = ApiKey("ada", DIGEST, Scope.READ, moment)
    assert key.expired(moment)
    assert not key.expired(moment - timedelta(seconds=1))
    assert not ApiKey("ada", DIGEST, Scope.READ, None).expired(moment)


@given(st.text())
def test_every_text_has_a_digest(text: str) -> None:
    assert len(keys.digest(text)) == 64
