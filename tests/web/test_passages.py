"""The page where texts are split: it counts passages, and shows each where it stands in its document."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from prisma_client import Prisma
from tests.stack import Stack
from tests.web.keys import press_enter

DATASET, RUN = "letters", "letters-run"
PLANTED = "The zebrafish swam through the luminescent aquarium at midnight."
PARTS = [f"Letter {part} speaks of harvest {part}, of ships and of the price of grain. " * 4 for part in range(30)]
TEXT = "".join([*PARTS[:20], PLANTED, " ", *PARTS[20:]])


@pytest.fixture(scope="module", autouse=True)
def letters(stack: Stack) -> Iterator[None]:
    with Prisma(stack.url) as prisma:
        short = [{"id": f"note-{row}", "text": f"A note about subject {row % 7}, number {row}."} for row in range(40)]
        dataset = prisma.datasets.create(
            "Letters", [{"id": "letters", "text": TEXT}, *short], dataset_id=DATASET, passages=64
        )
        dataset.embed()
        run = dataset.train(run_id=RUN, expansion=1, k=4, epochs=3, siblings=0)
        run.compute_statistics()
        yield
        dataset.delete()


def passage_count(stack: Stack) -> int:
    with Prisma(stack.url) as prisma:
        return prisma.datasets.get(DATASET).message.passages.passage_count


def test_datasets_and_trainings_count_passages(page: Page, stack: Stack) -> None:
    count = passage_count(stack)
    page.goto("/datasets")
    card = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="Letters", exact=True))
    expect(card.get_by_text("41 documents")).to_be_visible()
    expect(card.get_by_text(f"in {count} passages")).to_be_visible()
    page.goto(f"/datasets/{DATASET}")
    expect(page.locator(".stats")).to_contain_text(f"in {count} passages")
    page.goto(f"/runs/new?dataset={DATASET}")
    expect(page.get_by_role("option", name=f"Letters · {count} passages embedded")).to_have_count(1)
    page.goto(f"/runs/{RUN}")
    expect(page.get_by_text("One row per passage")).to_be_visible(timeout=30_000)


def test_a_hit_opens_its_document_at_the_passage_by_keys(page: Page) -> None:
    page.goto(f"/runs/{RUN}/search")
    expect(page.get_by_text("Ask in your own words")).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("input[name=q]")).to_be_focused()
    page.keyboard.type("zebrafish luminescent aquarium")
    page.keyboard.press("Enter")
    expect(page.locator(".hit").first).to_contain_text(re.compile(r"passage \d+ of \d+"))
    expect(page.get_by_text(re.compile(r"^\d+ passages? · "))).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"/datasets/{DATASET}/documents/letters\?at=\d+-\d+$"))
    expect(page.locator("mark")).to_contain_text(PLANTED)
    expect(page.locator("mark")).to_be_in_viewport()
    expect(page.get_by_role("heading", name="letters", exact=True)).to_be_visible()
    expect(page.locator(".sub")).to_have_text(re.compile(r"passage \d+ of \d+ · embedded"))

    selected = page.locator("ol a[aria-current]")
    expect(selected).to_have_count(1)
    press_enter(page.get_by_role("button", name="Earlier passages"))
    press_enter(page.locator("ol a").first)
    expect(page.locator("mark")).to_contain_text("Letter 0 speaks")
    expect(page.locator("mark")).to_be_in_viewport()
    expect(page.get_by_text("256 numbers")).to_be_visible()
    page.go_back()
    expect(page.locator("mark")).to_contain_text(PLANTED)

    press_enter(page.get_by_role("link", name="Analyze this passage"))
    expect(page.get_by_role("heading", name="letters", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile(r"^passage \d+ of \d+$")).first).to_be_visible()
    press_enter(page.get_by_role("link", name="Open document"))
    expect(page.locator("mark")).to_contain_text(PLANTED)


def test_a_dot_of_the_map_opens_its_document_at_the_passage(page: Page, stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        dataset = prisma.datasets.create(
            "Map", [{"id": "letters", "text": TEXT}], dataset_id="passages-on-a-map", passages=64
        )
        dataset.embed()
        try:
            page.goto("/datasets/passages-on-a-map?view=statistics")
            page.get_by_role("application", name=re.compile("^Map of the vectors by PCA")).press("ArrowRight")
            expect(page.locator("#map-dot")).to_contain_text(re.compile(r"^letters passage \d+ of \d+"))
            expect(page.locator("#map-dot a")).to_have_attribute("href", re.compile(r"/letters\?at=\d+-\d+$"))
            page.keyboard.press("Enter")
            expect(page).to_have_url(re.compile(r"/documents/letters\?at=\d+-\d+$"))
            expect(page.locator("mark")).to_contain_text("Letter")
        finally:
            dataset.delete()


def test_a_search_can_show_all_passages_of_a_document(page: Page) -> None:
    page.goto(f"/runs/{RUN}/search?q=harvest&mode=text")
    expect(page.locator(".hit")).to_have_count(1)
    page.get_by_label("Show all passages of a document").press("Space")
    expect(page).to_have_url(re.compile("passages=all"))
    expect(page.locator(".hit")).to_have_count(20)
    assert len({hit.inner_text() for hit in page.locator(".hit .row .t3").all()}) > 1


def test_examples_of_a_feature_are_passages(page: Page, stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        features = prisma.runs.get(RUN).features.list(filter="dead = false", limit=1)
        index = next(iter(features)).index
    page.goto(f"/runs/{RUN}/features/{index}")
    expect(page.get_by_role("heading", name="Passages", exact=True)).to_be_visible()


@pytest.mark.parametrize("width", [390, 1920])
def test_a_long_document_fits(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/datasets/{DATASET}/documents/letters")
    expect(page.locator("ol a").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("ol a").nth(2).press("Enter")
    expect(page.locator("mark")).to_be_in_viewport()


def test_a_run_encodes_another_dataset_by_keys(page: Page, stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        notes = [{"id": f"n{row}", "text": f"A note about subject {row % 5}, number {row}."} for row in range(30)]
        dataset = prisma.datasets.create("Notes", notes, dataset_id="encoded-notes")
        dataset.embed()
        try:
            page.goto(f"/runs/{RUN}")
            press_enter(page.get_by_role("button", name="Choose a dataset"))
            dialog = page.get_by_role("dialog")
            dialog.get_by_label("Dataset").select_option("Notes")
            expect(dialog).to_contain_text("This encodes 30 documents of Notes with the weights of letters-run")
            press_enter(dialog.get_by_role("button", name="Encode", exact=True))
            expect(page.get_by_text("Done, with 0 labels")).to_be_visible(timeout=60_000)
            press_enter(page.get_by_role("link", name=re.compile("^Open .*notes")))
            expect(page.get_by_text("One row per document")).to_be_visible(timeout=30_000)
        finally:
            dataset.delete()
