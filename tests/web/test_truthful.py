"""What the page shows is so: no lost text, no wrong number, and nothing unknown that is shown as empty."""

from __future__ import annotations

import json
import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from prisma.interpreter.v1.resources_pb2 import LabelTest, Trust
from prisma_client import Prisma
from tests.stack import DATASET, RUN, Stack
from tests.web.keys import press_enter

AWAY = {
    "code": 503,
    "status": "UNAVAILABLE",
    "message": "the interpreter is unreachable",
    "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_UNAVAILABLE"}],
}
IN_CONTENT = "document.activeElement.closest('dialog .content') !== null"


def training_job(state: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": "jobs/trainer.1",
        "service": "trainer",
        "kind": "train-run",
        "resources": [f"runs/{RUN}"],
        "state": state,
        "progress": {"done": "12", "total": "100", "unit": "steps", "secondsLeft": 1078, "message": ""},
        "createTime": "2026-11-26T16:00:00Z",
        "attempt": 1,
        "log": [],
        **fields,
    }


def test_a_label_is_edited_with_the_keyboard_alone(page: Page) -> None:
    page.goto(f"/runs/{RUN}/features?state=labelled&sort=-density")
    page.locator("tbody a.feature").first.click()
    history = page.locator("section", has=page.get_by_role("heading", name="Label history")).locator("li")
    expect(history.first).to_be_visible()
    count = history.count()
    page.keyboard.press("e")
    expect(page.get_by_label("Label", exact=True)).to_be_focused()
    page.keyboard.type("x y")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("x y")
    expect(history).to_have_count(count + 1)


@pytest.mark.parametrize(
    ("address", "button"),
    [
        (f"/runs/{RUN}", "Edit"),
        (f"/runs/{RUN}", "Delete run"),
        (f"/datasets/{DATASET}", "Delete dataset"),
        (f"/runs/{RUN}/features/1", "Label again"),
    ],
)
def test_dialogs_begin_in_their_first_field(page: Page, address: str, button: str) -> None:
    page.goto(address)
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate(IN_CONTENT)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_file_that_is_refused_leaves_no_dataset(page: Page, stack: Stack, tmp_path: Path) -> None:
    numbers, blank = tmp_path / "numbers.csv", tmp_path / "blank.json"
    numbers.write_text("id,count\n1,2\n3,4\n")
    blank.write_text('[{"id": 1, "text": " "}]')
    with Prisma(stack.url) as prisma:
        before = {dataset.id for dataset in prisma.datasets.list()}
        page.goto("/datasets?new=1")
        page.set_input_files("input[type=file]", numbers)
        expect(page.get_by_role("alert")).to_contain_text("no field holds texts; the fields are 'id', 'count'")
        expect(page.get_by_role("button", name="Import")).to_be_disabled()
        page.set_input_files("input[type=file]", blank)
        expect(page.get_by_text("1 of the first 20 would be rejected")).to_be_visible()
        page.get_by_role("button", name="Import").click()
        expect(page.get_by_role("alert")).to_contain_text("no dataset was created")
        assert {dataset.id for dataset in prisma.datasets.list()} == before


def test_a_table_is_shown_before_it_is_imported(page: Page, stack: Stack, tmp_path: Path) -> None:
    table = tmp_path / "reviews.csv"
    table.write_text("nr;avis;titre\n7;très bien écrit;Été\n8;assez court;Hiver\n", encoding="windows-1252")
    page.goto("/datasets?new=1")
    page.set_input_files("input[type=file]", table)
    first = page.get_by_role("region", name="First documents")
    expect(first).to_contain_text("très bien écrit")
    expect(first).to_contain_text("The encoding is taken as Windows-1252")
    page.get_by_label("Texts from").select_option("titre")
    expect(first.get_by_role("row").nth(1)).to_contain_text("Été")
    page.get_by_label("Ids from").select_option("nr")
    expect(first.get_by_role("row").nth(1)).to_contain_text("7")
    press_enter(page.get_by_role("button", name="Import"))
    expect(page.get_by_text("2 documents imported")).to_be_visible()
    with Prisma(stack.url) as prisma:
        data = prisma.datasets.get("reviews")
        try:
            assert [(document.key, document.text) for document in data.documents()] == [("7", "Été"), ("8", "Hiver")]
        finally:
            data.delete()


