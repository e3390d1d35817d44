"""The chart runs: every pod that it renders, two of each service, and a rolling restart of all under load."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from platformdirs import user_cache_path

from prisma.embedder.v1 import embedder_service_pb2, embedder_service_pb2_grpc
from prisma.interpreter.v1 import interpreter_service_pb2, interpreter_service_pb2_grpc
from prisma_client import Prisma, sample
from tests.cluster import helm
from tests.cluster.helm import Release
from tests.cluster.pods import OUTSIDE, PROXY, Cluster, missing_programs
from tests.cluster.relays import Relays
from tests.postgres_server import PostgresServer

SERVICES = ("embedder", "trainer", "interpreter", "search", "gateway")
COUNT = 300
BLOBS = """
volumes: [{name: objects, persistentVolumeClaim: {claimName: objects}}]
volumeMounts: [{name: objects, mountPath: /objects}]
"""


@pytest.fixture
def release(postgres_server: PostgresServer, tmp_path: Path) -> Release:
    """Two replicas of everything, on PostgreSQL, a shared folder and OpenSearch."""
    database = urllib.parse.urlsplit(postgres_server.create_database()).path
    shared = "".join(f"{name}:\n  replicas: 2{BLOBS.replace(chr(10), chr(10) + '  ')}\n" for name in SERVICES[:3])
    values = tmp_path / "values.yaml"
    values.write_text(
        f"{shared}\nsearch: {{replicas: 2}}\n"
        f"database: {{url: 'postgresql://prisma@outside{database}'}}\n"
        "blobs: {url: 'file:///objects'}\nopensearch: {url: 'http://outside:9200'}\n"
        "environment: {PRISMA_CATCH_UP_SECONDS: 2}\n"
    )
    return helm.render("--values", str(values))


@pytest.fixture
def cluster(
    release: Release, postgres_server: PostgresServer, opensearch_url: str, tmp_path: Path
) -> Iterator[Cluster]:
    """An empty cluster that reaches the servers outside by the name `outside`."""
    if missing := missing_programs():
        pytest.skip(f"pods cannot be started here: needs {', '.join(missing)}")
    # The trainer's kernels are compiled once for a machine, which takes minutes.
    (tmp_path / "caches/prisma").mkdir(parents=True)
    (tmp_path / "caches/prisma/kernels").symlink_to(user_cache_path("prisma", appauthor=False) / "kernels")
    cluster = Cluster(tmp_path / "cluster", secrets={}, caches={"trainer": tmp_path / "caches"})
    cluster.apply(release)
    cluster.outside = ["outside"]
    relays = Relays()
    try:
        cluster.start()
        network = cluster.network
        relays.add(network.address("node", OUTSIDE), 5432, lambda: [f"127.0.0.1:{postgres_server.port}"])
        relays.add(network.address("node", OUTSIDE), 9200, lambda: [urllib.parse.urlsplit(opensearch_url).netloc])
        for port in (8080, 50050):
            relays.add(
                network.address("node", PROXY),
                port,
                lambda port=port: [f"{address}:{port}" for address in cluster.ready_addresses("gateway")],
            )
        yield cluster
    finally:
        cluster.stop()
        relays.stop()


class Load:
    """Requests that go on until the end of the block, and what became of them."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.slowest = 0.0
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def repeat(self, name: str, request: Callable[[], object]) -> None:
        """Makes a request again and again; it raises where it fails."""

        def loop() -> None:
            while not self._ended.is_set():
                start = time.monotonic()
                try:
                    request()
                    self.done[name] += 1
                except Exception as error:  # noqa: BLE001 - all of them are counted
                    self.failures.append(f"{name} after {time.monotonic() - start:.1f} s: {error!r}"[:600])
                self.slowest = max(self.slowest, time.monotonic() - start)
                self._ended.wait(0.2)

        self._threads.append(threading.Thread(target=loop, name=name))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


