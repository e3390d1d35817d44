"""Starts the search service: `python -P -m services.search`."""

from __future__ import annotations

from prisma.search.v1 import search_service_pb2_grpc
from services.chassis.dependency import Dependency
from services.chassis.events import Follower
from services.chassis.server import Chassis, Parts, Servicer, run_service
from services.chassis.threads import in_thread
from services.search import convert
from services.search.catalog import Catalog
from services.search.embedded import EmbeddedIndex
from services.search.index import Index
from services.search.indexing import Indexing
from services.search.opensearch import OpenSearchIndex
from services.search.searching import Searching
from services.search.servicer import SearchServicer
from services.search.settings import SearchSettings
from services.search.upstream import Upstream
from services.search.worker import SERVICE, SearchJobs


def main() -> None:
    """Runs until SIGTERM."""
    settings = SearchSettings()

    async def build(chassis: Chassis) -> Parts:
        data = settings.data_of(SERVICE)
        index = await in_thread(open_index, settings)
        catalog = await in_thread(Catalog, data / "catalog.json")
        upstream = Upstream(settings)
        indexing = Indexing(index, upstream, catalog, convert.streamed)
        searching = Searching(index, upstream, catalog)
        jobs = SearchJobs(indexing, upstream, catalog, settings.ack_wait_seconds)
        follower = Follower(chassis.events, [">"], indexing.catch_up, every=settings.catch_up_seconds)

        async def check() -> dict[str, str]:
            return {"index": await in_thread(index.check)}

        async def close() -> None:
            await upstream.close()
            await in_thread(index.close)

        return Parts(
            servicers=[
                Servicer(
                    search_service_pb2_grpc.add_SearchServiceServicer_to_server,
                    SearchServicer(index, searching, indexing, upstream, chassis.jobs),
                    "prisma.search.v1.SearchService",
                )
            ],
            kinds=jobs.kinds(),
            tasks=[follower.run],
            dependencies=[Dependency("index", index.name, check)],
            close=[close],
        )

    run_service(SERVICE, settings, settings.search_listen, build)


def open_index(settings: SearchSettings) -> Index:
    """The back end that the settings choose."""
    if settings.opensearch_url is not None:
        return OpenSearchIndex(
            settings.opensearch_url.get_secret_value(),
            prefix=settings.opensearch_prefix,
            seconds=settings.opensearch_seconds,
            authority=settings.opensearch_authority,
        )
    return EmbeddedIndex(settings.data_of(SERVICE) / "index")


if __name__ == "__main__":
    main()
