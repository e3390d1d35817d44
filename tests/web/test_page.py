"""The page in a real browser, before a whole stack."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from prisma_client import Prisma
from services.interpreter import trust
from tests.stack import DATASET, RUN, Stack
from tests.web.keys import press_enter

Theme: TypeAlias = Literal["light", "dark"]
AXE = Path(__file__).parents[2] / "gateway/web/node_modules/axe-core/axe.min.js"

PLACES = [
    "/",
    "/datasets?new=1",
    f"/datasets/{DATASET}",
    f"/datasets/{DATASET}?view=statistics",
    f"/datasets/{DATASET}/documents/abc.ABC",
    "/runs",
    "/runs/new",
    f"/runs/{RUN}",
    f"/runs/{RUN}/features",
    f"/runs/{RUN}/features/1",
    f"/runs/{RUN}/search?q=base+class&boost=1:2,2:-1,families/9-999:1",
    f"/runs/{RUN}/analyze?doc=datasets/{DATASET}/documents/abc.ABC",
    f"/runs/{RUN}/families",
    f"/runs/{RUN}/families?view=matrix",
    "/jobs",
    "/status",
    "/no-such-page",
]


VIOLATIONS = """rules => axe.run({runOnly: rules, resultTypes: ['violations']})
    .then(({violations}) => violations.map(({id, nodes}) => [id, nodes[0].html.slice(0, 200)]))"""
"""The first element of each rule that is violated: all results are megabytes, which take longer than the rules."""
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]
RULES_OF_COLOURS = ["color-contrast", "link-in-text-block"]
"""Those of RULES whose result depends on the theme, which changes colours and nothing else."""


@pytest.mark.parametrize(
    ("width", "themes"), [(390, ("light", "dark")), (1280, ("dark", "light")), (1920, ("light", "dark"))]
)
def test_every_place_is_accessible_and_fits(
    browser: Browser, stack: Stack, width: int, themes: Sequence[Theme]
) -> None:
    """Loaded in the first theme, switched to the second, in which the rules of colours apply anew."""
    context = browser.new_context(
        base_url=stack.url,
        viewport={"width": width, "height": 900},
        reduced_motion="reduce",  # colours change at once
        bypass_csp=True,
    )
    page = context.new_page()
    for place in PLACES:
        page.emulate_media(color_scheme=themes[0])
        page.goto(place)
        expect(page.locator("h1").first).to_be_visible()
        page.wait_for_load_state("networkidle")
        expect(page.locator(".sk")).to_have_count(0)
        page.add_script_tag(content=AXE.read_text())
        for theme, rules in zip(themes, (RULES, RULES_OF_COLOURS), strict=True):
            page.emulate_media(color_scheme=theme)
            expect(page.locator("html")).to_have_attribute("data-theme", theme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{place} scrolls sideways"
            assert page.evaluate(VIOLATIONS, rules) == [], (place, theme)
    context.close()


MAX_SCRIPT_BYTES, MAX_STYLE_BYTES = 90_000, 15_000
"""Compressed, for what every first visit loads; pages that few open are in scripts of their own."""


@pytest.mark.parametrize(("files", "most"), [("*.js", MAX_SCRIPT_BYTES), ("*.css", MAX_STYLE_BYTES)])
def test_a_first_visit_loads_little(files: str, most: int) -> None:
    dist = Path(__file__).parents[2] / "gateway/web/dist"
    index = (dist / "index.html").read_text()
    loaded = [file.read_bytes() for file in (dist / "assets").glob(files) if file.name in index]
    assert 0 < sum(len(gzip.compress(content)) for content in loaded) <= most


def test_a_file_becomes_a_searchable_dataset_and_goes_again(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    rows = [{"id": f"d{row}", "text": f"a text about topic {row % 3}, number {row}"} for row in range(30)]
    file.write_text("\n".join(json.dumps(row) for row in rows) + '\n{"id": "bad"}\n')
    page.goto("/datasets?new=1")
    expect(page.get_by_text("Spelling level: ")).to_be_visible()  # what the built-in model is
    page.set_input_files("input[type=file]", file)
    page.get_by_label("Name", exact=True).fill("Own texts")
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_text("30 documents imported")).to_be_visible()
    expect(page.get_by_text("1 item rejected")).to_be_visible()
    page.get_by_role("link", name="Open the dataset").click()
    expect(page).to_have_url(re.compile("/datasets/own-texts$"))
    expect(page.get_by_text("30 added, 1 item rejected")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Rejected items").click()
    assert "MISSING_TEXT" in download.value.path().read_text()
    page.get_by_role("button", name="Embed 30").click()
    expect(page.get_by_text("Embedding is done")).to_be_visible(timeout=30_000)

    page.get_by_role("link", name="Train a run").click()
    page.get_by_label(re.compile("^Goal")).select_option("Custom sizes")
    page.get_by_label(re.compile("^Latents")).fill("64")
    page.get_by_label(re.compile("^k ")).fill("4")
    page.get_by_label("Epochs").fill("2")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_role("link", name="See features")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("img", name=re.compile("^Activations of"))).to_be_visible(timeout=30_000)
    page.get_by_role("link", name="See features").click()
    page.get_by_role("button", name=re.compile("^Label [0-9]+ features")).click(timeout=30_000)
    expect(page.get_by_text("Labelling is done")).to_be_visible(timeout=30_000)

    page.goto("/datasets/own-texts?state=EMBEDDED&q=topic")
    expect(page.locator("tbody tr")).to_have_count(30)
    page.goto("/datasets/own-texts?q=number 1")
    expect(page.locator("tbody tr")).to_have_count(11)  # 1 and 10 to 19
    page.get_by_role("button", name="Delete these documents").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("11 documents that match")).to_be_visible()
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("Deleting documents is done")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("No document matches")).to_be_visible()
    expect(page.locator("dl.stats dd").first).to_have_text("19")
    page.get_by_role("button", name="Delete dataset").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
    dialog.get_by_role("textbox").fill("own-texts")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("own-texts was deleted")).to_be_visible()
    expect(page).to_have_url(re.compile("/datasets$"))


def test_a_trained_run_is_evaluated_and_gives_its_settings_to_another(page: Page) -> None:
    page.goto(f"/runs/{RUN}")
    page.get_by_role("button", name="Evaluate").click()
    card = page.locator("section", has=page.get_by_role("heading", name="Evaluation"))
    expect(card.get_by_text("kNN overlap@10")).to_be_visible()
    expect(card.get_by_text("held-out vectors")).to_be_visible()
    page.get_by_role("link", name="Train another").click()
    expect(page).to_have_url(re.compile(rf"/runs/new\?from={RUN}$"))
    expect(page.get_by_text(f"With the settings of {RUN}")).to_be_visible()
    expect(page.get_by_label("Epochs")).not_to_have_value("")


def test_a_training_is_paused_and_resumed(page: Page, stack: Stack) -> None:
    prisma = Prisma(stack.url)
    run = prisma.runs.create(DATASET, run_id="long", config={"epochs": 20_000, "expansion": 1, "k": 4})
    try:
        run.train(wait=False)
        page.goto("/runs/long")
        expect(page.locator("dt", has_text="L0").first.locator("xpath=following-sibling::dd")).not_to_contain_text("–")
        page.get_by_role("button", name="Pause").click()
        resume = page.get_by_role("button", name="Resume")
        expect(resume).to_be_visible()
        resume.click()
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
    finally:
        run.delete()


def test_a_sweep_is_compared_in_a_table_and_a_picture(page: Page, stack: Stack) -> None:
    runs = Prisma(stack.url).datasets.get(DATASET).sweep(ks=[4, 8], expansion=1, epochs=1, siblings=0)
    try:
        (tag,) = runs[0].message.tags
        page.goto(f"/runs?tag={tag}")
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.get_by_role("columnheader", name="nDCG@10")).to_be_visible()
        chart = page.get_by_role("group", name="L0 against FVU")
        expect(chart.get_by_role("link")).to_have_count(2)
        chart.get_by_role("link", name=re.compile("L0 4.0")).focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("Gradient norm").first).to_be_visible()
        expect(page.get_by_title(tag)).to_be_visible()
        page.get_by_role("button", name="Edit").click()
        page.get_by_role("textbox", name="Notes").fill("few latents, for a picture")
        page.get_by_role("textbox", name="Tags").fill(f"{tag}, kept")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("few latents, for a picture")).to_be_visible()
        expect(page.get_by_role("link", name="kept")).to_be_visible()
        page.get_by_role("button", name="Push to the store").click()
        expect(page.get_by_text("PRISMA_TRAINER_PUSH_URL")).to_be_visible()
        first, second = (run.name.removeprefix("runs/") for run in runs)
        page.goto(f"/runs/compare?r={first},{second}")
        expect(page.get_by_text(f"What became of the 256 latents of {first}")).to_be_visible()
        expect(page.locator("tbody tr").first).to_be_visible()
        page.get_by_role("button", name=re.compile("^Lost")).click()
        expect(page).to_have_url(re.compile("show=lost"))
        page.get_by_role("button", name="Carry labels").click()
        page.get_by_role("dialog").get_by_role("button", name="Carry labels").click()
        expect(page.get_by_text(re.compile(r"labels carried to \d+ matching features"))).to_be_visible()
    finally:
        for run in runs:
            run.delete()


def test_features_are_sorted_filtered_and_kept_in_the_address(page: Page, stack: Stack) -> None:
    page.goto(f"/runs/{RUN}/features")
    rows = page.locator("tbody tr")
    expect(rows.first).to_be_visible()
    page.get_by_role("columnheader", name="Max").get_by_role("button").click()
    expect(page).to_have_url(re.compile("sort=-max_activation"))
    with Prisma(stack.url) as prisma:
        (feature,) = prisma.runs.get(RUN).features.list(order_by="max_activation desc", limit=1)
    strongest = str(feature.index)
    expect(rows.first.locator("td").first).to_have_text(strongest)
    page.get_by_label("Dead").check()
    expect(page).to_have_url(re.compile("state=dead"))
    page.go_back()
    expect(rows.first.locator("td").first).to_have_text(strongest)
    page.get_by_label("Label, description or number").fill(strongest)
    expect(page).to_have_url(re.compile(f"q={strongest}"))
    page.reload()
    expect(page.get_by_label("Label, description or number")).to_have_value(strongest)
    expect(rows.filter(has_text=strongest).first).to_be_visible()
    with page.expect_download() as download:
        page.locator("summary", has_text="Features").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == f"{RUN}-features.csv"
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("index,label,trust,")
    assert all(strongest in line for line in lines[1:]), "only what the list shows"


def test_labels_of_a_file_are_shown_before_they_are_written(page: Page, stack: Stack, tmp_path: Path) -> None:
    page.goto(f"/runs/{RUN}/features")
    with Prisma(stack.url) as prisma:
        (feature,) = prisma.runs.get(RUN).features.list(order_by="trust", limit=1)
        before = prisma.runs.get(RUN).features.get(feature.index).label
        file = tmp_path / "labels.csv"
        file.write_text(f"index;label\n{feature.index};Fähren\n99999;none\n", encoding="windows-1252")
        page.get_by_role("button", name="Import labels").press("Enter")
        page.set_input_files("input[type=file]", file)
        expect(page.get_by_role("status").filter(has_text="1 label would be written")).to_be_visible()
        expect(page.get_by_role("dialog")).to_contain_text("Row 2: index: expected 0 to")
        assert prisma.runs.get(RUN).features.get(feature.index).label.text == before.text
        page.get_by_role("button", name="Write 1 label", exact=True).press("Enter")
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert prisma.runs.get(RUN).features.get(feature.index).label.text == "Fähren"
        prisma.runs.get(RUN).features.activate(before.name)
    with page.expect_download() as download:
        page.get_by_role("button", name="Documents CSV").press("Enter")
    assert download.value.suggested_filename == f"{RUN}-table.csv"
    assert download.value.path().read_bytes().startswith(b"\xef\xbb\xbfid,text,")


def test_labels_of_an_earlier_file_are_neither_shown_nor_written(page: Page, tmp_path: Path) -> None:
    earlier, later = tmp_path / "earlier.csv", tmp_path / "later.csv"
    earlier.write_text("index,label\n1,Earlier label\n2,Another label\n")
    later.write_text("index,label\n1,Later label\n" + "".join(f"{90_000 + row},none\n" for row in range(60)))
    uploads: list[Route] = []
    page.route(re.compile("labels:import"), lambda route: uploads.append(route), times=1)
    page.goto(f"/runs/{RUN}/features")
    page.get_by_role("button", name="Import labels").press("Enter")
    dialog = page.get_by_role("dialog")
    with page.expect_request(re.compile("labels:import")):
        page.set_input_files("input[type=file]", earlier)
    page.set_input_files("input[type=file]", later)
    expect(dialog.get_by_role("cell", name="Later label")).to_be_visible()
    expect(dialog.get_by_text("and 10 more")).to_be_visible()
    with page.expect_response(re.compile("labels:import")) as answer:
        uploads[0].continue_()
    answer.value.finished()
    page.evaluate("new Promise(requestAnimationFrame)")
    expect(dialog.get_by_role("status")).to_contain_text("1 label would be written")
    expect(dialog).not_to_contain_text("Earlier label")


def test_the_words_of_trust_are_explained_and_the_most_trusted_features_come_first(page: Page, stack: Stack) -> None:
    page.goto(f"/runs/{RUN}/features")
    rows = page.locator("tbody tr")
    with Prisma(stack.url) as prisma:
        first, second = prisma.runs.get(RUN).features.list(order_by="trust", limit=2)
    expect(rows.first.locator("td").first).to_have_text(str(first.index))
    for feature in (first, second):
        page.keyboard.press("j")
        expect(page.locator(":focus")).to_have_attribute("href", f"/runs/{RUN}/features/{feature.index}")
    page.get_by_text("What these words mean").click()
    rule = page.get_by_text("A trusted label needs all of this")
    for limit in (
        f"stability of at least {trust.STABLE:.2f}",
        f"begins at {trust.TRUSTED_SCORE:.2f} or above, on at least {trust.TRUSTED_DOCUMENTS} texts",
        f"{trust.TRUSTED_MENTIONS * 100:.0f} % (lower end",
        f"at most {trust.TRUSTED_NEAR_MENTIONS * 100:.0f} % of similar texts",
        f"at most {trust.TRUSTED_BREADTH * 3:.0f} texts for each 3",
        f"at least {trust.TRUSTED_COHERENCE * 100:.0f} % of cases",
    ):
        expect(rule).to_contain_text(limit)
    page.get_by_label("Trusted").check()  # a run without other trainings has none
    expect(page.get_by_role("heading", name="No feature of this run is trusted")).to_be_visible()
    page.get_by_role("link", name="Show open features").press("Enter")
    expect(rows.first.get_by_text("open").last).to_be_visible()


def test_a_feature_steers_a_search_by_its_label_and_its_slider_leaves_letters_to_the_page(page: Page) -> None:
    page.goto(f"/runs/{RUN}/features?state=labelled&sort=-density")
    page.locator("tbody a.feature").first.press("Enter")
    label = page.locator("h1").inner_text()
    page.get_by_role("link", name="Search by it").press("Enter")
    expect(page).to_have_url(re.compile(r"/search\?q=.+&boost=\d+:1$"))
    slider = page.get_by_role("slider", name=re.compile(f"^Steer by {re.escape(label)} "))
    expect(slider).to_have_value("1")
    slider.press("/")
    query = page.get_by_label("What are you looking for?")
    expect(query).to_be_focused()
    hit = page.locator(".hit").first.get_by_role("link").first
    expect(hit).to_be_visible()
    query.press("ArrowDown")
    expect(hit).to_be_focused()
    index = re.search(r"boost=(\d+)", page.url)
    assert index
    page.goto(f"/runs/{RUN}/search?q=zebra&boost={index[1]}:+2")  # as written by hand
    expect(slider).to_have_value("2")


def test_a_label_is_edited_undone_and_rolled_back(page: Page) -> None:
    page.goto(f"/runs/{RUN}/features?state=labelled&sort=-density")
    page.locator("tbody a.feature").first.click()
    title = page.locator("h1")
    expect(page.get_by_text("Label history")).to_be_visible()
    before = title.inner_text()
    page.keyboard.press("e")
    page.get_by_label("Label", exact=True).fill("Edited by hand")
    page.get_by_role("button", name="Save").click()
    expect(title).to_have_text("Edited by hand")
    page.get_by_role("button", name="Undo").click()
    expect(title).to_have_text(before)
    page.get_by_role("listitem").filter(has_text="Edited by hand").get_by_role("button", name="Use").click()
    expect(title).to_have_text("Edited by hand")
    page.keyboard.press("l")
    page.get_by_role("dialog").get_by_role("button", name="Label again").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(title).not_to_have_text("Edited by hand")
    page.keyboard.press("]")
    expect(page).to_have_url(re.compile(r"features/\d+"))


def test_the_analyzer_says_that_a_text_is_unlike_the_dataset(page: Page) -> None:
    page.goto(f"/runs/{RUN}/analyze")
    page.get_by_label("Type or paste a text").fill("xqzv wrtkp qqjhv plmzx gfdsk vbnqw")
    page.get_by_role("button", name="Analyze").click()
    expect(page.get_by_text("This text is unlike the documents of the dataset")).to_be_visible()
    page.get_by_label("Type or paste a text").fill("Return the path of a file.")
    page.get_by_role("button", name="Analyze").click()
    expect(page.get_by_text("Return the path of a file.", exact=True).last).to_be_visible()
    expect(page.get_by_text("This text is unlike the documents of the dataset")).to_be_hidden()


def test_a_feature_shows_documents_of_each_decile_and_near_misses(page: Page) -> None:
    page.goto(f"/runs/{RUN}/features?state=labelled&sort=-density")
    page.locator("tbody a.feature").first.click()
    page.get_by_role("button", name="By decile").click()
    expect(page).to_have_url(re.compile("show=decile"))
    deciles = page.get_by_role("group", name="Deciles of the activation").get_by_role("button")
    expect(deciles.first).to_be_visible()
    deciles.first.click()
    expect(page).to_have_url(re.compile("decile=1"))
    page.get_by_role("button", name="Near misses").click()
    expect(page.get_by_text("They do not activate the feature, though")).to_be_visible()


def test_search_says_why_and_the_analyzer_shows_the_code(page: Page) -> None:
    page.goto(f"/runs/{RUN}/search")
    page.get_by_label("What are you looking for?").fill("abstract base class")
    page.keyboard.press("Enter")
    expect(page.locator("li.hit").first).to_be_visible()
    expect(page.locator("li.hit .why").first).to_have_attribute("aria-label", re.compile("text"))
    for mode, address in (("Vector", "vector"), ("Features", "features"), ("Text", "text")):
        page.get_by_role("button", name=mode, exact=True).click()
        expect(page).to_have_url(re.compile(f"mode={address}"))
        expect(page.locator("li.hit").first).to_be_visible()
    page.get_by_role("button", name=re.compile("^Steer by")).first.click()
    expect(page).to_have_url(re.compile(r"boost=\d+%3A1"))
    slider = page.get_by_role("slider", name=re.compile("^Steer by"))
    slider.fill("3")
    expect(page).to_have_url(re.compile(r"boost=\d+%3A3"))
    expect(page.locator("li.hit").first.locator("a.chip.on > .num")).to_have_text(re.compile(r"^\+"))
    page.reload()
    expect(slider).to_have_value("3")
    page.get_by_role("button", name=re.compile("^Steer no more by")).click()
    expect(page).not_to_have_url(re.compile("boost="))
    page.get_by_role("link", name=re.compile("^Open in analyzer")).first.click()
    expect(page.get_by_role("img", name=re.compile("^Sparse code with"))).to_be_visible()
    page.get_by_role("img", name=re.compile("^Sparse code with")).press("ArrowRight")
    expect(page).to_have_url(re.compile("at="))
    page.goto(f"/runs/{RUN}/analyze")
    page.get_by_label("Type or paste a text").fill("<b>an abstract class</b>")
    page.get_by_role("button", name="Analyze").click()
    expect(page.locator("p.doc")).to_have_text("<b>an abstract class</b>")


def test_a_run_is_drawn_as_a_whole(page: Page, tmp_path: Path) -> None:
    page.goto(f"/runs/{RUN}")
    picture = page.get_by_role("img", name=re.compile("^Activations of"))
    picture.press("ArrowRight")
    expect(page.get_by_text(re.compile("^Row [0-9]"))).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("button", name="PNG").click()
    assert saved.value.suggested_filename == f"{RUN}-activations.png"
    saved.value.save_as(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as lines:
        page.get_by_role("link", name="JSON lines").click()
    assert lines.value.suggested_filename == f"{RUN}-activations.jsonl"
    picture.press("Enter")
    expect(page).to_have_url(re.compile("/analyze.doc=datasets/"))

    page.goto(f"/runs/{RUN}/families")
    page.get_by_role("button", name="Matrix").click()
    expect(page.get_by_label("Count activations below thresholds")).to_have_count(1)  # one that builds families is away
    for kind in ("Co-occurrence", "Decoder", "Activation"):
        page.get_by_role("button", name=kind).click()
        expect(page.get_by_role("img", name=re.compile(f"^{kind} of [0-9]+ features"))).to_be_visible()
    expect(page).to_have_url(re.compile("view=matrix&kind=activation_cosine"))
    page.get_by_role("img", name=re.compile("^Activation of")).press("ArrowDown")
    expect(page.get_by_text("1.000")).to_be_visible()  # of the first with itself
    page.get_by_role("img", name=re.compile("^Activation of")).press("Enter")
    expect(page).to_have_url(re.compile("/features/[0-9]+$"))
    page.get_by_role("button", name="Mean and variance").click()
    expect(page.get_by_role("heading", name="Mean and variance")).to_be_visible()


def test_a_heatmap_waits_for_the_statistics_of_a_new_run(page: Page) -> None:
    requests: list[str] = []
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "STATISTICS_NOT_COMPUTED"}

    def answer(route: Route) -> None:
        requests.append(route.request.url)
        if len(requests) > 1:
            route.continue_()
        else:
            route.fulfill(status=400, json={"error": {"code": 400, "message": "not yet", "details": [detail]}})

    page.route("**/activations:sample*", answer)
    page.goto(f"/runs/{RUN}")
    expect(page.get_by_text("computed automatically within seconds")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Activations of"))).to_be_visible()
    assert len(requests) == 2


def test_families_jobs_and_status(page: Page) -> None:
    page.goto(f"/runs/{RUN}/families")
    expect(page.locator("svg circle").first).to_be_visible()
    page.locator("details summary").first.click()
    page.get_by_role("button", name=re.compile("^Graph [0-9]+")).first.click()
    expect(page).to_have_url(re.compile("at="))
    page.goto("/jobs")
    page.get_by_role("main").get_by_role("link", name="Training").first.click()
    expect(page.get_by_role("heading", name="Log")).to_be_visible()
    page.goto("/status")
    expect(page.get_by_role("heading", name="interpreter")).to_be_visible()
    expect(page.get_by_text("ollama").first).to_be_visible()


def test_the_hands_stay_on_the_keys(page: Page) -> None:
    page.goto(f"/runs/{RUN}")
    expect(page.get_by_role("link", name=re.compile("^Families"))).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("f")
    expect(page).to_have_url(re.compile("/features$"))
    page.keyboard.press("/")
    expect(page.get_by_label("Label, description or number")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("status")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/status$"))
    expect(page.locator("h1")).to_be_focused()
    dark = page.evaluate("document.documentElement.dataset.theme")
    page.keyboard.press("Shift+D")
    assert page.evaluate("document.documentElement.dataset.theme") != dark
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_navigation_by_keys_ends_in_the_field_to_type_in(page: Page) -> None:
    page.goto(f"/runs/{RUN}")
    expect(page.get_by_role("link", name=re.compile("^Families"))).to_be_visible()
    page.keyboard.type("gs")
    expect(page.get_by_label("What are you looking for?")).to_be_focused()
    page.keyboard.type("space game")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/search\?q=space\+game$"))
    page.goto(f"/runs/{RUN}")
    expect(page.get_by_role("link", name=re.compile("^Families"))).to_be_visible()
    page.keyboard.type("ga")
    expect(page.get_by_label("Type or paste a text")).to_be_focused()
    expect(page.get_by_label("Type or paste a text")).to_have_value("")


def test_every_page_of_a_run_shows_itself_as_code(page: Page) -> None:
    for address, call in ((f"runs/{RUN}", "TrainerService/GetRun"), (f"runs/{RUN}/features/1", "GetFeature")):
        page.goto(f"/{address}")
        expect(page.get_by_role("button", name="As code")).to_be_visible()
        page.keyboard.press(".")
        dialog = page.get_by_role("dialog", name="As code")
        expect(dialog.locator("pre")).to_contain_text(f"/v1/{address}")
        dialog.get_by_role("button", name="gRPC").click()
        expect(dialog.locator("pre")).to_contain_text(call)


def test_the_focus_stays_in_the_page(page: Page, stack: Stack, tmp_path: Path) -> None:
    """Through import, embedding, labelling and families: with keys alone."""
    file = tmp_path / "keys.jsonl"
    file.write_text("\n".join(json.dumps({"id": row, "text": f"topic {row % 3}, number {row}"}) for row in range(30)))
    page.goto("/datasets")
    press_enter(page.get_by_role("button", name="New dataset"))
    expect(page.get_by_label("File of documents")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_label("File of documents")).to_have_count(0)
    expect(page.get_by_role("button", name="New dataset")).to_be_focused()
    page.keyboard.press("Enter")
    page.set_input_files("input[type=file]", file)
    press_enter(page.get_by_role("button", name="Import"))
    expect(page.get_by_text("30 documents imported")).to_be_visible()
    expect(page.get_by_role("button", name="Import")).to_be_focused()
    with Prisma(stack.url) as prisma:
        data = prisma.datasets.get("keys")
        try:
            page.goto("/datasets/keys")
            press_enter(page.get_by_role("button", name="Embed 30"))
            expect(page.get_by_role("link", name="Train a run")).to_be_visible()
            expect(page.locator("h1")).to_be_focused()
            run = data.train(run_id="keys", latent_count=16, k=4, epochs=2, siblings=0)
            run.compute_statistics()
            page.goto("/runs/keys")
            press_enter(page.get_by_role("button", name=re.compile(r"^Label [0-9]+ features")))
            expect(page.get_by_text("Labelling is done")).to_be_visible()
            expect(page.get_by_role("button", name=re.compile("^Label [0-9]+"))).to_have_count(0)
            expect(page.locator("h1")).to_be_focused()
            page.goto("/runs/keys/families")
            press_enter(page.get_by_role("button", name="Build families"))
            expect(page.get_by_text("Building families is done")).to_be_visible()
            expect(page.locator("h1")).to_be_focused()
            page.goto("/runs/keys/features")
            page.locator("tbody a.feature").first.press("Enter")
            expect(page).to_have_url(re.compile("/features/[0-9]+$"))
            expect(page.locator("h1")).to_be_focused()
        finally:
            data.delete()


@pytest.mark.parametrize(
    "address", ["datasets/none", "runs/none", "runs/none/features", "runs/none/search", "runs/none/families"]
)
def test_what_does_not_exist_is_told_once(page: Page, address: str) -> None:
    page.goto(f"/{address}")
    expect(page.get_by_role("heading", name=re.compile("^There is no (dataset|run) "))).to_have_count(1)
    expect(page.get_by_role("main").locator("input, [role=alert], .sk")).to_have_count(0)


def test_families_that_are_not_built_are_not_asked_for(page: Page) -> None:
    requests: list[str] = []

    def answer(route: Route) -> None:
        about = route.fetch().json()
        del about["familiesTime"]
        route.fulfill(json={**about, "familyCount": 0})

    page.on("request", lambda request: requests.append(request.url))
    page.route("**/interpretation", answer)
    page.goto(f"/runs/{RUN}/families")
    expect(page.get_by_text("No families yet")).to_be_visible()
    page.goto(f"/runs/{RUN}/features")
    expect(page.locator("tbody tr").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert [url for url in requests if re.search("/v1/.*(families|graph)", url)] == []


def test_what_is_away_is_told_and_not_empty(page: Page) -> None:
    page.route("**/v1/runs/*/features*", lambda route: route.fulfill(status=503, json={"error": _AWAY}))
    page.goto(f"/runs/{RUN}/features")
    expect(page.get_by_role("alert").first).to_contain_text("the interpreter does not answer")
    expect(page.get_by_text("No feature matches")).to_have_count(0)
    page.unroute("**/v1/runs/*/features*")
    page.get_by_role("button", name="Try again").last.click()
    expect(page.locator("tbody tr").first).to_be_visible()


_AWAY = {
    "code": 503,
    "status": "UNAVAILABLE",
    "message": "the interpreter does not answer",
    "details": [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_UNAVAILABLE", "domain": "prisma"}
    ],
}
