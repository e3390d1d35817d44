"""The same request id gives the same answer once and for all, and another request under it is refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from sqlalchemy import func, insert, select, update

from services.chassis.database import Database
from services.chassis.errors import RequestIdReused
from services.chassis.idempotency import KEEP, Call, Requests
from services.chassis.moments import utc_now
from tests.chassis.owner import REQUESTS, THINGS

ANSWERS = Requests(REQUESTS)


def create(database: Database, call: Call | None, uid: str) -> bytes:
    """What an RPC does: the stored answer, or a new resource and its answer in one transaction."""
    with database.write() as connection:
        answer = ANSWERS.answer(connection, call)
        if answer is not None:
            return answer
        connection.execute(insert(THINGS).values(uid=uid, revision=1))
        ANSWERS.store(connection, call, uid.encode(), resource_uid=uid)
        return uid.encode()


def count(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(THINGS)).scalar_one()


def call(value: str, method: str = "Create", request_id: str = "r1") -> Call | None:
    return Call.of(request_id, method, StringValue(value=value))


def test_a_repeated_request_gets_the_first_answer(database: Database) -> None:
    assert create(database, call("a"), "one") == b"one"
    assert create(database, call("a"), "two") == b"one"
    assert count(database) == 1


def test_requests_without_an_id_are_all_new(database: Database) -> None:
    create(database, call("a", request_id=""), "one")
    create(database, call("a", request_id=""), "two")
    assert count(database) == 2


@pytest.mark.parametrize("other", [call("b"), call("a", method="Clone")])
def test_another_request_under_the_same_id_is_refused_and_changes_nothing(database: Database, other: Call) -> None:
    create(database, call("a"), "one")
    with pytest.raises(RequestIdReused):
        create(database, other, "two")
    assert count(database) == 1


def test_an_error_stores_no_answer(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as connection:
        ANSWERS.store(connection, call("a"), b"one")
        raise RuntimeError
    assert create(database, call("a"), "two") == b"two"


def test_the_same_request_many_times_at_once_is_done_once(database: Database) -> None:
    barrier = threading.Barrier(8)

    def attempt(number: int) -> bytes:
        barrier.wait()
        return create(database, call("a"), f"uid{number}")

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(attempt, range(8)))
    assert len(answers) == 1
    assert count(database) == 1


def test_an_id_is_free_again_when_its_resource_is_deleted_and_after_thirty_days(database: Database) -> None:
    create(database, call("a"), "one")
    with database.write() as connection:
        ANSWERS.forget(connection, "one")
    assert create(database, call("b"), "two") == b"two"
    with database.write() as connection:
        assert ANSWERS.sweep(connection) == 0
        connection.execute(update(REQUESTS).values(create_time=utc_now() - KEEP * 1.01))
        assert ANSWERS.sweep(connection) == 1
    assert create(database, call("c"), "three") == b"three"
