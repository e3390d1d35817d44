"""A follower goes on after a restart and reads everything again after a restore, whatever happened in between."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from services.chassis import history
from services.chassis.database import Database
from services.chassis.history import Histories, HistoryChanged
from tests.chassis.owner import HISTORIES, THINGS

HISTORY = Histories(HISTORIES, uid=THINGS.c.uid, revision=THINGS.c.revision)
UID = "u" * 32


def create(database: Database, revision: int = 1) -> str:
    with database.write() as connection:
        connection.execute(insert(THINGS).values(uid=UID, revision=revision))
        return HISTORY.begin(connection, UID)


def change(database: Database, steps: int = 1) -> None:
    with database.write() as connection:
        connection.execute(update(THINGS).values(revision=THINGS.c.revision + steps))


def restart(database: Database) -> None:
    with database.write() as connection:
        HISTORY.renew(connection)


def position(database: Database) -> tuple[str, int]:
    """What a follower stores when it has read everything."""
    with database.read() as connection:
        revision = connection.execute(select(THINGS.c.revision)).scalar_one()
        return HISTORY.current(connection, UID), revision


def check(database: Database, follower: tuple[str, int]) -> str:
    with database.read() as connection:
        return HISTORY.check(connection, UID, history=follower[0], revision=follower[1])


Backup = list[tuple[Any, list[Any]]]


def backup(database: Database) -> Backup:
    with database.read() as connection:
        return [(table, [dict(row._mapping) for row in connection.execute(select(table))]) for table in TABLES]


def restore(database: Database, tables: Backup) -> None:
    def refill(connection: Connection) -> None:
        for table, rows in tables:
            connection.execute(delete(table))
            if rows:
                connection.execute(insert(table), rows)

    with database.write() as connection:
        refill(connection)


TABLES = (THINGS, HISTORIES)


def test_a_follower_goes_on_across_restarts_with_and_without_changes(database: Database) -> None:
    create(database)
    follower = position(database)
    for steps in (0, 3, 0, 0, 5):
        change(database, steps)
        restart(database)
        assert check(database, follower) == position(database)[0]


def test_everything_can_be_read_from_the_beginning(database: Database) -> None:
    create(database)
    assert check(database, ("", 0)) == position(database)[0]
    assert check(database, ("unknown", 0)) == position(database)[0]


def test_an_unknown_history_and_a_future_revision_are_refused(database: Database) -> None:
    current = create(database, revision=5)
    for follower in (("unknown", 3), ("", 3), (current, 6)):
        with pytest.raises(HistoryChanged) as error:
            check(database, follower)
        assert error.value.metadata == {"history": current}


@pytest.mark.parametrize("changes_before_the_copy", [0, 3])
def test_a_restore_is_noticed_even_when_the_revision_has_grown_again(
    database: Database, changes_before_the_copy: int
) -> None:
    create(database)
    restart(database)
    change(database, changes_before_the_copy)
    copy = backup(database)
    change(database, 6)
    follower = position(database)  # it has read what the copy does not have
    restore(database, copy)
    restart(database)
    change(database, 20)
    with pytest.raises(HistoryChanged):
        check(database, follower)


def test_a_follower_that_was_no_further_than_the_copy_goes_on(database: Database) -> None:
    create(database)
    follower = position(database)
    change(database, 3)
    copy = backup(database)
    change(database, 6)
    restore(database, copy)
    restart(database)
    check(database, follower)


def test_a_follower_is_right_after_any_sequence_of_changes_restarts_and_restores(database: Database) -> None:
    """The model: each revision's content is random. A follower that is let through must hold the owner's prefix."""
    chance = random.Random(7)
    create(database, revision=0)
    content: list[int] = []
    copies: list[tuple[Backup, list[int]]] = []
    followers: list[tuple[tuple[str, int], list[int]]] = []
    refused = accepted = 0
    for _ in range(150):
        action = chance.choice(["change", "change", "restart", "copy", "restore", "follow", "check"])
        if action == "change":
            change(database)
            content.append(chance.getrandbits(60))
        elif action == "restart":
            restart(database)
        elif action == "copy":
            copies.append((backup(database), list(content)))
        elif action == "restore" and copies:
            tables, content = chance.choice(copies)
            content = list(content)
            restore(database, tables)
            restart(database)
        elif action == "follow":
            followers.append((position(database), list(content)))
        for follower, copied in followers[-8:]:
            try:
                check(database, follower)
                accepted += 1
                assert content[: follower[1]] == copied
            except HistoryChanged:
                refused += 1
    assert accepted > 50 and refused > 50


def test_old_histories_are_forgotten(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_ENTRIES", 3)
    create(database)
    far_behind = position(database)
    for _ in range(2):
        restart(database)
    check(database, far_behind)
    for _ in range(4):
        restart(database)
    with pytest.raises(HistoryChanged):
        check(database, far_behind)
    with database.read() as connection:
        assert len(connection.execute(select(HISTORIES)).all()) == 3


def test_a_resource_without_a_history_begins_one_at_start(database: Database) -> None:
    with database.write() as connection:  # written by a version without histories
        connection.execute(insert(THINGS).values(uid=UID, revision=4))
        assert HISTORY.current(connection, UID) == ""
    with pytest.raises(HistoryChanged):
        check(database, ("", 2))
    restart(database)
    assert check(database, ("", 0)) != ""