def test_how_a_file_is_read_can_be_chosen_where_it_is_not_found(page: Page, tmp_path: Path) -> None:
    table = tmp_path / "japanese.csv"
    table.write_text("番号,題名,本文\n1,春,これは日本語の文章です。\n2,夏,もう一つの文章です。\n", encoding="shift_jis")
    page.goto("/datasets?new=1")
    page.set_input_files("input[type=file]", table)
    expect(page.get_by_role("alert")).to_contain_text("choose another encoding")
    page.get_by_label("Encoding").fill("shift_jis")
    page.keyboard.press("Tab")
    first = page.get_by_role("region", name="First documents")
    expect(first.get_by_role("row").nth(1)).to_contain_text("これは日本語の文章です。")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_label("Texts from").select_option("題名")
    page.get_by_label("Joined with").select_option("本文")
    expect(first.get_by_role("row").nth(1)).to_contain_text("春 これは日本語の文章です。")
    page.set_input_files("input[type=file]", files=[{"name": "x.pdf", "mimeType": "", "buffer": b"%PDF-1.7"}])
    expect(page.get_by_role("alert")).to_contain_text("a PDF")
    expect(first).to_have_count(0)


def test_runs_are_compared_only_with_runs_on_the_same_dataset_and_model(page: Page) -> None:
    def answer(route: Route) -> None:
        runs = route.fetch().json()
        (run,) = [run for run in runs["runs"] if run["name"] == f"runs/{RUN}"]
        copies = [
            {
                **run,
                "name": f"runs/copy{n}",
                "dataset": dataset,
                "embeddingModel": model,
                "metrics": {**run["metrics"], "l0": n},
            }
            for n, (dataset, model) in enumerate(
                [
                    (run["dataset"], "ollama/other"),
                    ("datasets/other", run["embeddingModel"]),
                    (run["dataset"], run["embeddingModel"]),
                ],
                1,
            )
        ]
        route.fulfill(json={"runs": [run, *copies], "nextPageToken": ""})

    page.route("**/v1/runs?*", answer)
    page.goto("/runs")
    chart = page.get_by_role("group", name="L0 against FVU")
    expect(chart.get_by_role("link")).to_have_count(4)
    expect(chart.locator("polyline")).to_have_count(3)


def test_a_run_says_which_documents_it_leaves_out(page: Page, stack: Stack) -> None:
    prisma = Prisma(stack.url)
    data = prisma.datasets.create("partly", [f"a text about topic {row % 5}, number {row}" for row in range(40)])
    try:
        data.embed()
        data.add(["a document that is not embedded yet"])
        page.goto(f"/runs/new?dataset={data.id}")
        page.get_by_label("Epochs").fill("1")
        press_enter(page.get_by_role("button", name="Train", exact=True))
        expect(page.get_by_role("alert")).to_contain_text("1 of 41 documents")
        press_enter(page.get_by_role("button", name="Train without these documents"))
        expect(page.get_by_role("link", name="See features")).to_be_visible(timeout=30_000)
        expect(page.get_by_text("Trained on 40 of 41 rows")).to_be_visible()
    finally:
        data.delete()


def test_nothing_can_be_trained_before_the_datasets_are_known(page: Page) -> None:
    delayed: list[Route] = []
    delaying = True

    def delay(route: Route) -> None:
        if delaying:
            delayed.append(route)
        else:
            route.continue_()

    page.route("**/v1/datasets?*", delay)
    page.goto(f"/runs/new?dataset={DATASET}")
    start = page.get_by_role("button", name="Train", exact=True)
    expect(start).to_be_disabled()  # enabled, it would do nothing: the choice of a dataset is required and still empty
    delaying = False
    for route in delayed:
        route.continue_()
    expect(start).to_be_enabled()


