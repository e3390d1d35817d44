"""Seeded fault schedules: `python -m tests.system.faults --seeds 0-59 --json FILE`.

Each schedule takes texts through import, embed, train, statistics, labels, families, changes (some documents replaced,
added, and deleted by a filter), index and delete, while its faults happen. Afterwards everything that a user can read
is compared with an undisturbed installation. A schedule ends as

- `equal`: all of it is the same, and after the deletion nothing is left;
- `loud`: something is not there, and an error that names the cause said so (allowed for damaged files only);
- `silent` or `stuck`: something differs or never ends, and no error said so. This must not happen.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
import numpy as np
import psutil

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1 import embedder_service_pb2, embedder_service_pb2_grpc
from prisma.trainer.v1 import trainer_service_pb2, trainer_service_pb2_grpc
from prisma_client import AlreadyExists, NotFound, Prisma, PrismaError, Unavailable, sample
from tests import planted
from tests.system.installation import SERVICES, Installation

COUNTS = (150, 300)
QUERIES = ("read a file line by line", "network socket timeout", "parse a date")
MODES = ("full_text", "semantic", "sparse", "hybrid")
CONFIG = {"expansion": 1, "k": 8, "epochs": 12, "threads": 1}
OUTAGES = ("STORAGE_FULL", "DEADLINE_EXCEEDED", "INDEX_NOT_READY", "CONFLICT", "TOO_MANY_REQUESTS")
"""Reasons after which a careful client retries, besides UNAVAILABLE."""
END = (Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED)
KINDS = ("kills", "restore", "kills", "damage", "kills", "full disk", "kills", "restore", "kills", "damage")
"""The kind of a schedule, by its seed modulo ten."""
STEPS = ("import", "embed", "train", "statistics", "label", "families", "change", "index", "end")
OLD = slice(20, 30)
"""Documents that are deleted by a filter."""
REPLACED = slice(40, 52)
ADDED = 25
STREAMS = {"documents", "vectors", "codes", "labels"}
STEP_SECONDS = 150.0

_Answer = TypeVar("_Answer")


class Loud(Exception):
    """An operation said that it could not be done, and why."""


class Stuck(Exception):
    """An operation neither ended nor said why."""


@dataclass
class Outcome:
    """What became of a schedule."""

    seed: int
    kind: str
    count: int
    result: str
    faults: list[str] = field(default_factory=list)
    detail: str = ""
    seconds: float = 0.0


def _documents(count: int) -> list[dict[str, str]]:
    documents = [*itertools.islice(sample.documents(), count - 1), planted.DOCUMENT]
    documents[OLD] = [{**document, "age": "old"} for document in documents[OLD]]
    return documents


@dataclass
class Work:
    """The main job of a user, each step of it repeatable, as a careful client writes it."""

    prisma: Prisma
    installation: Installation
    documents: list[dict[str, str]]

    def steps(self) -> list[tuple[str, Callable[[], object]]]:
        return [
            ("import", self.add),
            ("embed", self.embed),
            ("train", self.train),
            ("statistics", lambda: self.job(lambda run: run.compute_statistics(wait=False))),
            ("label", lambda: self.job(lambda run: run.label(wait=False))),
            ("families", lambda: self.job(lambda run: run.build_families(wait=False))),
            ("change", self.change),
            ("index", self.index),
        ]

    def add(self, count: int | None = None) -> None:
        with contextlib.suppress(AlreadyExists):
            self.call(lambda: self.prisma.datasets.create("d", dataset_id="d"))
        documents = self.documents[:count]
        for start in range(0, len(documents), 50):
            self.call(lambda start=start: self.prisma.datasets.get("d").add(documents[start : start + 50]))

    def embed(self) -> None:
        def embedded() -> bool:
            message = self.prisma.datasets.get("d").message
            return message.embedded_count == message.document_count

        while not self.call(embedded):
            self.ended(self.call(lambda: self.prisma.datasets.get("d").embed(wait=False)))

    def train(self) -> None:
        with contextlib.suppress(AlreadyExists):
            self.call(lambda: self.prisma.runs.create("d", run_id="r", config=CONFIG))
        if self.call(lambda: self.prisma.runs.get("r")).message.code_count == 0:
            self.ended(self.call(lambda: self.prisma.runs.get("r").train(wait=False)))

    def change(self) -> None:
        """Replaces, adds and deletes documents, and waits until codes and statistics have followed."""
        replaced = [{**document, "text": f"{document['text']} Replaced."} for document in self.documents[REPLACED]]
        added = list(itertools.islice(sample.documents(), max(COUNTS), max(COUNTS) + ADDED))
        self.call(lambda: self.prisma.datasets.get("d").add(replaced, on_duplicate="replace"))
        self.call(lambda: self.prisma.datasets.get("d").add(added))
        old = 'metadata.age = "old"'
        response = self.call(lambda: self.prisma.datasets.get("d").delete_documents(old, wait=False))
        if response.document_count:
            self.ended(response.job)
        self.embed()
        count = len(self.documents) + ADDED - (OLD.stop - OLD.start)
        deadline = time.monotonic() + STEP_SECONDS
        while self.call(lambda: self.covered_counts()) != (count, 0, count):
            if time.monotonic() > deadline:
                raise Stuck(f"codes and statistics cover {self.covered_counts()}, not {count}")
            time.sleep(0.2)

    def covered_counts(self) -> tuple[int, int, int]:
        """Documents with codes, those without, and those in the statistics."""
        run = self.prisma.runs.get("r")
        return run.message.code_count, run.message.uncoded_count, run.interpretation().row_count

    def job(self, start: Callable[[Any], Job]) -> None:
        self.ended(self.call(lambda: start(self.prisma.runs.get("r"))))

    def index(self) -> None:
        deadline = time.monotonic() + STEP_SECONDS
        status = None
        while time.monotonic() < deadline:
            status = self.call(lambda: self.prisma.datasets.get("d").index_status())
            if status.current and {stream.kind for stream in status.streams} == STREAMS:
                return
            time.sleep(0.2)
        raise Stuck(f"the index is not current: {status}")

    def call(self, call: Callable[[], _Answer]) -> _Answer:
        """Calls until no outage is in the way."""
        deadline = time.monotonic() + STEP_SECONDS
        while True:
            try:
                return call()
            except (AlreadyExists, NotFound):
                raise
            except PrismaError as error:
                if not isinstance(error, Unavailable) and error.reason not in OUTAGES:
                    raise Loud(f"{error.reason}: {error}") from error
                if time.monotonic() > deadline:
                    raise Stuck(f"still unavailable: {error}") from error
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Stuck(f"still no answer: {error}") from error
            time.sleep(0.2)

    def ended(self, job: Job) -> None:
        """Waits for a job's end. Raises Loud with the job's own error."""
        deadline = time.monotonic() + STEP_SECONDS
        while job.state not in END:
            if time.monotonic() > deadline:
                raise Stuck(f"{job.name} did not end: {job}")
            time.sleep(0.2)
            job = self.call(lambda name=job.name: self.prisma.jobs.get(name))
        if job.state != Job.STATE_SUCCEEDED:
            raise Loud(f"{job.kind} is {Job.State.Name(job.state)}: {job.error.message}")

    def jobs_end(self) -> None:
        """Waits until no job runs, such as statistics that follow a change once more."""
        deadline = time.monotonic() + STEP_SECONDS
        while running := [job.name for job in self.call(lambda: list(self.prisma.jobs.list())) if job.state not in END]:
            if time.monotonic() > deadline:
                raise Stuck(f"jobs still run: {running}")
            time.sleep(0.2)

    def snapshot(self) -> dict[str, Any]:
        """Everything that a user can read, without names, times and revisions."""
        data, run = self.call(lambda: self.prisma.datasets.get("d")), self.call(lambda: self.prisma.runs.get("r"))
        documents = self.call(lambda: list(data.documents()))
        keys = {document.row: document.key for document in documents}
        weights = self.installation.folder / "weights"
        self.call(lambda: run.export_weights(weights))
        features = self.call(lambda: list(run.features.list()))
        families = self.call(lambda: list(run.families()))
        return {
            "documents": {
                document.key: [document.text, document.state, sorted(dict(document.metadata).items())]
                for document in documents
            },
            "document count": len(documents),
            "fingerprint": data.message.fingerprint,
            "changes": run.dataset_changes,
            "vectors": self.vectors(keys),
            "weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "codes": self.codes(keys),
            "labels": {str(feature.index): [feature.label.text, feature.active_count] for feature in features},
            "families": {family.name: [family.display_name, family.member_count] for family in families},
            "hits": {f"{mode}: {query}": self.hits(mode, query) for mode in MODES for query in QUERIES},
        }

    def hits(self, mode: str, query: str) -> list[Any]:
        """Keys, scores and shared features of the first hits."""
        response = self.call(lambda: self.prisma.datasets.get("d").search(query, mode=mode, run="r", limit=10))
        return [
            [hit.key, round(hit.score, 5), sorted(feature.index for feature in hit.shared_features)]
            for hit in response.hits
        ]

    def vectors(self, keys: dict[int, str]) -> dict[str, str]:
        """The digest of each document's vector, by key."""
        digests: dict[str, str] = {}
        with data_loss_is_loud(), grpc.insecure_channel(self.installation.processes["embedder"].address) as channel:
            stub = embedder_service_pb2_grpc.EmbedderServiceStub(channel)
            request = embedder_service_pb2.ReadVectorsRequest(dataset="datasets/d")
            for block in stub.ReadVectors(request, wait_for_ready=True, timeout=60):
                size = block.vectors.dimension * 4
                for place, row in enumerate(block.vectors.rows):
                    vector = block.vectors.data[place * size : (place + 1) * size]
                    digests[keys[row]] = hashlib.sha256(vector).hexdigest()
        return digests

    def codes(self, keys: dict[int, str]) -> dict[str, Any]:
        """The active latents and activations of each document, by key."""
        codes: dict[str, Any] = {}
        with data_loss_is_loud(), grpc.insecure_channel(self.installation.processes["trainer"].address) as channel:
            stub = trainer_service_pb2_grpc.TrainerServiceStub(channel)
            request = trainer_service_pb2.ReadCodesRequest(run="runs/r")
            for block in stub.ReadCodes(request, wait_for_ready=True, timeout=60):
                starts = np.frombuffer(block.codes.indptr, "<u4")
                indices = np.frombuffer(block.codes.indices, "<u4")
                values = np.frombuffer(block.codes.values, "<f4")
                for place, row in enumerate(block.codes.rows):
                    part = slice(starts[place], starts[place + 1])
                    codes[keys[row]] = [indices[part].tolist(), values[part].tolist()]
        return codes

    def delete(self) -> None:
        """Deletes the dataset and waits until nothing of it is left."""
        with contextlib.suppress(NotFound):
            self.call(lambda: self.prisma.datasets.get("d").delete())
        deadline = time.monotonic() + 60
        while self.call(lambda: [*self.prisma.datasets.list(), *self.prisma.runs.list()]):
            if time.monotonic() > deadline:
                raise Stuck("a deleted dataset or its run is still there")
            time.sleep(0.2)


