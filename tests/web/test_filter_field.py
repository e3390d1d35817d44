"""The fields for filters: what the server says of a filter stands beside it, and keys with types are at hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from prisma_client import Prisma
from tests.stack import Stack
from tests.web.keys import press_enter

DATASET, RUN = "harbours", "harbours-run"
NOTICE = "no document has the metadata key 'yaer'; did you mean 'year'?"


@pytest.fixture(scope="module", autouse=True)
def harbours(stack: Stack) -> Iterator[None]:
    with Prisma(stack.url) as prisma:
        documents = [
            {"id": f"note-{row}", "text": f"A harbour note, number {row}.", "year": 2000 + row, "place name": "Oslo"}
            for row in range(40)
        ]
        dataset = prisma.datasets.create("Harbours", documents, dataset_id=DATASET)
        dataset.embed()
        run = dataset.train(run_id=RUN, expansion=1, k=4, epochs=2, siblings=0)
        run.compute_statistics()
        yield
        dataset.delete()


def test_a_filter_of_documents_is_written_by_keys(page: Page) -> None:
    page.goto(f"/datasets/{DATASET}")
    field = page.get_by_label("Filter", exact=True)
    field.fill("metadata.yaer > 2005")
    field.press("Enter")
    expect(page.get_by_text(NOTICE)).to_be_visible()
    expect(page.get_by_text("No document matches")).to_be_visible()
    field.fill("")
    page.get_by_text("What can be filtered").press("Enter")
    expect(page.get_by_text("whole number · 40 documents")).to_be_visible()
    press_enter(page.get_by_role("button", name='metadata."place name" : "word"'))
    expect(field).to_be_focused()
    for _ in 'word"':
        page.keyboard.press("Backspace")
    page.keyboard.type('oslo" AND metadata.year >= 2030')
    page.keyboard.press("Enter")
    expect(page.get_by_text("10 documents", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile("filter="))
    expect(page.get_by_text(NOTICE)).to_have_count(0)


def test_a_search_says_what_its_filter_asks_in_vain(page: Page) -> None:
    page.goto(f"/runs/{RUN}/search?q=harbour&mode=text&filter=metadata.yaer%20%3E%201")
    notice = page.locator(".filter-field").get_by_text(NOTICE)
    expect(notice).to_be_visible()
    expect(page.get_by_text(NOTICE)).to_have_count(1)
    page.get_by_text("What can be filtered").press("Enter")
    field = page.get_by_label("Filter", exact=True)
    field.fill("")
    press_enter(page.get_by_role("button", name="metadata.year >= 10"))
    field.press("Enter")
    expect(page.locator(".hit").first).to_be_visible()
    expect(notice).to_have_count(0)


def test_an_example_is_applied_without_an_edit_and_named_before_a_deletion(page: Page) -> None:
    page.goto(f"/datasets/{DATASET}")
    page.get_by_text("What can be filtered").press("Enter")
    press_enter(page.get_by_role("button", name="metadata.year >= 10"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"[?]filter=metadata\.year\+%3E%3D\+10$"))
    press_enter(page.get_by_role("button", name="Delete these documents"))
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("40 documents that match")
    expect(dialog.get_by_text("Filter: (metadata.year >= 10)", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    press_enter(page.get_by_role("button", name="state = FAILED"))
    page.keyboard.press("Tab")
    expect(page).to_have_url(re.compile(r"[?]filter=metadata\.year\+%3E%3D\+10\+AND\+state\+%3D\+FAILED$"))
    page.go_back()
    expect(page.get_by_label("Filter", exact=True)).to_have_value("metadata.year >= 10")


def test_a_download_says_what_the_server_says_of_it(page: Page) -> None:
    page.goto(f"/runs/{RUN}/search?q=harbour&mode=text&filter=metadata.yaer > 1 OR metadata.year > 1")
    menu = page.locator("summary", has_text="Download these results")
    menu.press("Enter")
    with page.expect_download() as download:
        press_enter(page.get_by_role("button", name="CSV", exact=True))
    assert len(download.value.path().read_text().splitlines()) == 41
    expect(page.locator(".toasts")).to_contain_text(NOTICE)
    page.evaluate("() => { Response.prototype.blob = () => Promise.reject(new TypeError('network error')); }")
    menu.press("Enter")
    press_enter(page.get_by_role("button", name="Parquet"))
    expect(page.get_by_role("alert")).to_contain_text("The download was interrupted. Start it again.")
    page.goto(f"/runs/{RUN}/search?q=harbour&mode=text&filter=metadata.year > 3000")
    expect(page.get_by_text(re.compile("^0 documents"))).to_be_visible()
    expect(menu).to_have_count(0)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_help_fits(page: Page, width: int, tmp_path: Path) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"/datasets/{DATASET}?filter=metadata.yaer%20%3E%201")
    page.get_by_text("What can be filtered").press("Enter")
    expect(page.get_by_text("whole number · 40 documents")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=tmp_path / f"{width}.png")
