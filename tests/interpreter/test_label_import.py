"""Labels of files: what is read of them, which become labels, and that nothing else changes."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import grpc.aio
import pandas as pd
import pytest

from prisma.common.v1.job_pb2 import Job
from prisma.common.v1.table_pb2 import (
    TABLE_FORMAT_ARROW,
    TABLE_FORMAT_CSV,
    TABLE_FORMAT_JSON_LINES,
    TABLE_FORMAT_PARQUET,
)
from prisma.interpreter.v1 import interpreter_service_pb2 as pb2
from prisma.interpreter.v1 import resources_pb2
from services.chassis.table_files import without_formula
from services.interpreter.errors import FileTooLarge, InvalidFile
from services.interpreter.label_files import MAX_BYTES, LabelRow, Reason, RowRejected, label_rows
from services.interpreter.label_import import (
    ImportReport,
    ImportRequest,
    LabelImports,
    OnDuplicate,
    accepted_rows,
    changes,
)
from services.interpreter.labels import Draft, Label, Source
from tests.calls import reason
from tests.interpreter.conftest import RUN, Suite
from tests.interpreter.test_service import interpretation_of, labelled, with_statistics

PROTO = resources_pb2.Label
PLAIN = {"index": 3, "label": "late delivery", "description": "parcels that come late, or never"}
EIGHT: Any = SimpleNamespace(count=8)


def rows_of(data: bytes | str) -> list[LabelRow | RowRejected]:
    return [row for _place, row in label_rows(data.encode() if isinstance(data, str) else data)]


def only_row(data: bytes | str) -> LabelRow:
    (row,) = rows_of(data)
    assert isinstance(row, LabelRow), row
    return row


def reasons_of(data: str) -> list[Reason]:
    return [row.reason for row in rows_of(data) if isinstance(row, RowRejected)]


FRAME = pd.DataFrame([PLAIN])
TABLE = FRAME.to_csv(index=False)
LABELS_FILES = {
    "CSV of pandas": TABLE.encode(),
    "with a byte order mark": TABLE.encode("utf-8-sig"),
    "with semicolons": FRAME.to_csv(index=False, sep=";").encode(),
    "with tabs in UTF-16": FRAME.to_csv(index=False, sep="\t").encode("utf-16"),
    "of Excel": b"sep=;\r\n" + FRAME.to_csv(index=False, sep=";", lineterminator="\r\n").encode(),
    "JSON lines": (FRAME.to_json(orient="records", lines=True) or "").encode(),
    "JSON array": (FRAME.to_json(orient="records") or "").encode(),
    "other names": FRAME.rename(columns={"index": "Latent", "label": "text"}).to_csv(index=False).encode(),
    "an index of floats": FRAME.astype({"index": float}).to_csv(index=False).encode(),
    "of the API": json.dumps(
        {
            "name": "runs/r/features/3",
            "index": 3,
            "label": {"text": PLAIN["label"], "description": PLAIN["description"]},
        }
    ).encode(),
}


@pytest.mark.parametrize("name", LABELS_FILES)
def test_a_table_is_read_as_it_is(name: str) -> None:
    row = only_row(LABELS_FILES[name])
    assert (row.index, row.text, row.description) == (3, PLAIN["label"], PLAIN["description"])
    assert (row.source, row.model, row.author, row.is_active, row.weights) == (Source.HUMAN, None, None, True, None)


def test_labels_keep_their_characters() -> None:
    text = 'smørrebrød, "東京"; 👩‍🔬'
    assert only_row(pd.DataFrame({"index": [0], "label": [text]}).to_csv(index=False)).text == text
    assert only_row("index;label\n0;Müller".encode("windows-1252")).text == "Müller"
    assert only_row("index,label\n0,'-ing' verbs").text == "'-ing' verbs"
    assert only_row(json.dumps({"index": 0, "label": "'=SUM(A1)"})).text == "'=SUM(A1)"
    assert only_row('{"index": 0, "label": 1984}').text == "1984"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (Source.HUMAN, None)),
        ({"source": "human", "author": "ada"}, (Source.HUMAN, None)),
        ({"source": "SOURCE_HUMAN"}, (Source.HUMAN, None)),
        ({"model": "ollama/llama3.1:8b"}, (Source.MODEL, "ollama/llama3.1:8b")),
        ({"source": "model", "model": "m"}, (Source.MODEL, "m")),
        ({"label_source": "KEYWORDS", "label_model": "keywords"}, (Source.KEYWORDS, "keywords")),
    ],
)
def test_who_wrote_a_label_is_kept(values: Mapping[str, str], expected: tuple[Source, str | None]) -> None:
    row = only_row(json.dumps({**PLAIN, **values}))
    assert (row.source, row.model, row.author) == (*expected, values.get("author"))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("[]", Reason.INVALID_ROW),
        ("{", Reason.INVALID_ROW),
        ('{"a":' * 5000, Reason.INVALID_ROW),
        ('{"index": 1, "label": "' + "x" * 70_000 + '"}', Reason.INVALID_ROW),
        ('{"label": "x"}', Reason.INVALID_INDEX),
        ('{"index": -1, "label": "x"}', Reason.INVALID_INDEX),
        ('{"index": 1.5, "label": "x"}', Reason.INVALID_INDEX),
        ('{"index": true, "label": "x"}', Reason.INVALID_INDEX),
        ('{"index": "१", "label": "x"}', Reason.INVALID_INDEX),
        ('{"index": 12345678901, "label": "x"}', Reason.INVALID_INDEX),
        ('{"index": 1, "label": ["x"]}', Reason.INVALID_LABEL),
        ('{"index": 1, "label": "' + "x" * 201 + '"}', Reason.INVALID_LABEL),
        ('{"index": 1, "label": "x", "description": {}}', Reason.INVALID_DESCRIPTION),
        ('{"index": 1, "label": "x", "description": "' + "y" * 2001 + '"}', Reason.INVALID_DESCRIPTION),
        ('{"index": 1, "label": "x", "source": "god"}', Reason.INVALID_SOURCE),
        ('{"index": 1, "label": "x", "source": "human", "model": "m"}', Reason.INVALID_SOURCE),
        ('{"index": 1, "label": "x", "source": "model"}', Reason.INVALID_SOURCE),
    ],
)
def test_a_row_that_is_no_label_is_rejected_alone(row: str, expected: Reason) -> None:
    good = json.dumps(PLAIN)
    assert reasons_of(f"{good}\n{row}\n{good}") == [expected]


def test_a_row_of_csv_with_another_number_of_cells_is_rejected_alone() -> None:
    assert reasons_of("index,label\n1,a\n2,b,c\n\n3,d") == [Reason.INVALID_ROW]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b" \n\n", "empty file"),
        (b"PAR1\0\0", "got Parquet"),
        (b"PK\3\4", "a workbook"),
        (b"\x89PNG\r\n\x1a\n\0\0", "no text"),
        (b"\xff\xfeabc", "no text"),
        (b"id,text\n1,a document", "columns index and label"),
        (b"index\n1", "columns index and label"),
        (b"3,late delivery", "columns index and label"),
        (b'index,label\n1,"never closed\n2,b', "is no CSV"),
        (b'index,label,"notes\n1,foo,x\n', "is no CSV"),
        (b"[1, 2", "the JSON array is damaged"),
        (b"[" + b" " * (9 << 20), "use JSON lines"),
        (b"<html><body>index label</body></html>", "columns index and label"),
    ],
)
def test_a_file_that_is_no_table_of_labels_is_refused_in_one_sentence(data: bytes, message: str) -> None:
    with pytest.raises(InvalidFile, match=message) as caught:
        rows_of(data)
    assert "\n" not in caught.value.message


def test_a_label_is_in_one_column_in_all_rows() -> None:
    for file in (
        "index,label,text\n1,late,My parcel\n2,,Great product",
        '{"index": 1, "label": "late", "text": "My parcel"}\n{"index": 2, "label": null, "text": "Great product"}',
    ):
        assert [row.text for row in rows_of(file) if isinstance(row, LabelRow)] == ["late", ""]


def test_a_file_has_a_bounded_number_of_rows() -> None:
    with pytest.raises(FileTooLarge, match="more than 200,000 rows"):
        rows_of("index,label\n" + "1,a\n" * 200_001)


def test_ten_thousand_labels_are_read_and_planned() -> None:
    count = 10_000
    frame = pd.DataFrame({"index": range(count), "label": "label of ten words " * 9, "description": "x" * 500})
    features: Any = SimpleNamespace(count=count)
    report = ImportReport()
    rows = accepted_rows(frame.to_csv(index=False).encode(), features, report)
    request = ImportRequest(
        run=RUN, on_duplicate=OnDuplicate.REPLACE, validate_only=True, ignore_weights=False, user=""
    )
    assert len(list(changes(rows, {}, request, report))) == count
    assert not report.rejections


def active(*drafts: Draft) -> dict[int, Label]:
    moment = datetime.now(UTC)
    return {draft.index: Label(draft=draft, revision=1, active=True, create_time=moment) for draft in drafts}


def existing(index: int, text: str, source: Source, model: str | None = None) -> Draft:
    return Draft(index=index, text=text, description="", source=source, model=model)


ACTIVE = active(
    existing(0, "keywords of it", Source.KEYWORDS, "keywords"),
    existing(1, "of a person", Source.HUMAN),
    existing(2, "", Source.KEYWORDS, "keywords"),
)
FILE = """index,label,model
0,mine,
1,of a person,
2,named now,
3,new,
1,again,
5,of a model,llama
9,beyond,
4,,
"""


def planned(
    file: str,
    on_duplicate: OnDuplicate = OnDuplicate.REPLACE,
    user: str = "",
    *,
    labels: Mapping[int, Label] = ACTIVE,
) -> tuple[dict[int, Draft], ImportReport]:
    request = ImportRequest(run=RUN, on_duplicate=on_duplicate, validate_only=True, ignore_weights=False, user=user)
    report = ImportReport()
    rows = accepted_rows(file.encode(), EIGHT, report)
    return {change.draft.index: change.draft for change in changes(rows, labels, request, report)}, report


@pytest.mark.parametrize(
    ("on_duplicate", "written", "rejected", "skipped"),
    [
        (OnDuplicate.REPLACE, [0, 2, 3, 5], 2, 1),
        (OnDuplicate.SKIP, [2, 3, 5], 2, 2),
        (OnDuplicate.REJECT, [2, 3, 5], 3, 1),
    ],
)
def test_what_becomes_of_features_that_have_labels(
    on_duplicate: OnDuplicate, written: list[int], rejected: int, skipped: int
) -> None:
    drafts, report = planned(FILE, on_duplicate)
    assert list(drafts) == written
    assert (report.unchanged_count, report.rejected_count, report.skipped.total()) == (1, rejected, skipped)
    assert all(draft.scores is None and draft.provenance is None for draft in drafts.values()), "none is tested"


def test_a_models_label_does_not_replace_a_persons() -> None:
    drafts, report = planned("index,label,model\n1,of a model,llama", OnDuplicate.REPLACE)
    assert not drafts
    assert report.notes == ["Left out: rows of features whose label a person wrote (1)."]


def test_an_edited_label_is_a_persons_whatever_source_its_row_still_names() -> None:
    drafts, report = planned("index,label,source,model\n0,corrected,keywords,keywords", user="ada")
    assert (drafts[0].text, drafts[0].source, drafts[0].model) == ("corrected", Source.HUMAN, None)
    assert drafts[0].author == "ada"
    assert not any("ScoreLabels" in note for note in report.notes)
    drafts, _ = planned("index,label,description,source,model\n0,keywords of it,new,keywords,keywords")
    assert (drafts[0].source, drafts[0].description) == (Source.HUMAN, "new")
    unnamed = active(Draft(index=2, text="", description="why", source=Source.KEYWORDS, model="keywords"))
    drafts, _ = planned("index,label,description,source,model\n2,named,why,keywords,keywords", labels=unnamed)
    assert (drafts[2].source, drafts[2].description) == (Source.HUMAN, ""), "it has a name now"
    _, report = planned("index,label,source,model\n1,of a person,keywords,keywords")
    assert report.unchanged_count == 1, "the same file again"


def test_a_label_of_the_same_model_from_another_run_stays_that_models() -> None:
    row = "0,corrected,keywords,keywords,runs/twin/features/0/labels/1"
    drafts, _ = planned(f"index,label,source,model,name\n{row}")
    assert (drafts[0].source, drafts[0].model) == (Source.KEYWORDS, "keywords")


VERBS, QUOTED = "-ing verbs", "'-ing' verbs"
OWN, TWIN = f"{RUN}/features/0", "runs/twin/features/0"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("0,'-ing verbs,", {VERBS: VERBS, "": "'-ing verbs"}),
        ("0,'-ing' verbs,", {QUOTED: QUOTED, "": QUOTED}),
        ("0,''-ing' verbs,", {QUOTED: QUOTED}),
        (f"0,'-ing verbs,{OWN}", {VERBS: VERBS}),
        (f"0,'-ing' verbs,{OWN}", {QUOTED: QUOTED}),
        (f"0,''-ing' verbs,{OWN}", {QUOTED: QUOTED}),
        (f"0,'-ing words,{OWN}", {VERBS: "-ing words"}),
        (f"0,'-ing verbs,{TWIN}", {"": VERBS}),
        (f"0,''-ing' verbs,{TWIN}", {"": QUOTED}),
        (f"0,'-ing' verbs,{TWIN}\n1,=x,{TWIN}", {"": QUOTED}),
        (f"0,-ing verbs,{TWIN}", {"": VERBS}),
        (f"0,'tis,{TWIN}", {"": "'tis"}),
    ],
)
def test_the_guard_against_formulas_is_taken_off_where_an_export_put_it(row: str, expected: dict[str, str]) -> None:
    file = f"index,label,name\n{row}"
    for text, result in expected.items():
        labels = active(existing(0, text, Source.HUMAN)) if text else {}
        drafts, report = planned(file, labels=labels)
        assert (drafts[0].text if 0 in drafts else text) == result
        assert report.unchanged_count == (text == result)


@pytest.mark.parametrize("text", [VERBS, QUOTED, "=1+1", "'tis"])
def test_a_data_frame_of_an_export_changes_nothing(text: str) -> None:
    guarded = without_formula(text)
    _, report = planned(json.dumps({"index": 0, "label": guarded}), labels=active(existing(0, text, Source.HUMAN)))
    assert report.unchanged_count == 1
    drafts, _ = planned(json.dumps({"index": 0, "label": text, "name": TWIN}), labels={})
    assert drafts[0].text == text, "JSON lines have no guard"


async def test_an_upload_that_stalls_stops_no_other() -> None:
    features: Any = SimpleNamespace(count=8, run=SimpleNamespace(name=RUN, uid="r"))
    cache: Any = SimpleNamespace(features=AsyncMock(return_value=features))
    store: Any = SimpleNamespace(active_labels=lambda _uid: ACTIVE)
    imports = LabelImports(store=store, cache=cache, upstream=Mock(), events=Mock())
    request = ImportRequest(run=RUN, on_duplicate=OnDuplicate.REPLACE, validate_only=True, ignore_weights=True, user="")
    has_begun, goes_on = asyncio.Event(), asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"index,label\n"
        has_begun.set()
        await goes_on.wait()
        yield b"3,late"

    async def complete() -> AsyncIterator[bytes]:
        yield b"index,label\n3,new"

    waiting = asyncio.create_task(imports.run(request, stalled()))
    await has_begun.wait()
    async with asyncio.timeout(60):
        assert [change.draft.text for change in (await imports.run(request, complete())).changes] == ["new"]
    goes_on.set()
    assert [change.draft.text for change in (await waiting).changes] == ["late"]


@pytest.mark.parametrize(
    ("user", "author", "expected"),
    [("", "", None), ("", "ada", "ada"), ("bob", "", "bob"), ("bob", "bob", "bob"), ("bob", "ada", "bob, for ada")],
)
def test_who_imports_vouches_for_the_author_of_a_file(user: str, author: str, expected: str | None) -> None:
    drafts, _ = planned(f"index,label,author\n3,new,{author}", OnDuplicate.REPLACE, user)
    assert drafts[3].author == expected


async def stream(data: bytes, **config: Any) -> AsyncIterator[pb2.ImportLabelsRequest]:
    yield pb2.ImportLabelsRequest(config={"run": RUN, **config})
    for start in range(0, len(data), 1 << 20):
        yield pb2.ImportLabelsRequest(chunk=data[start : start + (1 << 20)])


async def test_labels_of_a_file_are_written_at_once_and_once(suite: Suite) -> None:
    await with_statistics(suite)
    assert (await labelled(suite)).state == Job.STATE_SUCCEEDED
    revision = (await interpretation_of(suite)).label_revision
    frame = pd.DataFrame({"index": range(256), "label": [f"label {index}" for index in range(256)]})
    data = frame.to_csv(index=False, sep=";").encode("utf-8-sig")

    async def imported(data: bytes, **config: Any) -> pb2.ImportLabelsResponse:
        return await suite.interpreter.ImportLabels(stream(data, **config))

    preview = await imported(data, validate_only=True)
    assert preview.added_count == 256
    assert len(preview.changes) == 100
    assert (await interpretation_of(suite)).label_revision == revision, "a preview writes nothing"
    report = await imported(data)
    assert report == preview
    assert (await interpretation_of(suite)).label_revision == revision + 1
    again = await imported(data)
    assert (again.added_count, again.unchanged_count) == (0, 256)
    assert (await interpretation_of(suite)).label_revision == revision + 1, "the same file again changes nothing"

    feature = await suite.interpreter.GetFeature(pb2.GetFeatureRequest(name=f"{RUN}/features/7"))
    assert (feature.label.text, feature.label.source) == ("label 7", PROTO.SOURCE_HUMAN)
    assert not feature.label.HasField("score")
    assert feature.trust == resources_pb2.TRUST_OPEN, "what is not tested is not trusted"
    counts = (await interpretation_of(suite)).trust_counts
    assert (counts.trusted, counts.unnamed) == (0, 0)

    for broken, error in (
        (b"id,text\n1,x", "INVALID_FILE"),
        (b"index,label,weights\n1,x,0123456789abcdef", "LABELS_OF_OTHER_LATENTS"),
        (b"x" * (MAX_BYTES + 1), "TOO_LARGE"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await imported(broken)
        assert reason(caught.value) == error
    forced = await imported(b"index,label,weights\n1,x,0123456789abcdef", ignore_weights=True, validate_only=True)
    assert forced.added_count == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await suite.interpreter.ImportLabels(stream(data, run="runs/none"))
    assert reason(caught.value) == "RUN_NOT_FOUND"
    await asyncio.gather(*(imported(data) for _ in range(8)))
    assert (await interpretation_of(suite)).label_revision == revision + 1


async def downloaded(call: Any) -> bytes:
    return b"".join([part.data async for part in call])


async def test_what_is_exported_can_be_imported_where_the_latents_are_the_same(suite: Suite) -> None:
    await with_statistics(suite)
    assert (await labelled(suite)).state == Job.STATE_SUCCEEDED
    own = PROTO(text="=SUM(A1), 'quoted'; \"東京\"", description="two\nlines")
    await suite.interpreter.CreateLabel(pb2.CreateLabelRequest(parent=f"{RUN}/features/3", label=own))
    revision = (await interpretation_of(suite)).label_revision
    await suite.train("twin")  # of equal weights
    await suite.train("third", config={"seed": 5})
    for run in ("twin", "third"):
        request = pb2.ComputeStatisticsRequest(run=f"runs/{run}")
        await suite.ended(await suite.interpreter.ComputeStatistics(request))

    async def imported(data: bytes, run: str) -> pb2.ImportLabelsResponse:
        return await suite.interpreter.ImportLabels(stream(data, run=run))

    export = pb2.ExportLabelsRequest
    files = [
        await downloaded(suite.interpreter.ExportLabels(export(run=RUN))),
        await downloaded(suite.interpreter.ExportLabels(export(run=RUN, byte_order_mark=True))),
        await downloaded(suite.interpreter.ExportLabels(export(run=RUN, format=TABLE_FORMAT_JSON_LINES))),
        await downloaded(suite.interpreter.ExportLabels(export(run=RUN, include_history=True))),
        await downloaded(suite.interpreter.ExportFeatures(pb2.ExportFeaturesRequest(run=RUN))),
    ]
    for data in files:
        report = await imported(data, RUN)
        assert (report.added_count, report.rejected_count) == (0, 0), report
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await imported(data, "runs/third")
        assert reason(caught.value) == "LABELS_OF_OTHER_LATENTS"
        assert "carry-labels" in str(caught.value.details())
    assert (await interpretation_of(suite)).label_revision == revision, "the labels are the same, so nothing changes"
    for data in files:
        report = await imported(data, "runs/twin")
        assert report.rejected_count == 0
    label = (await suite.interpreter.GetFeature(pb2.GetFeatureRequest(name="runs/twin/features/3"))).label
    assert (label.text, label.description, label.source) == (own.text, own.description, PROTO.SOURCE_HUMAN)
    labels = (await suite.interpreter.ListLabels(pb2.ListLabelsRequest(parent="runs/twin/features/3"))).labels
    assert len(labels) == 1, "all five files say the same"

    frame = pd.read_csv(io.BytesIO(files[3]))
    history = frame[frame["index"] == 3]
    assert history["active"].tolist() == [False, True]
    assert history["label"].tolist()[-1] == f"'{own.text}"
    parquet = await downloaded(suite.interpreter.ExportLabels(export(run=RUN, format=TABLE_FORMAT_PARQUET)))
    table = pd.read_parquet(io.BytesIO(parquet))
    assert table.set_index("index").loc[3, "label"] == own.text
    assert str(table["create_time"].dtype).endswith("UTC]")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await downloaded(
            suite.interpreter.ExportLabels(export(run=RUN, byte_order_mark=True, format=TABLE_FORMAT_PARQUET))
        )
    assert reason(caught.value) == "INVALID_ARGUMENT"


async def test_a_label_that_is_corrected_in_an_export_is_scored(suite: Suite) -> None:
    await with_statistics(suite)
    assert (await labelled(suite)).state == Job.STATE_SUCCEEDED
    data = await downloaded(suite.interpreter.ExportLabels(pb2.ExportLabelsRequest(run=RUN)))
    frame = pd.read_csv(io.BytesIO(data))
    place = frame.index[frame["label"].notna() & (frame["score"] > 0)][0]
    index = int(frame.loc[place, "index"])
    frame.loc[place, "label"] = "corrected by hand"
    report = await suite.interpreter.ImportLabels(stream(frame.to_csv(index=False).encode()))
    assert (len(report.changes), report.rejected_count) == (1, 0), report
    job = await suite.ended(await suite.interpreter.ScoreLabels(pb2.ScoreLabelsRequest(run=RUN, indices=[index])))
    assert job.state == Job.STATE_SUCCEEDED
    label = (await suite.interpreter.GetFeature(pb2.GetFeatureRequest(name=f"{RUN}/features/{index}"))).label
    assert (label.text, label.source, label.model) == ("corrected by hand", PROTO.SOURCE_HUMAN, "")
    assert label.HasField("score")


async def test_features_are_exported_as_they_are_listed(suite: Suite) -> None:
    await with_statistics(suite)
    export = pb2.ExportFeaturesRequest
    bare = pd.read_csv(io.BytesIO(await downloaded(suite.interpreter.ExportFeatures(export(run=RUN)))))
    assert bare["index"].tolist() == list(range(256))
    assert bare["label"].isna().all()
    assert (await labelled(suite)).state == Job.STATE_SUCCEEDED
    request = pb2.ListFeaturesRequest(
        parent=RUN, filter="trust = UNNAMED AND dead = false", order_by="density desc", page_size=1000
    )
    listed = (await suite.interpreter.ListFeatures(request)).features
    assert 0 < len(listed) < 256
    frames: dict[int, pd.DataFrame] = {}
    for format, read in (
        (TABLE_FORMAT_CSV, pd.read_csv),
        (TABLE_FORMAT_JSON_LINES, lambda file: pd.DataFrame(map(json.loads, file))),
        (TABLE_FORMAT_PARQUET, pd.read_parquet),
        (TABLE_FORMAT_ARROW, pd.read_feather),
    ):
        call = suite.interpreter.ExportFeatures(
            export(run=RUN, filter=request.filter, order_by=request.order_by, format=format)
        )
        frames[format] = read(io.BytesIO(await downloaded(call)))
        frame = frames[format]
        assert frame["index"].tolist() == [feature.index for feature in listed]
        assert frame["density"].tolist() == pytest.approx([feature.density for feature in listed], rel=1e-12)
        assert frame["dense"].tolist() == [feature.dense for feature in listed]
        assert frame["unnamed_reason"].tolist() == [feature.label.description for feature in listed]
        assert set(frame["trust"]) == {"unnamed"}
    assert list(frames[TABLE_FORMAT_CSV]) == list(frames[TABLE_FORMAT_PARQUET]) == list(frames[TABLE_FORMAT_ARROW])
    empty = await downloaded(suite.interpreter.ExportFeatures(export(run=RUN, query="nothing has this label")))
    assert empty.decode().startswith("index,label,trust,")
    assert empty.count(b"\n") == 1
    for broken, error in (
        (export(run=RUN, filter="density >"), "INVALID_FILTER"),
        (export(run=RUN, order_by="x"), "INVALID_ARGUMENT"),
        (export(run="runs/none"), "RUN_NOT_FOUND"),
        (export(run=RUN, format=TABLE_FORMAT_ARROW, keep_formulas=True), "INVALID_ARGUMENT"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await downloaded(suite.interpreter.ExportFeatures(broken))
        assert reason(caught.value) == error
