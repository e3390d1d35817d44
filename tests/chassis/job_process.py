"""A worker process that tests kill: counts to `total`, one step a line in a file, as a job does that commits steps."""

import asyncio
import sys
from pathlib import Path

from google.protobuf.wrappers_pb2 import StringValue

from services.chassis.job_context import JobContext
from services.chassis.job_sweeper import Sweeper
from services.chassis.job_worker import JobKind, Worker
from services.chassis.jobs import Jobs
from services.chassis.nats import connect


def kind(folder: Path, who: str, ack_wait: float, total: int = 20, pause: float = 0.1) -> JobKind:
    """Each step proves the lease, then writes `<step> <who>`; steps written before are not written again."""

    async def count(request: StringValue, context: JobContext) -> None:
        steps = folder / request.value
        done = len(steps.read_text().splitlines()) if steps.exists() else 0
        for step in range(done, total):
            await asyncio.sleep(pause)
            await context.prove()
            with steps.open("a") as file:
                file.write(f"{step} {who}\n")
            await context.checkpoint()
            await context.progress(step + 1, total, "steps")

    return JobKind("test", "count", StringValue, count, ack_wait=ack_wait)


async def main(url: str, folder: Path, who: str, ack_wait: float) -> None:
    link = await connect(url)
    jobs = Jobs(link)
    worker = Worker(link, jobs, [kind(folder, who, ack_wait)])
    (folder / f"ready-{who}").touch()
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        group.create_task(Sweeper(link, jobs, "test", every=1.0, grace=1.0).run())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])))
