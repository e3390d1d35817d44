"""Statistics and the map of a dataset on its page."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from prisma_client import Prisma
from tests.stack import DATASET, Stack
from tests.web.keys import press_enter


def test_statistics_are_computed_from_the_page_and_say_when_they_are_stale(page: Page, stack: Stack) -> None:
    texts = [f"The harbour pilot of the town number {row} boards the ferry." for row in range(30)]
    with Prisma(stack.url) as prisma:
        data = prisma.datasets.create("Statistics", [*texts, texts[0]], dataset_id="statistics-page")
        try:
            data.embed()
            page.goto("/datasets/statistics-page")
            press_enter(page.get_by_role("button", name="Statistics"))
            expect(page).to_have_url(re.compile("view=statistics"))
            expect(page.get_by_text("No statistics yet")).to_be_visible()
            press_enter(page.get_by_role("button", name="Compute statistics"))
            expect(page.get_by_role("img", name=re.compile("^Histogram of characters"))).to_be_visible(timeout=60_000)
            expect(page.get_by_text(re.compile("numbers, effective rank"))).to_be_visible()
            expect(page.get_by_text("English")).to_be_visible()
            press_enter(page.get_by_role("button", name="words"))
            expect(page).to_have_url(re.compile("length=words"))
            expect(page.get_by_role("img", name=re.compile("^Histogram of words"))).to_be_visible()
            expect(page.get_by_text("1 document in excess, in 1 group.")).to_be_visible()
            expect(page.get_by_text(re.compile("^[0-9]+ vectors? in excess, in"))).to_be_visible()
            data.add([{"id": "more", "text": "one more"}])
            page.reload()
            expect(page.get_by_text("These statistics are out of date")).to_be_visible()
            expect(page.get_by_role("button", name="Compute again")).to_be_visible()
        finally:
            data.delete()


def test_the_map_is_read_with_the_keyboard(page: Page) -> None:
    page.goto(f"/datasets/{DATASET}?view=statistics")
    plot = page.get_by_role("application", name=re.compile("^Map of the vectors by PCA"))
    expect(plot).to_be_visible()
    plot.focus()
    page.keyboard.press("ArrowRight")
    link = page.locator("#map-dot a")
    expect(link).to_be_visible()
    first = link.inner_text()
    page.keyboard.press("ArrowRight")
    expect(link).not_to_have_text(first)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/datasets/{DATASET}/documents/"))
    page.go_back()
    expect(plot).to_be_visible()


def test_statistics_of_an_empty_dataset_lead_back_to_its_documents(page: Page, stack: Stack) -> None:
    with Prisma(stack.url) as prisma:
        data = prisma.datasets.create("Nothing", dataset_id="nothing-to-count")
        try:
            page.goto("/datasets/nothing-to-count?view=statistics")
            press_enter(page.get_by_role("group", name="What is shown").get_by_role("button", name="Documents"))
            expect(page.get_by_text("No documents in this dataset")).to_be_visible()
        finally:
            data.delete()


def test_an_outage_is_no_empty_map(page: Page) -> None:
    def away(route: Route) -> None:
        route.fulfill(status=503, json={"error": {"code": 503, "message": "the embedder is unreachable"}})

    page.route("**/map?*", away)
    page.route("**/statistics", away)
    page.goto(f"/datasets/{DATASET}?view=statistics")
    expect(page.get_by_text("the embedder is unreachable").first).to_be_visible()
    expect(page.get_by_role("button", name="Compute statistics")).not_to_be_attached()
