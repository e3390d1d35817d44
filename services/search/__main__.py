"""Starts the search service: `python -P -m services.search`."""

from __future__ import annotations

import asyncio
from functools import partial

from prisma.search.v1.search_service_pb2_grpc import add_SearchServiceServicer_to_server
from services.chassis.dependency import Dependency
from services.chassis.events import Follower
from services.chassis.server import Chassis, Parts, Servicer, run_service
from services.chassis.threads import in_thread
from services.search.backend import Index
from services.search.embedded import EmbeddedIndex
from services.search.follower import IndexFollower
from services.search.opensearch import Access, Layout, OpenSearchIndex
from services.search.owners import Catalog
from services.search.search import Search
from services.search.servicer import SearchServicer
from services.search.settings import SearchSettings
from services.search.upstream import Upstream
from services.search.worker import SERVICE, SearchJobs


def main() -> None:
    """Runs until SIGTERM."""
    settings = SearchSettings()
    run_service(SERVICE, settings, settings.search_listen, partial(_build, settings))


async def _build(settings: SearchSettings, chassis: Chassis) -> Parts:
    index = await in_thread(open_index, settings)
    catalog = await in_thread(Catalog, settings.data_of(SERVICE) / "catalog.json")
    upstream = Upstream(settings)
    follower = IndexFollower(index, upstream, catalog, beat_seconds=settings.ack_wait_seconds / 10)
    jobs = SearchJobs(jobs=chassis.jobs, follower=follower, upstream=upstream, ack_wait=settings.ack_wait_seconds)
    search = Search(index=index, owners=upstream, catalog=catalog, repair=follower.repair, errors=follower.errors)
    servicer = SearchServicer(index=index, search=search, jobs=jobs)
    hints = Follower(chassis.events, [">"], follower.catch_up, every=settings.catch_up_seconds)

    async def scrub() -> None:
        while True:
            await asyncio.sleep(settings.scrub_seconds)
            await follower.scrub()

    async def check() -> dict[str, str]:
        return {"index": await in_thread(index.check)}

    async def close() -> None:
        await upstream.close()
        await in_thread(index.close)

    return Parts(
        servicers=[Servicer(add_SearchServiceServicer_to_server, servicer, "prisma.search.v1.SearchService")],
        kinds=jobs.kinds(),
        tasks=[hints.run, follower.repair_damage, scrub],
        dependencies=[Dependency("index", index.name, check)],
        close=[close],
    )


def open_index(settings: SearchSettings) -> Index:
    """The back end that the settings select."""
    if settings.opensearch_url is not None:
        key = settings.opensearch_api_key
        access = Access(
            urls=[url.strip() for url in settings.opensearch_url.get_secret_value().split(",")],
            user=settings.opensearch_user,
            password=settings.opensearch_password.get_secret_value(),
            api_key=key.get_secret_value() if key else None,
            authority=settings.opensearch_authority,
            certificate=settings.opensearch_certificate,
            key=settings.opensearch_key,
            seconds=settings.opensearch_seconds,
        )
        return OpenSearchIndex(
            access,
            prefix=settings.opensearch_prefix,
            layout=Layout(settings.opensearch_shards, settings.opensearch_replicas),
            lease_seconds=settings.ack_wait_seconds,
        )
    return EmbeddedIndex(settings.data_of(SERVICE) / "index")


if __name__ == "__main__":
    main()