@contextmanager
def data_loss_is_loud() -> Generator[None]:
    """What a stream says of a damaged file is what a user reads of it."""
    try:
        yield
    except grpc.RpcError as error:
        if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.DATA_LOSS:
            raise Loud(f"DATA_LOSS: {error.details()}") from error
        raise


class Restore:
    """An older copy of one service's folder is put back."""

    def __init__(self, chance: random.Random) -> None:
        self._service = chance.choice(("embedder", "embedder", "trainer", "interpreter"))
        copied = chance.randrange(1, 5)
        self._copied = STEPS[copied]
        self._restored = STEPS[chance.randrange(copied + 1, STEPS.index("change") + 1)]
        self._copy: Path | None = None

    def __call__(self, work: Work, outcome: Outcome, step: str) -> None:
        if step == "import" and self._service == "embedder":
            work.add(len(work.documents) // 2)
        if step == self._copied:
            self._copy = work.installation.copy_of(self._service, "copy")
            outcome.faults.append(f"copy of {self._service} before {step}")
        if step == self._restored and self._copy is not None:
            work.installation.restore(self._service, self._copy)
            outcome.faults.append(f"{self._service} restored before {step}")
            never_current_beyond_the_owner(work)
            for name, repeat in work.steps():  # the user does again what the older copy lacks
                if name == step:
                    break
                repeat()


def never_current_beyond_the_owner(work: Work) -> None:
    """While the index says that it is current, it must not show documents that the owner doesn't have."""
    for _ in range(10):
        data = work.call(lambda: work.prisma.datasets.get("d"))
        keys = {document.key for document in work.call(lambda data=data: list(data.documents()))}
        if work.call(data.index_status).current:
            for query in QUERIES:
                response = work.call(lambda data=data, query=query: data.search(query, mode="full_text"))
                extra = {hit.key for hit in response.hits} - keys
                assert not extra or not work.call(data.index_status).current, (
                    f"the index is current and shows {extra}, which the owner lacks"
                )
        time.sleep(0.2)


class FullDisk:
    """The disk that holds all data is full for some seconds."""

    def __init__(self, chance: random.Random) -> None:
        self._step = chance.choice(("import", "embed", "train", "statistics", "label", "change", "index"))
        self._seconds = chance.uniform(3, 8)

    def __call__(self, work: Work, outcome: Outcome, step: str) -> None:
        if step != self._step:
            return
        ballast = work.installation.data / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * (1 << 16))
        outcome.faults.append(f"disk full for {self._seconds:.0f} s from {step} on")

        def free_again() -> None:
            time.sleep(self._seconds)
            ballast.unlink()

        threading.Thread(target=free_again).start()