def load_of(http: str, channel: grpc.Channel, key: str) -> Load:
    """Requests that need every service, by HTTP over connections that stay and that do not, and by gRPC."""
    load = Load()
    headers = {"authorization": f"Bearer {key}"}
    staying = httpx.Client(base_url=http, headers=headers, timeout=60)
    for name, path in {
        "embedder": "/v1/datasets/d/documents?pageSize=5",
        "trainer": "/v1/runs/r",
        "interpreter": "/v1/runs/r/features?pageSize=5",
        "search": "/v1/datasets/d/documents:search?query=file&pageSize=3",
    }.items():
        load.repeat(f"HTTP {name}", lambda path=path: staying.get(path).raise_for_status())
    load.repeat("HTTP page", lambda: httpx.get(f"{http}/v1/datasets", headers=headers, timeout=60).raise_for_status())
    texts = iter(range(10**9))

    def write() -> None:
        line = json.dumps({"id": f"new-{next(texts)}", "text": "a text that comes during the restart"})
        report = staying.post("/v1/datasets/written/documents:import", content=line.encode()).raise_for_status().json()
        assert int(report["importedCount"]) == 1, report

    load.repeat("HTTP import", write)
    metadata = [("authorization", f"Bearer {key}")]
    documents = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
    features = interpreter_service_pb2_grpc.InterpreterServiceStub(channel)
    vectors = embedder_service_pb2.ReadVectorsRequest(dataset="datasets/d")
    some_features = interpreter_service_pb2.ListFeaturesRequest(parent="runs/r", page_size=5)
    load.repeat("gRPC stream", lambda: list(documents.ReadVectors(vectors, metadata=metadata, timeout=60)))
    load.repeat("gRPC call", lambda: features.ListFeatures(some_features, metadata=metadata, timeout=60))
    return load


def install(cluster: Cluster, release: Release) -> None:
    """As `helm install` does: hooks, then everything at once."""
    for job in release.of_kind("Job"):
        pod = cluster.run_job(job)
        assert pod.status == 0, pod.log.read_text()
    workloads = release.of_kind("Deployment", "StatefulSet")
    pods = [pod for workload in workloads for pod in cluster.start_workload(workload)]
    assert Counter(pod.component for pod in pods) == {**dict.fromkeys(SERVICES, 2), "nats": 1}
    cluster.wait_until_ready(*pods)
    assert {pod.name: pod.restarts for pod in pods} == dict.fromkeys([pod.name for pod in pods], 0)


def check_policies(cluster: Cluster) -> None:
    """The network policies stop what nobody needs."""
    pods = {pod.component: pod for pod in cluster.pods}
    assert cluster.reaches(pods["trainer"], pods["embedder"], 50051)
    assert not cluster.reaches(pods["embedder"], pods["trainer"], 50052)
    assert cluster.reaches(pods["trainer"], pods["nats"], 4222)
    assert not cluster.reaches(pods["trainer"], pods["nats"], 8222)  # where NATS tells its state
    assert not cluster.reaches(pods["nats"], pods["gateway"], 9104)  # metrics
    assert not cluster.reaches(pods["gateway"], pods["embedder"], 9200)  # probes


def wait_until_all_answer(prisma: Prisma) -> None:
    """Returns once both gateways reach all services: they look names up again after a pause."""
    deadline, times = time.monotonic() + 120, 0
    while times < 10:
        assert time.monotonic() < deadline, prisma.status()
        times = 0 if prisma.status()["health"] == "HEALTH_DOWN" else times + 1
        time.sleep(0.2)


def fill(prisma: Prisma) -> None:
    """A dataset, a run with labels, and an index that has them."""
    documents = sample.documents()
    data = prisma.datasets.create("d", [next(documents) for _ in range(COUNT)], dataset_id="d")
    prisma.datasets.create("written", dataset_id="written")
    data.embed()
    run = data.train(run_id="r", expansion=1, k=8, epochs=2, siblings=0)
    run.compute_statistics()
    run.label()


@pytest.mark.timeout(900)
def test_a_rolling_restart_of_all_pods_fails_no_request(cluster: Cluster, release: Release) -> None:
    start = time.monotonic()
    install(cluster, release)
    print(f"\ninstalled: {len(cluster.pods)} pods ready after {time.monotonic() - start:.1f} s")
    check_policies(cluster)
    key = cluster.secret("prisma-keys")["admin-key"]
    proxy = cluster.network.address("node", PROXY)
    with Prisma(f"http://{proxy}:8080", key) as prisma:
        wait_until_all_answer(prisma)
        fill(prisma)
        print(f"a run with labels after {time.monotonic() - start:.1f} s")
        old = [pod for pod in cluster.pods if pod.component in SERVICES]
        with grpc.insecure_channel(f"{proxy}:50050") as channel, load_of(f"http://{proxy}:8080", channel, key) as load:
            begin = time.monotonic()
            cluster.replace_all(release.of_kind("Deployment"))
            print(f"all pods replaced in {time.monotonic() - begin:.1f} s")
        print(f"requests: {dict(load.done)}, failed: {len(load.failures)}, slowest {load.slowest:.1f} s")
        assert not load.failures, "\n".join(load.failures)
        assert all(load.done.values()) and len(load.done) == 8
        assert {pod.status for pod in old} == {0}
        assert not {pod.name for pod in old} & {pod.name for pod in cluster.pods}
        written = httpx.get(f"http://{proxy}:8080/v1/datasets/written", headers={"authorization": f"Bearer {key}"})
        assert int(written.json()["documentCount"]) == load.done["HTTP import"]
