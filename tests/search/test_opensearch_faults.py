"""What a cluster may do: it is busy, full, blocked, slow, without a manager, behind TLS, or changed by hand."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from pydantic import ValidationError

from services.search.backend import Kind, Stream
from services.search.errors import BackendPaused, BackendRefusal, BackendUnavailable, WrittenElsewhere
from services.search.opensearch import Access, Layout, OpenSearchIndex
from services.search.opensearch.cluster import Cluster
from services.search.opensearch.leases import Leases
from services.search.settings import SearchSettings
from tests.certificates import Authority
from tests.opensearch_proxy import Exchange, Proxy, first, proxy_of, slow
from tests.search.contract import at, documents, item, ranked_rows, rows_of, write_texts, write_vectors

Open = Callable[..., OpenSearchIndex]


@pytest.fixture
def opened(opensearch_url: str) -> Iterator[Open]:
    """Opens indices of one prefix, which are deleted at the end."""
    prefix = f"test{uuid4().hex[:8]}"
    indices: list[OpenSearchIndex] = []

    def open_index(url: str = opensearch_url, **options: Any) -> OpenSearchIndex:
        access = Access(urls=[url], seconds=options.pop("seconds", 30))
        indices.append(OpenSearchIndex(access, prefix=prefix, **{"patience_seconds": 20, **options}))
        return indices[-1]

    yield open_index
    last = open_index()
    for uid in last.uids():
        last.delete(uid)
    last.cluster.client.indices.delete(index=f"{prefix}_leases", params={"ignore_unavailable": "true"})
    for index in indices:
        index.close()


@pytest.fixture
def proxy(opensearch_url: str) -> Iterator[Proxy]:
    with proxy_of(opensearch_url) as proxy:
        yield proxy


def index_of(index: OpenSearchIndex, stream: Stream) -> str:
    """The name of the index in use."""
    current = index.current(stream)
    assert current is not None
    return current[0]


def settings_of(index: OpenSearchIndex, stream: Stream) -> dict[str, Any]:
    name = index_of(index, stream)
    return index.cluster.client.indices.get_settings(index=name)[name]["settings"]["index"]


def word(row: int) -> str:
    """A word that only one text has."""
    return "q" * (row + 3)


TEXTS = [item(row, f"file {word(row)}") for row in range(30)]
REJECTED = {"type": "rejected_execution_exception", "reason": "rejected execution of coordinating operation"}


def rejecting(places: range | None) -> Callable[[Exchange], None]:
    """Rejects items of a bulk request, and answers as if the others were written; None for the whole request."""

    def reject(exchange: Exchange) -> None:
        if places is None:
            exchange.reject(429, json.dumps({"error": REJECTED, "status": 429}).encode())
            return
        count = len(exchange.body.splitlines()) // 2
        rejected, written = {"status": 429, "error": REJECTED}, {"status": 201}
        items = [{"index": rejected if place in places else written} for place in range(count)]
        exchange.reject(200, json.dumps({"took": 1, "errors": True, "items": items}).encode())

    return reject


def bulk(exchange: Exchange) -> bool:
    return exchange.is_bulk


def test_what_a_busy_cluster_rejects_is_written_later(opened: Open, proxy: Proxy) -> None:
    index, stream = opened(proxy.url), documents()
    proxy.faults = [first(4, rejecting(None), of=bulk)]
    write_texts(index, stream, TEXTS, 1)
    assert index.rows(stream).tolist() == list(range(30))
    assert proxy.count("_bulk") > 4


def test_only_the_rejected_items_of_a_request_are_sent_again(opened: Open, proxy: Proxy) -> None:
    index, stream = opened(proxy.url), documents()
    write_texts(index, stream, TEXTS, 1)
    proxy.exchanges.clear()
    proxy.faults = [first(1, rejecting(range(10, 13)), of=bulk)]
    write_texts(index, stream, [item(row, "other words") for row in range(30)], 2)
    lines = [line for exchange in proxy.exchanges if exchange.is_bulk for line in exchange.body.splitlines()[::2]]
    ids = [json.loads(line)["index"]["_id"] for line in lines]
    assert sorted(ids[:30]) == sorted(map(str, range(30)))
    assert sorted(ids[30:]) == ["10", "11", "12"]


def test_a_cluster_that_stays_busy_is_unavailable_with_its_reason(opened: Open, proxy: Proxy) -> None:
    index, stream = opened(proxy.url, patience_seconds=0.2), documents()
    proxy.faults = [first(1000, rejecting(range(30)), of=bulk)]
    with pytest.raises(BackendUnavailable, match="rejected execution of coordinating operation"):
        write_texts(index, stream, TEXTS, 1)


def test_dropped_and_slow_connections_lose_and_double_nothing(opened: Open, proxy: Proxy) -> None:
    """Each kind of request of a rebuild is lost once before it is done and once after."""
    index, stream = opened(proxy.url, seconds=2), documents()
    write_texts(index, stream, TEXTS, 1)
    lost: set[tuple[str, str]] = set()

    def is_new(exchange: Exchange) -> bool:
        kind = (exchange.method, "".join(part for part in exchange.path.split("/") if part.startswith("_")))
        if kind in lost:
            return False
        lost.add(kind)
        return True

    proxy.faults = [first(1, slow(3), of=bulk), lambda exchange: exchange.drop() if is_new(exchange) else None]
    write_texts(index, stream, [item(row, "second words") for row in range(20)], 2, rebuild=True)
    assert index.rows(stream).tolist() == list(range(20))
    lost.clear()
    proxy.faults, proxy.drops_answers = [], is_new
    write_texts(index, stream, [item(row, "third words") for row in range(10)], 3, rebuild=True)
    assert len(lost) > 5
    assert index.rows(stream).tolist() == list(range(10))
    assert ranked_rows(index, stream, "third", depth=20) == list(range(10))


def test_indices_of_others_with_our_prefix_are_left_alone(opened: Open) -> None:
    index, stream = opened(), documents()
    write_texts(index, stream, TEXTS, 1)
    client, prefix = index.cluster.client, index_of(index, stream).split("-")[0]
    unplaced = {"settings": {"number_of_replicas": 0, "routing.allocation.require._name": "nobody"}}
    names = [f"{prefix}-logs", f"{prefix}-2026.11.28", f"{prefix}-documents-{stream.uid}-copy", f"{prefix}x"]
    for name in names:
        client.indices.create(index=name, body=unplaced, params={"wait_for_active_shards": "0"})
    try:
        assert client.cluster.health()["status"] == "red"
        assert "OpenSearch" in index.check()
        assert index.uids() == {stream.uid}
        assert index.unused(stream) == []
        index.delete(stream.uid)
        assert len(client.indices.get(index=f"{prefix}*")) == len(names)
    finally:
        client.indices.delete(index=",".join(names))


@pytest.mark.parametrize(("status", "of"), [(404, "_refresh"), (404, "_mapping"), (400, "_mapping"), (413, "_search")])
def test_what_a_cluster_refuses_is_an_error_with_its_reason(opened: Open, proxy: Proxy, status: int, of: str) -> None:
    index, stream = opened(proxy.url), documents()
    write_texts(index, stream, TEXTS, 1)
    writer = index.text_writer(stream, at(2))
    writer.upsert(TEXTS)
    reason = json.dumps({"error": {"type": "x", "reason": "beyond a limit"}, "status": status}).encode()
    proxy.faults = [lambda exchange: exchange.reject(status, reason) if of in exchange.path else None]
    message = "replaced or deleted" if status == 404 else f"{status} x: beyond a limit"
    with pytest.raises(WrittenElsewhere if status == 404 else BackendRefusal, match=message):
        writer.commit()


def test_a_text_beyond_the_limit_of_requests_is_named(opened: Open, proxy: Proxy) -> None:
    index, stream = opened(proxy.url), documents()

    def refuse(exchange: Exchange) -> None:
        if exchange.is_bulk and word(17) in exchange.body.decode():
            exchange.reject(413, b"")

    proxy.faults = [refuse]
    with pytest.raises(ValueError, match=r"row 17 takes [0-9,]+ bytes, .* http\.max_content_length"):
        write_texts(index, stream, TEXTS[:18], 1)


def test_a_cluster_without_a_manager_is_an_outage(opened: Open, proxy: Proxy) -> None:
    index, stream = opened(proxy.url, patience_seconds=0.2), documents()
    write_texts(index, stream, TEXTS, 1)
    answer = {
        "error": {"type": "cluster_manager_not_discovered_exception", "reason": "not discovered yet"},
        "status": 503,
    }
    block = {
        "error": {
            "type": "cluster_block_exception",
            "reason": "blocked by: [SERVICE_UNAVAILABLE/2/no cluster manager];",
        },
        "status": 503,
    }
    for error in (answer, block):
        proxy.faults = [lambda exchange, error=error: exchange.reject(503, json.dumps(error).encode())]
        for call in (
            lambda: index.search_text(stream, ["file"], 10),
            lambda: write_texts(index, stream, TEXTS, 2),
            lambda: index.check(),
        ):
            with pytest.raises(BackendUnavailable) as caught:
                call()
            assert not isinstance(caught.value, BackendPaused)


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("block", ["read_only_allow_delete", "read_only", "write"])
def test_a_block_pauses_writes_with_its_reason_until_it_is_removed(opened: Open, block: str, rebuild: bool) -> None:
    """The first is what a node sets whose disk is full."""
    index, stream = opened(), documents()
    write_texts(index, stream, TEXTS, 1)
    client = index.cluster.client.indices
    name = index_of(index, stream)
    client.put_settings(index=name, body={"index.blocks." + block: True})
    with pytest.raises(BackendPaused, match=r"indexing is paused: index .* (has|blocked by)"):
        write_texts(index, stream, [item(7, "new words")], 2, rebuild=rebuild)
    assert ranked_rows(index, stream, word(7)) == [7], "searches go on"
    assert index.unused(stream) == []
    client.put_settings(index=name, body={"index.blocks." + block: None})
    write_texts(index, stream, [item(7, "new words")], 2, rebuild=rebuild)
    assert ranked_rows(index, stream, "new") == [7]
    assert "blocks" not in settings_of(index, stream)


def test_shards_and_replicas_are_settings(opened: Open) -> None:
    stream, vectors = documents(), Stream(Kind.VECTORS, uuid4().hex)
    default = opened()
    write_texts(default, stream, TEXTS, 1)
    settings = settings_of(default, stream)
    assert (settings["number_of_shards"], settings["auto_expand_replicas"]) == ("1", "0-1")
    index = opened(layout=Layout(shards=3, replicas="2"))
    write_texts(index, stream, TEXTS, 1, rebuild=True)
    settings = settings_of(index, stream)
    assert (settings["number_of_shards"], settings["number_of_replicas"]) == ("3", "2")
    assert settings["auto_expand_replicas"] == "false"
    write_vectors(index, vectors, rows_of(*range(30)), np.eye(30, dtype=np.float32))
    assert index.search_vectors(vectors, np.eye(30, dtype=np.float32)[7], 3, None).rows.tolist() == [7, 0, 1]
    write_texts(index, stream, [*TEXTS, *(item(row, "file file") for row in range(30, 90))], 2)
    candidates = index.search_text(stream, ["file", word(7)], 100)
    assert candidates.statistics.document_frequencies.tolist() == [90, 1]
    assert ranked_rows(index, stream, f"file {word(7)}", depth=100)[:3] == [7, 30, 31]


def test_what_operators_set_is_not_reverted(opened: Open) -> None:
    """By an index template before, or on the index itself afterwards."""
    index, stream, other = opened(layout=Layout(replicas="0")), documents(), documents()
    client = index.cluster.client.indices
    write_texts(index, stream, TEXTS, 1)
    changes = {"number_of_replicas": 1, "routing.allocation.total_shards_per_node": 5, "refresh_interval": "30s"}
    client.put_settings(index=index_of(index, stream), body={"index": changes})
    for revision in (2, 3):
        write_texts(index, stream, TEXTS, revision, rebuild=revision == 2)
        settings = settings_of(index, stream)
        assert (settings["number_of_replicas"], settings["refresh_interval"]) == ("1", "30s")
        assert settings["routing"]["allocation"]["total_shards_per_node"] == "5"
    template = f"test{uuid4().hex}"
    shards = {"number_of_shards": 2, "number_of_replicas": 1, "codec": "best_compression"}
    body = {"index_patterns": [f"*-{other.uid}-*"], "template": {"settings": {"index": shards}}, "priority": 7}
    client.put_index_template(name=template, body=body)
    try:
        write_texts(opened(), other, TEXTS, 1)
    finally:
        client.delete_index_template(name=template)
    settings = settings_of(index, other)
    assert (settings["number_of_shards"], settings["number_of_replicas"]) == ("2", "1")
    assert settings["codec"] == "best_compression" and "auto_expand_replicas" not in settings


def test_searches_answer_through_rebuilds(opened: Open) -> None:
    index, reader, stream = opened(), opened(), documents()
    write_texts(index, stream, TEXTS, 1)
    counts: list[int] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    def search() -> None:
        while not ended.is_set():
            try:
                counts.append(len(reader.search_text(stream, ["file"], 100).profiles.rows))
            except BaseException as error:  # noqa: BLE001 - the test asserts that there is none
                errors.append(error)

    readers = [threading.Thread(target=search) for _ in range(2)]
    for thread in readers:
        thread.start()
    for revision in range(2, 6):
        write_texts(index, stream, TEXTS, revision, rebuild=True)
    ended.set()
    for thread in readers:
        thread.join()
    assert not errors
    assert set(counts) == {30}


def test_what_a_killed_rebuild_leaves_is_swept_by_the_next_one(opened: Open) -> None:
    index, stream = opened(), documents()
    write_texts(index, stream, TEXTS, 1)
    killed = index.text_writer(stream, at(2), rebuild=True)
    killed.upsert(TEXTS[:10])
    assert len(index.unused(stream)) == 1
    write_texts(opened(), stream, TEXTS[:20], 3, rebuild=True)
    assert index.unused(stream) == []
    with pytest.raises(WrittenElsewhere):  # it was not killed, but stopped for a while
        killed.upsert(TEXTS[10:])
    killed.abort()
    assert index.rows(stream).tolist() == list(range(20))
    assert len(index.cluster.client.indices.get(index=f"*{stream.uid}*")) == 1, "a late write creates no index"


def test_one_service_at_a_time_writes_a_stream(opened: Open, opensearch_url: str) -> None:
    first_index, second_index, stream = opened(), opened(), documents()
    first_index.claim(stream)
    with pytest.raises(WrittenElsewhere):
        second_index.claim(stream)
    second_index.claim(documents())  # another stream
    first_index.release(stream)
    second_index.claim(stream)
    second_index.release(stream)
    first_index.claim(stream)
    first_index.release(stream)


def test_the_lease_of_a_silent_service_is_taken_over(opened: Open) -> None:
    now = [0.0]
    opened()
    cluster = opened().cluster
    prefix = f"test{uuid4().hex[:8]}"
    silent, other = (Leases(cluster, prefix, seconds=30, clock=lambda: now[0]) for _ in range(2))
    stream = documents()
    silent.take(stream)
    for moment in (0, 20, 29):
        now[0] = moment
        silent.renew(stream)
        with pytest.raises(WrittenElsewhere):
            other.take(stream)
    now[0] = 70
    other.take(stream)
    for _ in range(2):
        with pytest.raises(WrittenElsewhere):
            silent.renew(stream)
    silent.release(stream)
    with pytest.raises(WrittenElsewhere):
        silent.take(stream)
    cluster.client.indices.delete(index=f"{prefix}_leases")


def test_a_lease_outlives_lost_answers_and_a_busy_cluster(opened: Open, proxy: Proxy) -> None:
    index, other, stream = opened(proxy.url, seconds=5, lease_seconds=0.01), opened(), documents()

    def is_lease(exchange: Exchange) -> bool:
        return "_leases" in exchange.path and exchange.method == "PUT"

    index.claim(stream)
    lost = [True]
    proxy.drops_answers = lambda exchange: is_lease(exchange) and bool(lost) and lost.pop()
    index.renew(stream)
    busy = json.dumps({"error": REJECTED, "status": 429}).encode()
    proxy.faults = [first(6, lambda exchange: exchange.reject(429, busy), of=is_lease)]
    write_texts(index, stream, TEXTS, 1)
    assert not lost and not index.rows(stream).tolist()[30:]
    with pytest.raises(WrittenElsewhere):
        other.claim(stream)
    index.release(stream)


def test_a_cluster_behind_tls_with_a_password_or_a_key(opened: Open, opensearch_url: str, tmp_path: Path) -> None:
    Authority().issue(tmp_path)
    authority = str(tmp_path / "authority.pem")

    def authorized(exchange: Exchange) -> None:
        password = base64.b64encode(b"prisma:s3cret/@").decode()
        if exchange.headers.get("authorization") not in (f"Basic {password}", "ApiKey abc"):
            exchange.reject(401, b'{"error": "Unauthorized"}')

    def check(**access: Any) -> str:
        index = OpenSearchIndex(Access(**{"urls": [proxy.url], "authority": authority, "seconds": 5, **access}))
        try:
            return index.check()
        finally:
            index.close()

    with proxy_of(opensearch_url, tmp_path) as proxy:
        proxy.faults = [authorized]
        assert "OpenSearch" in check(user="prisma", password="s3cret/@")
        assert "OpenSearch" in check(urls=[proxy.url.replace("//", "//prisma:s3cret%2F%40@")])
        assert "OpenSearch" in check(api_key="abc")
        for access in ({}, {"user": "prisma", "password": "wrong"}, {"api_key": "wrong"}):
            with pytest.raises(BackendUnavailable, match="refuses the user or key") as caught:
                check(**access)
            assert "wrong" not in str(caught.value)
        with pytest.raises(BackendUnavailable, match="does not answer"):
            check(authority=None, api_key="abc")
    with proxy_of(opensearch_url, tmp_path, asks_for_certificate=True) as proxy:
        with pytest.raises(BackendUnavailable, match="does not answer"):
            check()
        own = {"certificate": str(tmp_path / "certificate.pem"), "key": str(tmp_path / "key.pem")}
        assert "OpenSearch" in check(**own)


def test_another_node_answers_where_one_does_not(opensearch_url: str) -> None:
    cluster = Cluster(Access(urls=["http://127.0.0.1:9", opensearch_url], seconds=5))
    for _ in range(4):
        assert cluster.search("nothing*", {}) is not None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"opensearch_user": "a", "opensearch_api_key": "b"}, "got both"),
        ({"opensearch_authority": "/nowhere.pem"}, "PRISMA_OPENSEARCH_AUTHORITY; there is none at /nowhere.pem"),
        ({"opensearch_certificate": __file__}, "or none; got one"),
        ({"opensearch_replicas": "many"}, "opensearch_replicas"),
        ({"opensearch_shards": 0}, "opensearch_shards"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_start(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SearchSettings(**settings)