class Damage:
    """A file of a service is cut, changed by one bit, or deleted while the service is stopped."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._service = chance.choice(("embedder", "trainer", "interpreter", "search", "search"))
        first = {"embedder": "train", "trainer": "statistics", "interpreter": "label", "search": "change"}
        self._step = chance.choice(STEPS[STEPS.index(first[self._service]) :])

    def __call__(self, work: Work, outcome: Outcome, step: str) -> None:
        if step != self._step:
            return
        process = work.installation.processes[self._service]
        process.stop()
        path = self._file(work.installation.data / self._service)
        if path is not None:
            way = self._chance.choice(("one bit changed", "cut", "deleted"))
            data = bytearray(path.read_bytes())
            if way == "one bit changed":
                data[self._chance.randrange(len(data))] ^= 1 << self._chance.randrange(8)
                path.write_bytes(data)
            elif way == "cut":
                path.write_bytes(data[: len(data) // 2])
            else:
                path.unlink()
            outcome.faults.append(f"{way}: {path.relative_to(work.installation.data)} before {step}")
        process.start()

    def _file(self, folder: Path) -> Path | None:
        """A blob or index file; a damaged database is SQLite's to report."""
        files = sorted(
            path
            for path in folder.rglob("*")
            if path.is_file() and path.stat().st_size > 64 and ".db" not in path.name and ".lock" not in path.name
        )
        return self._chance.choice(files) if files else None