def test_a_bar_is_as_long_as_the_score(page: Page) -> None:
    page.goto(f"/runs/{RUN}/search?q=abstract+base+class")
    expect(page.locator("li.hit").first).to_be_visible()
    for hit in page.locator("li.hit").all()[:5]:
        score = float(hit.locator(".row b.num").first.inner_text())
        track = hit.locator(".why").evaluate("bar => bar.clientWidth")
        drawn = hit.locator(".why").evaluate(
            "bar => [...bar.children].reduce((sum, part) => sum + part.offsetWidth, 0)"
        )
        assert abs(drawn / track - score) < 0.03


def test_a_run_in_training_is_shown_as_such_everywhere_with_one_time_left(page: Page) -> None:
    slow = "Mostly computes: 97% of the 41 s so far; the process used 1.9 of 2 CPU cores."
    jobs = [training_job("STATE_RUNNING", bottleneck={"kind": "KIND_CPU", "explanation": slow})]
    page.route("**/v1/jobs/trainer.1", lambda route: route.fulfill(json=jobs[0]))
    page.route("**/v1/jobs?*", lambda route: route.fulfill(json={"jobs": jobs, "nextPageToken": ""}))
    page.route("**/v1/jobs/trainer.1:watch*", lambda route: route.fulfill(body=json.dumps(jobs[0]) + "\n"))
    page.goto("/runs")
    expect(page.locator("tr", has_text=RUN).get_by_text(re.compile("^training 12.00"))).to_be_visible()
    page.goto("/")
    expect(page.get_by_role("main").get_by_text(re.compile("training 12.00"))).to_be_visible()
    page.goto(f"/runs/{RUN}")
    expect(page.get_by_role("main").get_by_text(re.compile("^training 12.00"))).to_be_visible()
    expect(page.get_by_text("17:58 left")).to_have_count(1)
    expect(page.get_by_text(re.compile("[0-9] s left"))).to_have_count(0)
    for path in ("/jobs", "/jobs/trainer.1"):
        page.goto(path)
        expect(page.get_by_text(slow)).to_be_visible()
    reading = {"done": "100", "total": "100", "unit": "vectors", "secondsLeft": 0, "message": "reading vectors"}
    jobs[0] = training_job("STATE_RUNNING", progress=reading)
    page.goto(f"/runs/{RUN}")
    expect(page.get_by_role("main").get_by_text("training", exact=True)).to_be_visible()
    expect(page.get_by_text("reading vectors")).to_be_visible()
    expect(page.get_by_role("progressbar")).not_to_have_attribute("aria-valuenow", re.compile(".*"))
    reason = "the embedder is unreachable"
    jobs[0] = training_job("STATE_WAITING", error={"code": 14, "message": reason, "details": []})
    page.goto("/runs")
    expect(page.locator("tr", has_text=RUN).get_by_text("waiting", exact=True)).to_have_attribute("title", reason)
    page.goto("/jobs")
    expect(page.get_by_text(f"Waiting: {reason}")).to_be_visible()


def test_labels_that_cannot_be_loaded_are_not_missing(page: Page) -> None:
    def runs(route: Route) -> None:
        listed = route.fetch().json()
        (run,) = [run for run in listed["runs"] if run["name"] == f"runs/{RUN}"]
        route.fulfill(json={"runs": [run, {**run, "name": "runs/other"}], "nextPageToken": ""})

    comparison = {
        "matches": [{"first": 1, "second": 2, "cosine": 0.9}],
        "lost": [],
        "gained": [],
        "split": [],
        "merged": [],
    }
    page.route("**/v1/runs?*", runs)
    page.route("**/v1/runs/*:compare?*", lambda route: route.fulfill(json={**comparison, "meanMaxCosine": 0.9}))
    page.route("**/v1/runs/*/labels:read*", lambda route: route.fulfill(status=503, json={"error": AWAY}))
    page.goto(f"/runs/compare?r={RUN},other")
    expect(page.get_by_text("Labels are not shown: the interpreter is unreachable")).to_be_visible()
    row = page.locator("tbody tr").first
    expect(row).to_contain_text("#1")
    expect(row).not_to_contain_text("no label")
    feature = {"index": 1, "label": {"text": "a name"}}
    page.unroute("**/v1/runs/*/labels:read*")
    page.route(
        "**/v1/runs/*/labels:read*", lambda route: route.fulfill(body=json.dumps({"features": [feature]}) + "\n")
    )
    page.get_by_role("button", name="Try again").click()
    expect(row).to_contain_text("a name")
    expect(row).to_contain_text("2 · no label")


