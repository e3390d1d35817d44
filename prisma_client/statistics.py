"""Statistics of a dataset, as notebooks, tables and terminals show them."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prisma.embedder.v1.statistics_pb2 import DatasetMap, DatasetStatistics, Distribution, DuplicateStatistics
from prisma_client.tables import html_facts, to_pandas, to_polars
from prisma_common.label_texts import clean_line

SHOWN_LANGUAGES = 10
"""Languages that a summary names."""
_MAP_PIXELS, _SHOWN_POINTS = 400, 3000
"""Of a map in a notebook: its longer side, and its dots at most."""
_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee7733", "#009988")
"""Of categories (Paul Tol's bright scheme, with two of his vibrant one), readable on light and dark."""
_OTHER_COLOR = "#888888"
_LOW, _HIGH = (68, 119, 170), (221, 170, 51)
"""Colours of the smallest number and of the largest, as red, green and blue."""
_STEPS = 8
"""Colours of numbers."""
_BAR = "▏▎▍▌▋▊▉█"
_BAR_CHARACTERS = 32


class Statistics:
    """Statistics of a dataset, with the message's attributes: `document_count`, `texts`, `languages`, `vectors` …

    message: the answer itself. A notebook shows a summary.
    """

    def __init__(self, message: DatasetStatistics) -> None:
        self.message = message

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "message":  # a copy has no message before it has its attributes
            raise AttributeError(name)
        return getattr(self.message, name)

    def __repr__(self) -> str:
        return f"<{self.message.name}: {self.message.document_count} documents{', stale' * self.message.stale}>"

    def __str__(self) -> str:
        return "\n".join(text_lines(self.message))

    def _repr_html_(self) -> str:
        message = self.message
        charts = [("characters of a text", message.texts.characters), ("words of a text", message.texts.words)]
        if message.HasField("vectors") and not message.vectors.normalized:
            charts.append(("norms of vectors", message.vectors.norms))
        drawn = "".join(_html_histogram(title, distribution) for title, distribution in charts if distribution.counts)
        return html_facts(message.name.removeprefix("datasets/"), dict(facts(message))) + drawn

    def to_pandas(self) -> Any:
        """Returns a pandas.DataFrame with a row for each bin of each histogram, and for each language.

        Columns: `statistic` (`characters`, `words`, `norm`, `language`), `value` (the code of a language), `from`, `to`
        (of a bin), `count`. Raises MissingLibrary.
        """
        return to_pandas(_table(self.message))

    def to_polars(self) -> Any:
        """Returns the same as `to_pandas`, as a polars.DataFrame. Raises MissingLibrary."""
        return to_polars(_table(self.message))


class VectorMap:
    """A map of a dataset, with the message's attributes: `rows`, `x`, `y`, `stale` …

    message: the answer itself. A notebook shows the map.
    """

    def __init__(self, message: DatasetMap) -> None:
        self.message = message

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "message":  # a copy has no message before it has its attributes
            raise AttributeError(name)
        return getattr(self.message, name)

    def __len__(self) -> int:
        return len(self.message.rows)

    def __repr__(self) -> str:
        return f"<{self.message.name}: {len(self):,} of {self.message.vector_count:,} vectors>"

    def _repr_html_(self) -> str:
        return _html_points(self.message) + f"<p>{html.escape(repr(self))}{_drawn_part(self.message)}</p>"

    def to_pandas(self) -> Any:
        """Returns a pandas.DataFrame of `row`, `x`, `y` and the field of `color`, as `metadata.x` where it has one of
        these names. Raises MissingLibrary.
        """
        return to_pandas(_points(self.message))

    def to_polars(self) -> Any:
        """Returns the same as `to_pandas`, as a polars.DataFrame. Raises MissingLibrary."""
        return to_polars(_points(self.message))


def facts(message: DatasetStatistics) -> Iterator[tuple[str, str]]:
    """What statistics say, as names and sentences."""
    yield (
        "documents",
        f"{message.document_count:,}{' (stale: the dataset or the method has changed since)' * message.stale}",
    )
    if message.texts.empty_count:
        yield "without a text", f"{message.texts.empty_count:,}"
    if message.texts.truncated_count:
        yield "read in part by the model", f"{message.texts.truncated_count:,}"
    yield "characters", _quantiles(message.texts.characters)
    yield "words", _quantiles(message.texts.words)
    yield "languages", _languages(message)
    yield "exact duplicates", _duplicates(message.exact_duplicates, "documents")
    yield "near-duplicates", _duplicates(message.near_duplicates, "documents")
    if message.HasField("vectors"):
        yield from _vector_facts(message)


def text_lines(message: DatasetStatistics) -> list[str]:
    """A summary with histograms, as lines of text."""
    lines = [f"{name}: {sentence}" for name, sentence in facts(message)]
    if len(message.texts.characters.counts) > 1:
        lines += ["", "characters:", *_text_histogram(message.texts.characters)]
    if len(message.vectors.norms.counts) > 1 and not message.vectors.normalized:
        lines += ["", "norms:", *_text_histogram(message.vectors.norms)]
    if message.languages.languages:
        lines += ["", "languages:"]
        most = message.languages.languages[0].document_count
        for language in message.languages.languages[:SHOWN_LANGUAGES]:
            count = language.document_count
            lines.append(f"  {language.code:>12} {_bar(count / most)} {count:,}")
    for title, duplicates in (("exact", message.exact_duplicates), ("near", message.near_duplicates)):
        for number, group in enumerate(duplicates.largest_groups[:3]):
            lines += ["", f"largest groups of {title} duplicates:"] if not number else []
            names = list(group.keys) or [name.rpartition("/")[2] for name in group.documents]
            named = ", ".join(clean_line(name)[:80] for name in names[:3])
            more = " …" * (group.document_count > 3)
            lines.append(f"  {group.document_count:,} times ({named}{more}): {clean_line(group.text)[:80]}")
    return lines


def rank_sentence(message: DatasetStatistics) -> str:
    """What the effective rank says, in a sentence."""
    vectors = message.vectors
    of = "" if vectors.spectrum_count == vectors.vector_count else f", of a sample of {vectors.spectrum_count:,}"
    sentence = f"{vectors.dimension:,} numbers, effective rank {vectors.effective_rank:,.0f}{of}"
    direction_count = sum(share < 0.9 for share in vectors.cumulative_variance) + 1
    if direction_count <= len(vectors.cumulative_variance):
        sentence += f"; {direction_count:,} directions hold 90 % of the variance"
    return sentence


def _vector_facts(message: DatasetStatistics) -> Iterator[tuple[str, str]]:
    vectors = message.vectors
    norms = vectors.norms
    yield "vectors", f"{vectors.vector_count:,}; {rank_sentence(message)}"
    spread = "all 1" if vectors.normalized else f"{norms.min:.3g} to {norms.max:.3g}, median {norms.median:.3g}"
    yield "norms", spread
    yield "mean cosine of two vectors", f"{vectors.mean_cosine:.3f}"
    yield "equal vectors", _duplicates(vectors.duplicates, "vectors")


def _quantiles(distribution: Distribution) -> str:
    return (
        f"{distribution.min:,.0f} to {distribution.max:,.0f}, median {distribution.median:,.0f}, "
        f"90 % up to {distribution.p90:,.0f}, 99 % up to {distribution.p99:,.0f}"
    )


def _languages(message: DatasetStatistics) -> str:
    languages = message.languages
    if languages.unavailable_reason:
        return languages.unavailable_reason
    named = [
        f"{language.code} {_percent(language.document_count, languages.sampled_count)}"
        for language in languages.languages[:SHOWN_LANGUAGES]
    ]
    further = len(languages.languages) - len(named)
    named += [f"{further} more"] if further else []
    if languages.undetermined_count:
        named.append(f"undetermined {_percent(languages.undetermined_count, languages.sampled_count)}")
    sample = languages.sampled_count < message.document_count
    return ", ".join(named) + (f" (of a sample of {languages.sampled_count:,})" if sample else "")


def _duplicates(duplicates: DuplicateStatistics, noun: str) -> str:
    count = f"{duplicates.excess_count:,} {noun} in excess, in {duplicates.group_count:,} groups"
    return count if duplicates.group_count else f"none among {duplicates.compared_count:,} {noun}"


def _percent(count: int, total: int) -> str:
    if count and 1000 * count < total:
        return "< 0.1 %"
    return f"{100 * count / total:.1f} %" if total else "0 %"


def _text_histogram(distribution: Distribution) -> list[str]:
    most = max(distribution.counts)
    precise = distribution.edges[-1] - distribution.edges[0] < 10
    labels = [f"{edge:.3f}" if precise else f"{edge:,.0f}" for edge in distribution.edges[:-1]]
    edges = distribution.edges
    if len(labels) > 1 and edges[-1] - edges[-2] > 1.001 * (edges[1] - edges[0]):  # the last bin holds the long rest
        labels[-1] = f"≥ {labels[-1]}"
    return [
        f"  {label:>12} {_bar(count / most)} {count:,}"
        for label, count in zip(labels, distribution.counts, strict=True)
    ]


def _bar(share: float) -> str:
    """A bar of a share of its full length, in eighths of a character."""
    eighths = round(share * _BAR_CHARACTERS * 8)
    if share and not eighths:
        eighths = 1
    bar = "█" * (eighths // 8) + (_BAR[eighths % 8 - 1] if eighths % 8 else "")
    return bar.ljust(_BAR_CHARACTERS)


def _html_histogram(title: str, distribution: Distribution) -> str:
    """A histogram as an SVG image in the colour of the notebook's text."""
    most, width = max(distribution.counts), 360 / len(distribution.counts)
    bars = "".join(
        f"<rect x='{place * width:.1f}' y='{60 - 60 * count / most:.1f}' width='{max(1, width - 1):.1f}' "
        f"height='{60 * count / most:.1f}' fill='currentColor' fill-opacity='.6'><title>"
        f"{distribution.edges[place]:,.4g} – {distribution.edges[place + 1]:,.4g}: {count:,}</title></rect>"
        for place, count in enumerate(distribution.counts)
    )
    label = f"{html.escape(title)}: {distribution.min:,.4g} to {distribution.max:,.4g}"
    return (
        f"<figure style='display:inline-block;margin:.5em 1em .5em 0'><svg width='360' height='60' role='img' "
        f"aria-label='{label}'>{bars}</svg><figcaption>{label}</figcaption></figure>"
    )


def _points(message: DatasetMap) -> Mapping[str, list[Any]]:
    columns: dict[str, list[Any]] = {"row": list(message.rows), "x": list(message.x), "y": list(message.y)}
    colors = message.colors
    name = f"metadata.{colors.field}" if colors.field in columns else colors.field
    if colors.numbers:
        columns[name] = [None if math.isnan(number) else number for number in colors.numbers]
    elif colors.category:
        columns[name] = [colors.categories[place - 1] if place else None for place in colors.category]
    return columns


def _html_points(message: DatasetMap) -> str:
    """Some of the points as an SVG image, evenly taken, with a legend of their colours."""
    if not message.rows:
        return ""
    left, right, bottom, top = min(message.x), max(message.x), min(message.y), max(message.y)
    scale = _MAP_PIXELS / (max(right - left, top - bottom) or 1)
    colors, legend = _dot_colors(message)
    step = _drawn_step(message)
    dots = "".join(
        f"<circle cx='{(x - left) * scale:.1f}' cy='{(top - y) * scale:.1f}' r='1.5' fill='{color}'/>"
        for x, y, color in zip(message.x[::step], message.y[::step], colors[::step], strict=True)
    )
    width, height = (right - left) * scale + 4, (top - bottom) * scale + 4
    return (
        f"<svg width='{width:.0f}' height='{height:.0f}' viewBox='-2 -2 {width:.0f} {height:.0f}' "
        f"fill-opacity='.6' role='img' aria-label='map of {len(message.x[::step]):,} vectors'>{dots}</svg>{legend}"
    )


def _drawn_step(message: DatasetMap) -> int:
    """Of so many points, each first one is drawn."""
    return max(1, math.ceil(len(message.rows) / _SHOWN_POINTS))


def _drawn_part(message: DatasetMap) -> str:
    step = _drawn_step(message)
    return f", of which {len(message.rows[::step]):,} are drawn" if step > 1 else ""


def _dot_colors(message: DatasetMap) -> tuple[list[str], str]:
    """The colour of each point, and a legend as HTML."""
    colors = message.colors
    if colors.category:
        palette = ["currentColor", *_COLORS[: len(colors.categories)]]
        palette += [_OTHER_COLOR] * (1 + len(colors.categories) - len(palette))
        entries = [*zip(palette[1:], colors.categories, strict=True)]
        entries += [(palette[0], "no value")] if 0 in colors.category else []
        return [palette[place] for place in colors.category], _html_legend(colors.field, entries)
    finite = [number for number in colors.numbers if math.isfinite(number)]
    if not finite:
        return ["currentColor"] * len(message.rows), ""
    low, high = min(finite), max(finite)
    width = (high / 2 - low / 2) or 1  # halves: the difference of two doubles may be none
    palette = [_mixed_color(step / (_STEPS - 1)) for step in range(_STEPS)]
    shares = [(number / 2 - low / 2) / width if math.isfinite(number) else None for number in colors.numbers]
    drawn = ["currentColor" if share is None else palette[round(share * (_STEPS - 1))] for share in shares]
    entries = [(palette[0], f"{low:,.4g}"), (palette[-1], f"{high:,.4g}")]
    return drawn, _html_legend(colors.field, entries)


def _mixed_color(share: float) -> str:
    """A colour between those of the smallest number and of the largest."""
    parts = (round(low + share * (high - low)) for low, high in zip(_LOW, _HIGH, strict=True))
    return f"#{''.join(f'{part:02x}' for part in parts)}"


def _html_legend(field: str, entries: Iterable[tuple[str, str]]) -> str:
    items = "".join(
        f"<span style='margin-right:1em'><span style='color:{color}'>●</span> {html.escape(name)}</span>"
        for color, name in entries
    )
    return f"<p>{html.escape(field)}: {items}</p>"


def _table(message: DatasetStatistics) -> Mapping[str, list[Any]]:
    rows: list[tuple[str, str | None, float | None, float | None, int]] = []
    named = {"characters": message.texts.characters, "words": message.texts.words, "norm": message.vectors.norms}
    for name, distribution in named.items():
        for place, count in enumerate(distribution.counts):
            rows.append((name, None, distribution.edges[place], distribution.edges[place + 1], count))
    for language in message.languages.languages:
        rows.append(("language", language.code, None, None, language.document_count))
    columns = ("statistic", "value", "from", "to", "count")
    return {name: [row[place] for row in rows] for place, name in enumerate(columns)}