def no_fault(_work: Work, _outcome: Outcome, _step: str) -> None:
    """What happens before the steps of a schedule whose faults come at any moment."""


class Killer(threading.Thread):
    """Kills and freezes processes at random moments until it is stopped.

    The thread itself lives until `close`: the kernel kills what a thread has started when that thread ends (see
    tests/children.py).
    """

    def __init__(self, installation: Installation, chance: random.Random, outcome: Outcome) -> None:
        super().__init__(daemon=True)
        self._installation = installation
        self._chance = chance
        self._outcome = outcome
        self._stopped = threading.Event()
        self._idle = threading.Event()
        self._closed = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stopped.wait(self._chance.uniform(0.3, 3.0)):
                self._fault()
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits for this one
            self.error = error
        self._idle.set()
        self._closed.wait()

    def stop(self) -> None:
        """Ends the faults; what was started goes on."""
        self._stopped.set()
        self._idle.wait()

    def close(self) -> None:
        self.stop()
        self._closed.set()
        self.join()

    def _fault(self) -> None:
        name = self._chance.choice((*SERVICES, "nats"))
        if name != "nats" and self._chance.random() < 0.4:
            seconds = self._chance.uniform(3.5, 5.0)
            self._outcome.faults.append(f"SIGSTOP {name} {seconds:.1f} s")
            self._installation.freeze(name, seconds)
        else:
            self._outcome.faults.append(f"kill -9 {name}")
            self._installation.kill(name)