def test_dead_means_the_same_on_every_page(page: Page, stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        about = prisma.runs.get(RUN).interpretation()
    assert about.dead_count
    page.goto("/runs")
    expect(page.get_by_role("columnheader", name="Dead")).to_be_visible()
    headers = page.get_by_role("columnheader").all_inner_texts()
    cell = page.locator("tr", has_text=RUN).locator("td").nth(headers.index("Dead"))
    expect(cell).to_contain_text("%")
    share = float(cell.inner_text().split("\u202f")[0])
    assert abs(share - 100 * about.dead_count / about.latent_count) < 0.01
    page.goto(f"/runs/{RUN}/features")
    expect(page.get_by_text(re.compile(rf"\b{about.dead_count} dead"))).to_be_visible()
    page.goto(f"/runs/{RUN}")
    tile = page.locator("dl.stats div", has_text="Dead latents")
    expect(tile).to_contain_text(re.compile(rf"\b{about.dead_count} latent"))


def test_a_page_that_arrives_late_does_not_join_another_list(page: Page, stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        dead = prisma.runs.get(RUN).interpretation().dead_count
    late: list[Route] = []
    page.route("**/features?*pageToken=*", lambda route: late.append(route))
    page.goto(f"/runs/{RUN}/features?sort=index")
    page.get_by_role("button", name="Show more").click()
    page.get_by_label("Dead").check()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(dead)
    with page.expect_response(re.compile("pageToken=[^&]")):
        late[0].continue_()
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert rows.count() == dead


def test_following_a_job_outlasts_an_interruption(page: Page, stack: Stack) -> None:
    interrupted: list[str] = []

    def cut(route: Route) -> None:
        interrupted.append(route.request.url)
        if len(interrupted) < 3:
            route.abort()
        else:
            route.continue_()

    page.route("**/v1/jobs/*:watch*", cut)
    with Prisma(stack.url) as prisma:
        data = prisma.datasets.create("cut", ["a text", "another"], dataset_id="cut")
        try:
            page.goto("/datasets/cut")
            page.get_by_role("button", name="Embed 2").click()
            expect(page.get_by_text("Embedding is done")).to_be_visible()
            assert len(interrupted) >= 3
        finally:
            data.delete()


def test_a_feature_that_is_not_trusted_says_what_it_misses(page: Page, stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        features = list(prisma.runs.get(RUN).features.list(filter="dead = false", order_by="index"))
    missing = [feature for feature in features if len(feature.missed_conditions) > 1]
    assert missing
    assert {feature.trust for feature in missing} <= {Trust.TRUST_OPEN, Trust.TRUST_DOUBTFUL}
    for feature in missing[:3]:
        page.goto(f"/runs/{RUN}/features/{feature.index}")
        explanations = [missed.explanation for missed in feature.missed_conditions]
        expect(page.locator(".misses li")).to_have_text(explanations)
    (unnamed, *_) = [feature for feature in features if feature.trust == Trust.TRUST_UNNAMED]
    page.goto(f"/runs/{RUN}/features/{unnamed.index}")
    expect(page.get_by_role("heading", name="Documents")).to_be_visible()
    expect(page.locator(".misses")).to_have_count(0)


SCORERS = {
    LabelTest.SCORER_WORDS: "words",
    LabelTest.SCORER_EMBEDDING: "embedding",
    LabelTest.SCORER_DECODER: "the feature itself (ceiling)",
}


def rounded(value: float) -> str:
    """Two decimals, halves up: as the page rounds."""
    return str(Decimal(value).quantize(Decimal("0.01"), ROUND_HALF_UP))


def share(value: float) -> str:
    """As the page writes shares."""
    return f"{rounded(value * 100)} %" if value else "0"


def interval(measured: LabelTest.Score | LabelTest.Correlation, *, present: bool = True) -> str:
    """A value with its interval; a dash where it was not measured."""
    if not present:
        return "–"
    return f"{rounded(measured.value)} ({rounded(measured.low)}–{rounded(measured.high)})"


def go_by_tab(page: Page, target: Locator) -> None:
    """Presses Tab until the target has the focus."""
    for _ in range(100):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("the target cannot be reached by Tab")


def test_a_label_is_scored_by_keys_and_what_scorers_measured_is_shown_with_intervals(page: Page, stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        features = prisma.runs.get(RUN).features
        index = next(
            feature.index
            for feature in features.list(filter="labelled = true")
            if feature.label.test.HasField("mentions") and not feature.label.test.measurements
        )
        page.goto(f"/runs/{RUN}/features/{index}")
        button = page.get_by_role("button", name="Score the label")
        expect(button).to_be_enabled()
        go_by_tab(page, button)
        page.keyboard.press("Enter")
        card = page.locator("section", has=page.get_by_role("heading", name="How well the label fits"))
        expect(card).to_be_visible(timeout=60_000)
        (test,) = [label.test for label in features.labels(index) if label.active]
    assert [measurement.scorer for measurement in test.measurements] == list(SCORERS)
    expect(card).to_contain_text("50 % is chance")
    expect(card).to_contain_text("95 % interval")
    rows = card.locator("table").first.locator("tbody tr")
    expect(rows).to_have_count(len(SCORERS))
    for row, measurement in zip(rows.all(), test.measurements, strict=True):
        cells = row.locator("td")
        expect(cells.first).to_contain_text(SCORERS[measurement.scorer])
        assert measurement.HasField("hard") and measurement.hard.low < measurement.hard.value
        expect(cells.nth(1)).to_have_text(interval(measurement.hard))
        expect(cells.nth(2)).to_have_text(interval(measurement.random, present=measurement.HasField("random")))
        expect(cells.nth(3)).to_have_text(rounded(measurement.floor) if measurement.HasField("floor") else "–")
    expect(card.locator("details")).to_have_count(0)  # of so few texts no tenth was measured
    for agreement in test.agreements:
        expect(card).to_contain_text(interval(agreement.correlation))
    assert_mentions_are_shown(page, test)
    assert_tenths_are_shown_on_demand(page, card)


def assert_tenths_are_shown_on_demand(page: Page, card: Locator) -> None:
    """As those of a label with many texts: a tenth of which there are too few has a dash."""

    def answer(route: Route) -> None:
        answered = route.fetch().json()
        for measurement in (
            part for label in answered["labels"] for part in label.get("test", {}).get("measurements", [])
        ):
            tenths = [{"decile": number, "score": measurement["hard"]} for number in range(1, 10)]
            measurement["deciles"] = [*tenths, {"decile": 10}]
        route.fulfill(json=answered)

    page.route("**/features/*/labels?*", answer)
    page.reload()
    hard = card.locator("table").first.locator("tbody td:nth-child(2)")
    expect(hard).to_have_count(len(SCORERS))
    tenths = card.locator("details table")
    expect(tenths).to_be_hidden()
    go_by_tab(page, card.locator("summary"))
    page.keyboard.press("Enter")
    expect(tenths).to_be_visible()
    rows = tenths.locator("tbody tr")
    expect(rows).to_have_count(10)
    expect(rows.first.locator("td")).to_have_text(["1", *hard.all_inner_texts()])
    expect(rows.last.locator("td")).to_have_text(["10", *["–"] * len(SCORERS)])


def assert_mentions_are_shown(page: Page, test: LabelTest) -> None:
    """The share of texts above the threshold that mention the label, with its interval, and that of similar texts."""
    tile = page.locator("dl.stats div", has_text="Texts that mention the label").locator("dd")
    mentions = test.mentions
    which = "above the threshold" if test.HasField("threshold") else "that activate it"
    expect(tile).to_have_text(
        f"{share(mentions.value)}of {mentions.document_count:,} held-out texts {which} ({share(mentions.low)} to "
        f"{share(mentions.high)}); {share(test.near_mentions.value)} of similar texts that do not"
    )
    alike, coherence = page.locator("dl.stats div", has_text="Alike apart from the label").locator("dd"), test.coherence
    expect(alike).to_contain_text(
        f"{share(coherence.value)}in so many cases two of the {coherence.active_count:,} texts"
    )
    expect(alike).to_contain_text(f"({share(coherence.low)} to {share(coherence.high)}; 50 % is chance)")
