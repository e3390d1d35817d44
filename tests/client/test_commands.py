"""The command line, with its output piped, against a whole stack."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from subprocess import PIPE
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from prisma.common.v1.job_pb2 import Job
from prisma.embedder.v1.embedder_service_pb2 import ImportDocumentsResponse
from prisma.embedder.v1.resources_pb2 import Document
from prisma.interpreter.v1.resources_pb2 import LabelTest
from prisma.trainer.v1.resources_pb2 import Metrics, Run
from prisma_client import Prisma
from prisma_client.cli import operate, output, train
from prisma_client.cli import stack as stack_module
from prisma_client.cli.commands import app
from prisma_client.cli.connection import Follower
from prisma_client.cli.data import rejection_lines
from tests.client.scripted_gateway import reply, scripted, stream
from tests.stack import DATASET, PRISMA, RUN, Stack, command


def lines(stack: Stack, *words: str) -> list[dict[str, Any]]:
    ended = stack.command(*words)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_statistics_and_maps_of_a_dataset(stack: Stack) -> None:
    [statistics] = lines(stack, "statistics", DATASET)
    terminal_text = stack.on_terminal("statistics", DATASET)
    assert "effective rank" in terminal_text and "languages" in terminal_text
    assert stack.command("statistics", "none").returncode == 3
    with Prisma(stack.url) as prisma:
        data = prisma.datasets.get(DATASET)
        assert statistics["documentCount"] == str(data.message.document_count) and not statistics["stale"]
        assert data.statistics().compute_time == data.stored_statistics().compute_time, "they are computed once"
        drawn = data.map()
        assert len(drawn) == drawn.vector_count == data.message.embedded_count
        assert drawn.fingerprint == data.message.fingerprint
        with pytest.raises(ValueError, match="expected the method pca or umap"):
            data.map("tsne")  # pyright: ignore[reportArgumentType]


def test_the_way_of_a_file(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(
        "".join(json.dumps({"id": f"d{i}", "text": f"text {i} of topic {i % 4}"}) + "\n" for i in range(40))
    )
    try:
        assert lines(stack, "ingest", "own", str(file))[0]["importedCount"] == "40"
        again = stack.command("ingest", "own", str(file))
        report = json.loads(again.stdout)
        assert (again.returncode, report["importedCount"], report["rejectedCount"]) == (0, "0", "40")
        assert "nothing is new: datasets/own has all 40 documents already; `--on-duplicate replace`" in again.stderr
        skipped = stack.command("ingest", "own", str(file), "--on-duplicate", "skip")
        assert (skipped.returncode, json.loads(skipped.stdout)["skippedCount"]) == (0, "40")
        assert "nothing is new: datasets/own has all 40 documents already\n" in skipped.stderr
        replaced = stack.command(
            "ingest", "own", "/dev/stdin", "--on-duplicate", "replace", input='{"id": "d0", "text": "another text"}\n'
        )
        assert json.loads(replaced.stdout)["updatedCount"] == "1", replaced.stderr
        [third, skipping, second, first] = lines(stack, "imports", "own")
        assert (first["fileName"], first["addedCount"], second["addedCount"]) == ("own.jsonl", "40", "0")
        assert (skipping["onDuplicate"], skipping["skippedCount"]) == ("ON_DUPLICATE_SKIP", "40")
        assert lines(stack, "imports", "own", "last") == [third]
        rejections = tmp_path / "rejections.csv"
        refused = second["name"].rpartition("/")[2]
        assert lines(stack, "imports", "own", refused, "--rejections", str(rejections)) == [second]
        assert rejections.read_text().count("DUPLICATE_IN_DATASET") == 40
        assert "40" in stack.on_terminal("imports", "own", first["name"].rpartition("/")[2])
        assert stack.command("imports", "own", "none").returncode == 3
        more = stack.command("ingest", "own", "/dev/stdin", input='{"id": "x", "text": "one more"}\n')
        assert json.loads(more.stdout)["importedCount"] == "1", more.stderr
        condition = "key = x"
        assert lines(stack, "delete-documents", "own", "--filter", condition, "--dry-run")[0]["documentCount"] == "1"
        assert stack.command("delete-documents", "own", "--filter", condition).returncode == 1  # nobody can be asked
        deleted = lines(stack, "delete-documents", "own", "--filter", condition, "--yes")
        assert deleted[-1]["state"] == "STATE_SUCCEEDED"
        assert "no document of own matches" in stack.command("delete-documents", "own", "--filter", condition).stderr
        assert lines(stack, "embed", "own")[-1]["state"] == "STATE_SUCCEEDED"
        assert "no document of own waits" in stack.command("embed", "own").stderr
        trained = lines(stack, "train", "own", "--run", "own", "--expansion", "1", "--k", "4", "--epochs", "2")
        assert trained[-1]["state"] == "STATE_SUCCEEDED"
        again = stack.command("train", "own", "--run", "own", "--expansion", "1", "--k", "4", "--epochs", "2")
        assert (again.returncode, "is trained already" in again.stderr) == (0, True), again.stderr
        other = stack.command("train", DATASET, "--run", "own", "--k", "8", "--epochs", "2")
        assert (other.returncode, "another dataset, k:" in other.stderr) == (4, True), other.stderr
        assert 0 < lines(stack, "evaluate", "own")[-1]["fvu"] < 2
        assert lines(stack, "export", "own", "sae-lens", str(tmp_path / "w.zip"))[0]["bytes"] > 0
        refused = stack.command("push", "own")
        assert (refused.returncode, "PRISMA_TRAINER_PUSH_URL" in refused.stderr) == (4, True)
        back = lines(stack, "import-weights", "own", str(tmp_path / "w.zip"), "--run", "back")
        assert back[-1]["state"] == "STATE_SUCCEEDED"
        assert len(lines(stack, "compare", "own", "back")[0]["matches"]) == 256
        assert lines(stack, "pause", "back") == [{"paused": "back"}]
        swept = lines(stack, "sweep", "own", "--k", "2", "--k", "3", "--expansion", "1")
        assert {run["config"]["k"] for run in swept if "config" in run} == {2, 3}
        assert lines(stack, "compute-stats", "own")[-1]["state"] == "STATE_SUCCEEDED"
        assert lines(stack, "label", "own")[-1]["state"] == "STATE_SUCCEEDED"
        with Prisma(stack.url) as prisma:  # so few texts that no label of the labeller's passes its test
            features = prisma.runs.get("own").features
            named = next(features.list(filter="dead = false")).index
            features.set_label(named, "a topic")
        assert lines(stack, "score-labels", "own")[-1]["state"] == "STATE_SUCCEEDED"
        assert stack.command("score-labels", "own", "--max-questions", "3").returncode == 2
        with Prisma(stack.url) as prisma:
            measured = prisma.runs.get("own").features.labels(named)[0].test.measurements
            assert [LabelTest.Scorer.Name(scorer.scorer) for scorer in measured] == [
                "SCORER_WORDS",
                "SCORER_EMBEDDING",
                "SCORER_DECODER",
            ]
        assert lines(stack, "compute-stats", "back")[-1]["state"] == "STATE_SUCCEEDED"
        carried = lines(stack, "carry-labels", "back", "own")[0]
        assert carried["matchedCount"] == 256
        assert carried["carriedCount"] > 0
        assert {dataset["name"] for dataset in lines(stack, "datasets")} == {"datasets/own", f"datasets/{DATASET}"}
        assert len(lines(stack, "documents", "own", "--limit", "5")) == 5
    finally:
        assert lines(stack, "delete", "datasets/own", "--yes")[0]["deleted"] == "datasets/own"


def test_what_the_api_returns_can_be_imported_again(stack: Stack, tmp_path: Path) -> None:
    page, hits = tmp_path / "page.json", tmp_path / "hits.json"
    page.write_text(httpx.get(f"{stack.url}/v1/datasets/{DATASET}/documents?page_size=10").text)
    hits.write_text(stack.command("search", DATASET, "file", "--limit", "3").stdout)
    before = json.loads(page.read_text())
    try:
        report = lines(stack, "ingest", "again", str(page))[0]
        whole = [document for document in before["documents"] if not document["textTruncated"]]
        assert len(whole) > 1
        assert (int(report["importedCount"]), int(report["rejectedCount"])) == (len(whole), 10 - len(whole))
        assert "one page of a list" in report["notes"][1]
        after = {document["key"]: document for document in lines(stack, "documents", "again")}
        for document in whole:
            again = after[document["key"]]
            assert (again["text"], again["metadata"]) == (document["text"], document["metadata"])
        refused = stack.command("ingest", "again", str(hits))
        assert (refused.returncode, "hits of a search" in refused.stderr) == (2, True), refused.stderr
    finally:
        assert stack.command("delete", "again", "--yes").returncode == 0


def test_rejected_documents_are_counted_and_a_file_without_any_is_an_error(stack: Stack, tmp_path: Path) -> None:
    csv, none, some = tmp_path / "x.csv", tmp_path / "none.jsonl", tmp_path / "some.jsonl"
    csv.write_text("id,count\n1,2\n3,4\n")
    none.write_text('{"id": "a", "text": " "}\n{"id": "b", "text": ""}\n')
    some.write_text('{"id": "a", "text": "a text"}\n{"id": "b"}\n')
    assert stack.command("ingest", "rejected", str(csv)).returncode == 2
    ended = stack.command("ingest", "rejected", str(tmp_path))
    assert (ended.returncode, "tables of one format" in ended.stderr) == (2, True), ended.stderr
    ended = stack.command("ingest", "rejected", str(some), "--validate-only")
    assert (ended.returncode, "1 can be imported, 1 rejected" in ended.stderr) == (0, True), ended.stderr
    ended = stack.command("ingest", "rejected", str(none))
    assert (ended.returncode, "0 imported, 2 rejected" in ended.stderr) == (2, True), ended.stderr
    assert stack.command("embed", "rejected").returncode == 3, "the dataset was not kept"
    try:
        ended = stack.command("ingest", "rejected", str(some))
        assert (ended.returncode, "1 imported, 1 rejected" in ended.stderr) == (0, True), ended.stderr
        assert stack.command("ingest", "rejected", str(none)).returncode == 2
        assert stack.command("documents", "rejected").stdout.count("\n") == 1, "a dataset with documents stays"
    finally:
        assert stack.command("delete", "rejected", "--yes").returncode == 0


def test_a_table_is_previewed_and_imported(stack: Stack, tmp_path: Path) -> None:
    table = tmp_path / "reviews.csv"
    table.write_text("nr;titre;avis\n1;Été;très bien écrit\n2;Hiver;assez court\n", encoding="windows-1252")
    (preview,) = lines(stack, "preview", str(table))
    assert preview["layout"]["encoding"] == "windows-1252"
    assert preview["documents"][0]["text"] == "très bien écrit"
    (preview,) = lines(
        stack, "preview", str(table), "--text-field", "titre", "--text-field", "avis", "--id-field", "nr"
    )
    assert (preview["documents"][1]["key"], preview["documents"][1]["text"]) == ("2", "Hiver\n\nassez court")
    assert stack.command("preview", str(table), "--format", "word").returncode == 2
    assert stack.command("preview", str(table), "--text-field", "no").returncode == 2
    try:
        (report,) = lines(stack, "ingest", "reviews", str(table), "--id-field", "nr", "--delimiter", ";")
        assert report["importedCount"] == "2"
        assert any("'avis'" in note for note in report["notes"])
    finally:
        assert stack.command("delete", "reviews", "--yes").returncode == 0


def test_a_failed_job_is_reported_by_every_command_that_reads_it(stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        run = prisma.runs.create(DATASET, run_id="untrained")
    try:
        ended = stack.command("compute-stats", "untrained")
        assert ended.returncode in (4, 5), ended.stderr
        assert "Traceback" not in ended.stderr
        assert "train" in ended.stderr
        listed = lines(stack, "jobs")
        for failed in (job for job in listed if job["state"] == "STATE_FAILED"):
            ended = stack.command("jobs", failed["name"].removeprefix("jobs/"))
            assert ended.returncode == 5
            assert failed["error"]["message"] in ended.stderr
    finally:
        with Prisma(stack.url) as prisma:
            run = prisma.runs.get("untrained")
            run.delete()


def test_ctrl_c_says_that_the_job_continues_and_how_to_cancel_it(stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        run = prisma.datasets.get(DATASET).train(run_id="interrupted", epochs=100_000, wait=False)
        try:
            (job,) = (job for job in prisma.jobs.list(20) if run.name in job.resources and job.kind == "train-run")
            key = job.name.removeprefix("jobs/")
            words = [PRISMA, "jobs", key]
            with subprocess.Popen(words, env=stack.environment, stdout=PIPE, stderr=PIPE, text=True) as followed:
                assert followed.stdout is not None
                followed.stdout.readline()
                followed.send_signal(signal.SIGINT)
                _, stderr = followed.communicate(timeout=30)
            assert followed.returncode == 130
            assert f"prisma jobs {key} --cancel" in stderr
            assert prisma.jobs.get(key).state not in (Job.STATE_CANCELLED, Job.STATE_FAILED)
        finally:
            run.delete()


def test_looking_into_a_run(stack: Stack, tmp_path: Path) -> None:
    assert lines(stack, "runs", "--dataset", DATASET)[0]["name"] == f"runs/{RUN}"
    listed = lines(stack, "features", RUN, "--order-by", "index", "--limit", "3")
    assert [feature["index"] for feature in listed] == [0, 1, 2]
    alive = lines(stack, "features", RUN, "--filter", "dead = false", "--limit", "1")[0]["index"]
    assert lines(stack, "feature", RUN, str(alive), "--examples", "decile")[0]["decoderNeighbors"]
    (open_feature, *_) = lines(stack, "features", RUN, "--filter", "trust = OPEN", "--limit", "1")
    missed = open_feature["missedConditions"][0]  # the stack's run has no siblings
    assert missed["condition"] == "CONDITION_STABILITY" and "trusted needs at least 0.70" in missed["explanation"]
    by_hand = ("label", RUN, "--feature", str(alive), "--text", "by hand", "--request-id", "one")
    first, second = lines(stack, *by_hand), lines(stack, *by_hand)
    assert first[0]["text"] == "by hand"
    assert second[0]["name"] == first[0]["name"], "it was written once"
    assert lines(stack, "families", RUN, "--limit", "2")[0]["memberCount"] > 1
    hits = lines(stack, "search", DATASET, "base class", "--run", RUN, "--limit", "3")
    assert len(hits) == 3
    boosted = lines(stack, "search", DATASET, "base class", "--run", RUN, "--boost", f"{alive}=3", "--limit", "3")
    assert boosted[0]["steering"][0]["index"] == alive
    assert boosted[0]["steering"][0]["contribution"] > 1
    family = lines(stack, "families", RUN, "--limit", "1")[0]
    members = {member["index"] for member in family["members"]}
    indices = ",".join(map(str, sorted(members)))
    for features in (family["name"].removeprefix(f"runs/{RUN}/"), indices):
        boosted = lines(stack, "search", DATASET, "x", "--run", RUN, "--boost", f"{features}=3", "--limit", "3")
        assert {feature["index"] for feature in boosted[0]["steering"]} <= members
        assert 1 < sum(feature["contribution"] for feature in boosted[0]["steering"]) <= 3.001
    explained = lines(stack, "explain", RUN, "--document", hits[0]["document"], "--name-tail")[0]
    assert explained["features"]
    assert explained["familiarity"]["falseAlarmRate"] == 0.05
    assert lines(stack, "export", RUN, "features", str(tmp_path / "f.csv"), "--byte-order-mark")[0]["bytes"] > 0
    assert (tmp_path / "f.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert lines(stack, "export", RUN, "activations", str(tmp_path / "a.jsonl"))[0]["bytes"] > 0
    assert {"document", "indices", "activations"} < set(json.loads((tmp_path / "a.jsonl").open().readline()))
    assert lines(stack, "jobs", "--limit", "2")
    models = {model["id"]: model for model in lines(stack, "models")}
    assert {"builtin/wordllama-256", "keywords"} <= set(models)
    assert models["builtin/wordllama-256"]["description"].startswith("Spelling level")
    assert {service["service"] for service in lines(stack, "status")} >= {"embedder", "search"}


ANALYSES = [
    (["sentences", "Return a list of open files. Raise an error if the socket is closed."], "attributions", "loses"),
    (["similarity", "Return a list of open files.", "Close the file."], "contributions", "contribution"),
    (["metadata", "kind", "--kind", "category", "--max-q", "0.9"], "associations", "confirmed"),
    (["compare", 'metadata.kind = "class"', "--max-q", "0.9"], "differences", "difference"),
    (["correlations", "--max-label-similarity-rank", "1"], "correlations", "odds ratio"),
    (["concept", "A list of files.", "--negative", "A number."], "separations", "area"),
    (["classifier", 'metadata.kind = "class"'], "terms", "area"),
]
"""Words of a command, where its answer has rows, and a column of the table that shows them."""


@pytest.mark.parametrize(("words", "rows", "column"), ANALYSES, ids=[words[0] for words, _, _ in ANALYSES])
def test_analyses_are_one_json_line_when_piped_and_a_table_on_a_terminal(
    stack: Stack, words: list[str], rows: str, column: str
) -> None:
    options = (words[0], RUN, *words[1:], "--features", "dead = false", "--include-tail")
    (answer,) = lines(stack, "analyze", *options)
    table = stack.on_terminal("analyze", *options)
    assert (column in table) == bool(answer[rows])
    assert all(str(row["feature"]["index"]) in table for row in answer[rows] if "feature" in row)
    if words[0] not in ("metadata", "compare", "classifier"):
        assert answer[rows]


def test_analyses_take_documents_and_standard_input(stack: Stack) -> None:
    document = lines(stack, "documents", DATASET, "--limit", "1")[0]["name"]
    (answer,) = lines(stack, "analyze", "sentences", RUN, document, "--feature", "1", "--feature", "0")
    assert [entry["feature"]["index"] for entry in answer["attributions"]] == [1, 0]
    piped = stack.command("analyze", "sentences", RUN, "-", input="One sentence. Another one.")
    assert [sentence["text"] for sentence in json.loads(piped.stdout)["sentences"]] == ["One sentence.", "Another one."]
    (answer,) = lines(stack, "analyze", "similarity", RUN, document, document)
    assert answer["similarity"] == pytest.approx(1)


def test_cells_of_a_table_are_shown_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """What looks like markup is none."""
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    text = "see [/usr/lib], [bold]x"
    output.show([{"text": text}], {"text": lambda row: row["text"]})
    assert text in capsys.readouterr().out


def test_rejected_items_are_named_by_reason() -> None:
    report = ImportDocumentsResponse(rejected_count=9)
    missing, blank = ImportDocumentsResponse.Rejection.REASON_MISSING_TEXT, "REASON_INVALID_TEXT"
    for item in range(1, 9):
        report.rejections.add(item=item, reason=missing, message="expected a text")
    report.rejections.add(item=12, reason=blank, message="expected no blank text")
    report.rejection_counts.add(reason=missing, count=65)
    report.rejection_counts.add(reason=blank, count=1)
    report.rejection_counts.add(reason="REASON_INVALID_ID", count=2)
    assert list(rejection_lines(report)) == [
        "items 1, 2, 3, 4, 5 and 60 more: expected a text",
        "item 12: expected no blank text",
        "2 later items: INVALID_ID",
    ]


def test_whole_numbers_of_metadata_are_written_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    document = Document()
    document.metadata.update({"stars": 4, "share": 0.5, "counts": [1, 2]})
    output.show_one(document, [])
    assert '"stars": 4' in (written := capsys.readouterr().out) and '"counts": [1, 2]' in written


def test_names_and_messages_of_a_job_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    follower = Follower("import [/a] [red]b.csv")
    with follower.display():
        follower.update(Job(state=Job.STATE_RUNNING, progress={"message": "row [/c] [bold]d"}))
    written = capsys.readouterr().out
    assert "import [/a] [red]b.csv" in written and "row [/c] [bold]d" in written


def test_exit_codes_mean_something(stack: Stack) -> None:
    for words, code in (
        (["runs", "--colour"], 2),
        (["features", RUN, "--filter", "density >"], 2),
        (["search", DATASET, "x", "--mode", "psychic"], 2),
        (["search", DATASET, "x", "--run", RUN, "--boost", "12"], 2),
        (["search", DATASET, "x", "--boost", "12=2"], 2),
        (["search", DATASET, "x", "--run", RUN, "--boost", "1,=2"], 2),
        (["search", DATASET, "x", "--run", RUN, "--boost", "1,1=2"], 2),
        (["search", DATASET, "x", "--run", RUN, "--boost", "12=4"], 2),
        (["analyze", "metadata", RUN, "none"], 2),
        (["analyze", "metadata", RUN, "kind", "--kind", "color"], 2),
        (["analyze", "sentences", RUN, "x", "--limit", "51"], 2),
        (["analyze", "compare", "none", "metadata.a = 1"], 3),
        (["embed", "none"], 3),
        (["feature", RUN, "99999"], 3),
        (["ingest", DATASET, "/none/such.json"], 2),
        (["train", DATASET, "--architecture", "jumprelu"], 2),
        (["delete", "none"], 3),
    ):
        ended = stack.command(*words)
        assert ended.returncode == code, (words, ended.returncode, ended.stderr)
        assert ended.stderr
        assert "Traceback" not in ended.stderr
    ended = stack.command("search", DATASET, "x", "--run", RUN, "--boost", "families/9-999=1")
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    error_message = " ".join(ended.stderr.replace("│", " ").split())
    assert f"{RUN} has no families/9-999; `prisma families {RUN}` shows" in error_message
    assert stack.command("--version").stdout.startswith("prisma 0.")
    assert "5 a job failed" in " ".join(stack.command("--help").stdout.split())
    away = Stack("", {**stack.environment, "PRISMA_URL": "http://127.0.0.1:9"}, stack.folder)
    assert away.command("datasets").returncode == 6


def test_the_doctor_says_what_is_not_fine(stack: Stack) -> None:
    ended = stack.command("doctor")
    findings = {finding["what"]: finding for finding in map(json.loads, ended.stdout.splitlines())}
    assert findings["Python"]["fine"]
    assert findings["gateway (running)"]["fine"]
    assert findings["gateway (running)"]["advice"] is None
    # No Ollama is set up here: what needs it says so.
    assert not findings["interpreter (running)"]["fine"]
    assert "ollama" in findings["interpreter (running)"]["advice"]
    assert ended.returncode == 1


def test_keys_are_created_listed_and_revoked(tmp_path: Path) -> None:
    environment = {**os.environ, "PRISMA_API_KEYS_FILE": str(tmp_path / "keys")}

    def keys(*words: str) -> subprocess.CompletedProcess[str]:
        return command("keys", *words, environment=environment)

    created = keys("create", "ada", "--scope", "read", "--days", "30")
    assert created.returncode == 0, created.stderr
    assert created.stdout.strip() not in (tmp_path / "keys").read_text()
    assert keys("create", "ada").returncode == 2, "a name is used once"
    assert keys("create", "bob").returncode == 0
    listed = [json.loads(line) for line in keys("list").stdout.splitlines()]
    assert [(key["name"], key["scope"], key["expired"]) for key in listed] == [
        ("ada", "read", False),
        ("bob", "admin", False),
    ]
    assert listed[0]["expires"]
    assert listed[1]["expires"] is None
    assert keys("revoke", "ada").returncode == 0
    assert keys("revoke", "ada").returncode == 2
    assert [json.loads(line)["name"] for line in keys("list").stdout.splitlines()] == ["bob"]


@pytest.mark.parametrize(("count", "outcome"), [(1000, "datasets/d has 1,000 documents now"), (0, "no document was")])
def test_ctrl_c_during_an_import_says_what_stays_and_how_to_go_on(tmp_path: Path, count: int, outcome: str) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text('{"id": "a", "text": "t"}\n')
    started, ended = threading.Event(), threading.Event()

    def never_answer(_handler: BaseHTTPRequestHandler) -> None:
        started.set()
        ended.wait()

    dataset = {"name": "datasets/d", "documentCount": str(count)}
    with scripted([reply(200, dataset), never_answer, reply(200, dataset)]) as gateway:
        environment = {**os.environ, "PRISMA_URL": gateway.url}
        command = [PRISMA, "ingest", "d", file]
        with subprocess.Popen(command, env=environment, stdout=PIPE, stderr=PIPE, text=True) as importing:
            started.wait(60)
            importing.send_signal(signal.SIGINT)
            _, stderr = importing.communicate(timeout=60)
        ended.set()
    assert (importing.returncode, outcome in stderr) == (130, True), stderr
    assert "the same command imports the rest" in stderr
    assert gateway.requests[-1].startswith("DELETE") is (count == 0), "a new dataset without documents is not kept"


@pytest.mark.parametrize(
    "words",
    [
        "embed d",
        "train d --run r",
        "label r",
        "compute-stats r",
        "evaluate r",
        "sweep d --k 2",
        "families r",
        "jobs j",
    ],
)
def test_ctrl_c_during_a_wait_says_what_continues_and_how_to_cancel_it(words: str) -> None:
    ended = threading.Event()
    resource = {"name": "runs/r", "dataset": "datasets/d", "pendingCount": "1", "config": {"k": 2}}
    job = {"name": "jobs/j", "kind": "a-kind", "state": "STATE_RUNNING"}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if ":watch" in handler.path:
            stream(job)(handler)
            ended.wait()
        else:
            reply(200, job if ":" in handler.path or "/jobs/" in handler.path else resource)(handler)

    with scripted([answer]) as gateway:
        environment = {**os.environ, "PRISMA_URL": gateway.url}
        command = [PRISMA, *words.split()]
        with subprocess.Popen(command, env=environment, stdout=PIPE, stderr=PIPE, text=True) as waiting:
            assert waiting.stdout is not None
            assert json.loads(waiting.stdout.readline())["name"] == "jobs/j"
            waiting.send_signal(signal.SIGINT)
            _, stderr = waiting.communicate(timeout=60)
        ended.set()
    assert waiting.returncode == 130, stderr
    assert "The job continues: `prisma jobs j` follows it, `prisma jobs j --cancel` cancels it" in stderr


@pytest.mark.parametrize("words", ["datasets", "doctor"])
def test_commands_find_the_stack_where_it_listens(words: str) -> None:
    with scripted([reply(200, {})]) as gateway:
        listen = gateway.url.removeprefix("http://")
        CliRunner(env={"PRISMA_URL": None, "PRISMA_HTTP_LISTEN": listen}).invoke(app, [words])
    assert gateway.requests


def test_ctrl_c_while_the_command_loads_is_silent(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(600)\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([PRISMA, "datasets"], env=environment, stdout=PIPE, stderr=PIPE, text=True) as loading:
        assert loading.stdout is not None
        assert loading.stdout.readline() == "loading\n"
        loading.send_signal(signal.SIGINT)
        _, stderr = loading.communicate(timeout=60)
    assert (loading.returncode, stderr) == (130, "")


def test_an_empty_list_says_so() -> None:
    with scripted([reply(200, {})]) as gateway:
        runner = CliRunner(env={"PRISMA_URL": gateway.url})
        for words, sentence in (
            ("datasets", "there are no datasets"),
            ("documents d", "d has no documents"),
            ("documents d --filter state=FAILED", "no document of d matches state=FAILED"),
            ("runs", "there are no runs"),
            ("jobs", "there are no jobs"),
            ("features r", "r has no features"),
            ("features r ferry --filter density>1", "no feature of r matches 'ferry' and density>1"),
            ("search d ferry --filter metadata.a=1", "no document of d matches 'ferry' with metadata.a=1"),
        ):
            ended = runner.invoke(app, words.split())
            assert (ended.exit_code, ended.stdout) == (0, "")
            assert sentence in ended.stderr


def test_passages_are_counted_as_passages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    data = reply(200, {"name": "datasets/d", "passages": {"maxTokens": 64}, "failedCount": "1"})
    done = {"name": "jobs/e", "kind": "embed-dataset", "state": "STATE_SUCCEEDED"}
    run = {"name": "runs/s", "dataset": "datasets/d", "codeCount": "12"}
    place = {"documentCount": 200, "outOfDistribution": True, "falseAlarmRate": 0.01}
    for words, answers, sentence in (
        ("search d ferry", [data, reply(200, {})], "no passage of d matches 'ferry'"),
        ("embed d", [data, reply(200, done), stream(done), data], "no passage of d waits to be embedded"),
        ("embed d", [data, reply(200, done), stream(done), data], "1 passage failed: `prisma documents d"),
        ("explain r a", [reply(200, run), reply(200, {"familiarity": place}), data], "0% of 200 passages of similar"),
        ("explain r a", [reply(200, run), reply(200, {"familiarity": place}), data], "1% of new passages get this"),
    ):
        with scripted(answers) as gateway:
            ended = CliRunner(env={"PRISMA_URL": gateway.url}).invoke(app, words.split())
        assert ended.exit_code == 0, ended.output
        assert sentence in ended.output


def test_a_job_that_was_asked_to_stop_is_stopping() -> None:
    job = Job(name="jobs/j", state=Job.STATE_RUNNING)
    assert operate.job_state(job) == "running"
    job.cancel_requested = True
    assert operate.job_state(job) == "stopping"
    job.state = Job.STATE_CANCELLED
    assert operate.job_state(job) == "cancelled"
    answer = {"name": "jobs/j", "state": "STATE_RUNNING", "cancelRequested": True}
    with scripted([reply(200, answer)]) as gateway:
        cancelled = CliRunner(env={"PRISMA_URL": gateway.url}).invoke(app, ["jobs", "j", "--cancel"])
    assert "`prisma jobs j` follows it" in cancelled.stderr


def test_the_list_of_jobs_says_why_those_that_run_take_their_time() -> None:
    slow = "Mostly waits for the model server ollama: 93% of the 41 s so far; 34 requests, median 1.2 s."
    job = Job(name="jobs/j", state=Job.STATE_RUNNING, bottleneck=Job.Bottleneck(explanation=slow))
    assert operate._JOB_COLUMNS[""](job) == slow
    job.state = Job.STATE_SUCCEEDED
    assert not operate._JOB_COLUMNS[""](job)


def test_a_run_that_a_job_trains_is_in_training() -> None:
    own = Job(name="jobs/t", kind="train-run", state=Job.STATE_RUNNING, resources=["runs/r", "datasets/d"])
    sweep = Job(name="jobs/s", kind="sweep-runs", state=Job.STATE_SUBMITTED, resources=["datasets/d"])
    states = [
        train.state_of(run, [own, sweep])
        for run in (
            Run(name="runs/r", state=Run.STATE_CREATED),
            Run(name="runs/s", state=Run.STATE_CREATED, job="jobs/s"),
            Run(name="runs/x", state=Run.STATE_CREATED, job="jobs/ended"),
            Run(name="runs/s", state=Run.STATE_TRAINED, job="jobs/s"),
        )
    ]
    assert states == ["training", "waiting to be trained", "created", "trained"]


@pytest.mark.parametrize("is_built", [True, False])
def test_the_doctor_and_the_stack_say_whether_the_page_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_built: bool
) -> None:
    gateway = tmp_path / "gateway"
    gateway.mkdir()
    (gateway / "__init__.py").touch()
    if is_built:
        (gateway / "web/dist").mkdir(parents=True)
        (gateway / "web/dist/index.html").touch()
    environment = {**os.environ, "PRISMA_URL": "http://127.0.0.1:9", "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([PRISMA, "doctor"], env=environment, capture_output=True, text=True, timeout=60)
    page = next(finding for finding in map(json.loads, ended.stdout.splitlines()) if finding["what"] == "page")
    assert (page["fine"], "make web" in (page["advice"] or "")) == (is_built, not is_built)
    monkeypatch.setattr(stack_module, "page_is_built", lambda: is_built)
    lines = stack_module.welcome(stack_module.Stack(tmp_path), tmp_path)
    assert any("make web" in line for line in lines) is not is_built


def test_a_held_out_fvu_that_was_not_measured_is_no_number() -> None:
    assert [output.held_out_fvu(Metrics(held_out_fvu=value)) for value in (0, 0.25)] == ["0.000", "0.250"]
    assert output.held_out_fvu(Metrics()) == "–"
