"""Statistics of datasets as protobuf messages."""

from __future__ import annotations

from collections.abc import Mapping

from prisma.embedder.v1 import statistics_pb2 as pb2
from services.chassis.moments import stamp
from services.embedder import messages
from services.embedder.documents import Dataset
from services.embedder.statistics.distributions import Distribution
from services.embedder.statistics.duplicates import DuplicateStatistics
from services.embedder.statistics.languages import NOT_INSTALLED, LanguageStatistics
from services.embedder.statistics.maps import Map
from services.embedder.statistics.methods import MapMethod, map_method_of, statistics_method, versioned
from services.embedder.statistics.texts import TextStatistics
from services.embedder.statistics.vectors import VectorStatistics
from services.embedder.statistics_records import ComputedStatistics, Excerpts, StoredStatistics

_METHODS: Mapping[MapMethod, pb2.DatasetMap.Method] = {
    MapMethod.PCA: pb2.DatasetMap.METHOD_PCA,
    MapMethod.UMAP: pb2.DatasetMap.METHOD_UMAP,
}


def statistics(dataset: Dataset, stored: StoredStatistics) -> pb2.DatasetStatistics:
    """Stored statistics of a dataset, and whether they are stale."""
    message = pb2.DatasetStatistics.FromString(stored.content)
    message.name = f"{dataset.name}/statistics"
    message.compute_time.CopyFrom(stamp(stored.compute_time))
    message.revision = stored.revision
    message.fingerprint = stored.fingerprint
    message.stale = not stored.cover(dataset, statistics_method())
    return message


def content(computed: ComputedStatistics, dataset: Dataset) -> bytes:
    """Statistics as they are stored."""
    texts = computed.texts
    message = pb2.DatasetStatistics(
        document_count=texts.count,
        texts=_texts(texts),
        languages=_languages(texts.languages),
        exact_duplicates=_duplicates(texts.equal, dataset, computed.text_excerpts),
        near_duplicates=_duplicates(texts.near, dataset, computed.text_excerpts),
    )
    if computed.vectors is not None:
        message.vectors.CopyFrom(_vectors(computed.vectors, dataset, computed.vector_excerpts))
    return message.SerializeToString()


def dataset_map(dataset: Dataset, stored: StoredStatistics) -> pb2.DatasetMap:
    """A map of a dataset, and whether it is stale."""
    method = map_method_of(stored.method)
    message = pb2.DatasetMap.FromString(stored.content)
    message.name = f"{dataset.name}/map"
    message.method = _METHODS[method]
    message.compute_time.CopyFrom(stamp(stored.compute_time))
    message.revision = stored.revision
    message.fingerprint = stored.fingerprint
    message.stale = not stored.cover(dataset, versioned(method))
    return message


def map_content(value: Map) -> bytes:
    """A map as it is stored."""
    return pb2.DatasetMap(
        rows=value.rows.tolist(),
        x=value.points[:, 0].tolist(),
        y=value.points[:, 1].tolist(),
        vector_count=value.vector_count,
        explained_variance=value.explained,
    ).SerializeToString()


def _texts(value: TextStatistics) -> pb2.TextStatistics:
    return pb2.TextStatistics(
        empty_count=value.empty,
        truncated_count=value.truncated,
        characters=_distribution(value.characters),
        words=_distribution(value.words),
    )


def _distribution(value: Distribution) -> pb2.Distribution:
    return pb2.Distribution(
        min=value.minimum,
        median=value.median,
        p90=value.p90,
        p99=value.p99,
        max=value.maximum,
        mean=value.mean,
        edges=value.edges,
        counts=value.counts,
    )


def _languages(value: LanguageStatistics) -> pb2.LanguageStatistics:
    return pb2.LanguageStatistics(
        method=value.method,
        unavailable_reason="" if value.method else NOT_INSTALLED,
        sampled_count=value.sampled,
        undetermined_count=value.undetermined,
        languages=[pb2.LanguageStatistics.Language(code=code, document_count=count) for code, count in value.counts],
    )


def _duplicates(value: DuplicateStatistics, dataset: Dataset, excerpts: Excerpts) -> pb2.DuplicateStatistics:
    """Groups of duplicates. Documents that were deleted meanwhile are not named."""
    groups: list[pb2.DuplicateStatistics.Group] = []
    for group in value.largest:
        named = [excerpts[row] for row in group.rows if row in excerpts]
        groups.append(
            pb2.DuplicateStatistics.Group(
                document_count=group.size,
                documents=[f"{dataset.name}/documents/{excerpt.name_id}" for excerpt in named],
                keys=[excerpt.key for excerpt in named],
                text=named[0].text if named else "",
            )
        )
    return pb2.DuplicateStatistics(
        compared_count=value.compared, group_count=value.groups, excess_count=value.excess, largest_groups=groups
    )


def _vectors(value: VectorStatistics, dataset: Dataset, excerpts: Excerpts) -> pb2.VectorStatistics:
    return pb2.VectorStatistics(
        vector_count=value.count,
        dimension=dataset.dimension,
        encoding=messages.encoding(dataset),
        norms=_distribution(value.norms),
        normalized=value.is_normalized,
        mean_vector_norm=value.mean_vector_norm,
        mean_cosine=value.mean_cosine,
        effective_rank=value.effective_rank,
        spectrum_count=value.spectrum_count,
        cumulative_variance=value.cumulative_variance,
        duplicates=_duplicates(value.equal, dataset, excerpts),
    )