@contextmanager
def small_disk(folder: Path) -> Generator[Path]:
    """A file system of 160 MB in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def run_schedule(seed: int, references: dict[int, dict[str, Any]]) -> Outcome:
    """Runs one schedule and judges it."""
    chance = random.Random(seed)
    outcome = Outcome(seed, KINDS[seed % len(KINDS)], chance.choice(COUNTS), "equal")
    start = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"prisma-faults-{seed}-"))
    try:
        with small_disk(folder / "disk") if outcome.kind == "full disk" else contextlib.nullcontext() as disk:
            _run(outcome, chance, references[outcome.count], folder, disk)
    except Loud as error:
        outcome.result, outcome.detail = "loud", str(error)
    except Stuck as error:
        outcome.result, outcome.detail = "stuck", str(error)[:2000]
    except AssertionError as error:
        outcome.result, outcome.detail = "silent", str(error)[:2000]
    except Exception:  # noqa: BLE001 - whatever a schedule raises is its outcome
        outcome.result, outcome.detail = "broken", traceback.format_exc()[-2000:]
    outcome.seconds = round(time.monotonic() - start, 1)
    if outcome.result == "equal":
        shutil.rmtree(folder, ignore_errors=True)
    else:
        outcome.detail += f" [{folder}]"
    return outcome


def _run(outcome: Outcome, chance: random.Random, expected: dict[str, Any], folder: Path, disk: Path | None) -> None:
    documents = _documents(outcome.count)
    with Installation(folder, disk) as installation, Prisma(installation.url, seconds=30) as prisma:
        work = Work(prisma, installation, documents)
        faults = {"restore": Restore, "full disk": FullDisk, "damage": Damage}
        fault = faults[outcome.kind](chance) if outcome.kind in faults else no_fault
        killer = Killer(installation, chance, outcome) if outcome.kind == "kills" else None
        if killer is None:
            _work(work, outcome, fault, expected, killer)
            return
        killer.start()
        try:
            _work(work, outcome, fault, expected, killer)
        finally:
            killer.close()


def _work(
    work: Work,
    outcome: Outcome,
    fault: Callable[[Work, Outcome, str], None],
    expected: dict[str, Any],
    killer: Killer | None,
) -> None:
    for name, step in work.steps():
        fault(work, outcome, name)
        step()
    if killer is not None:
        killer.stop()
        if killer.error is not None:
            raise killer.error
    fault(work, outcome, "end")
    work.index()
    difference = differences(expected, work.snapshot())
    assert not difference, f"differs from the undisturbed installation: {difference}"
    work.jobs_end()
    work.delete()
    extra = extra_processes(work.installation)
    assert not extra, f"processes are left: {extra}"


def extra_processes(installation: Installation) -> list[str]:
    """Command lines of processes on this installation's data that are none of its services."""
    commands: list[str] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PRISMA_DATA_DIR") == str(installation.data):
                commands.append(" ".join(process.cmdline()))
    return [command for command in commands if not re.search(r"-m (gateway|services\.\w+)$", command)]


def differences(expected: dict[str, Any], snapshot: dict[str, Any]) -> str:
    """What differs, in short; empty when nothing does."""
    parts: list[str] = []
    for name, before in expected.items():
        after = snapshot[name]
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            missing, extra = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
            changed = [key for key in before.keys() & after.keys() if before[key] != after[key]]
            first = f", such as {before[changed[0]]} -> {after[changed[0]]}"[:300] if changed else ""
            parts.append(f"{name}: {len(missing)} missing, {len(extra)} extra, {len(changed)} changed{first}")
        else:
            parts.append(f"{name}: {str(before)[:100]} -> {str(after)[:100]}")
    return "; ".join(parts)


def reference(count: int) -> dict[str, Any]:
    """What an undisturbed installation shows of `count` texts."""
    folder = Path(tempfile.mkdtemp(prefix="prisma-faults-reference-"))
    documents = _documents(count)
    with Installation(folder) as installation, Prisma(installation.url) as prisma:
        work = Work(prisma, installation, documents)
        for _name, step in work.steps():
            step()
        snapshot = work.snapshot()
    shutil.rmtree(folder, ignore_errors=True)
    return snapshot


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.system.faults", description=__doc__)
    parser.add_argument("--seeds", default="0-59", help="first and last seed, such as 0-59")
    parser.add_argument("--json", type=Path, required=True, help="where the outcomes go")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    references = {count: reference(count) for count in COUNTS}
    outcomes: list[Outcome] = []
    for seed in range(int(first), int(last or first) + 1):
        outcome = run_schedule(seed, references)
        outcomes.append(outcome)
        options.json.write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")
        figures = f"{len(outcome.faults):>3} faults {outcome.seconds:>6.1f} s"
        print(f"{seed:>3} {outcome.kind:<10} {outcome.result:<7} {figures}  {outcome.detail[:200]}", flush=True)
    results = ("equal", "loud", "silent", "stuck", "broken")
    counts = ", ".join(f"{sum(outcome.result == result for outcome in outcomes)} {result}" for result in results)
    print(f"{len(outcomes)} schedules, {sum(len(outcome.faults) for outcome in outcomes)} faults: {counts}")
    sys.exit(any(outcome.result in ("silent", "stuck", "broken") for outcome in outcomes))


if __name__ == "__main__":
    main()
