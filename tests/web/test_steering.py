"""Families as sliders of a search: the address, the request, and what moves each hit; all by keys."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Response, Route, expect

from prisma.interpreter.v1.resources_pb2 import Family
from prisma_client import Prisma
from tests.stack import RUN, Stack
from tests.web.keys import press_enter


@pytest.fixture(scope="module")
def family(stack: Stack) -> Family:
    """The largest family of the run."""
    with Prisma(stack.url) as prisma:
        return next(iter(prisma.runs.get(RUN).families()))


def boost_in(page: Page) -> str | None:
    """What the address says of steering."""
    return parse_qs(urlsplit(page.url).query).get("boost", [None])[0]


def key_of(family: Family) -> str:
    """What the address calls a family."""
    return "families/" + family.name.rpartition("/")[2]


def indices_of(family: Family) -> list[int]:
    return [member.index for member in family.members]


def searched(response: Response) -> bool:
    return response.url.endswith("/documents:search")


def body_of(response: Response) -> dict[str, Any]:
    return json.loads(response.request.post_data or "{}")


def test_a_family_steers_a_search_from_its_page_to_the_parts_of_the_hits(page: Page, family: Family) -> None:
    page.goto(f"/runs/{RUN}/families")
    entry = page.locator("details", has=page.locator("summary", has_text=family.display_name)).first
    entry.locator("summary").press("Enter")
    with page.expect_response(searched) as search:
        entry.get_by_role("link", name="Search by it").press("Enter")
    assert boost_in(page) == f"{key_of(family)}:1"
    assert body_of(search.value)["steeringSets"] == [{"indices": indices_of(family), "weight": 1}]
    slider = page.get_by_role("slider", name=re.compile(f"^Steer by {re.escape(family.display_name)}"))
    expect(slider).to_have_value("1")
    expect(page.get_by_text(f"{family.member_count} features as one")).to_be_visible()
    with page.expect_response(searched) as search:
        slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "+1.25")
    assert boost_in(page) == f"{key_of(family)}:1.25"
    body = body_of(search.value)
    assert (body["steeringSets"], body.get("steering")) == ([{"indices": indices_of(family), "weight": 1.25}], None)
    assert_hits_say_what_the_family_adds(page, family, search.value.json()["hits"])
    with page.expect_response(searched) as search:
        press_enter(page.get_by_role("button", name=re.compile(f"^Steer no more by {re.escape(family.display_name)}")))
    assert "steeringSets" not in body_of(search.value)
    assert boost_in(page) is None


def assert_hits_say_what_the_family_adds(page: Page, family: Family, hits: list[dict[str, Any]]) -> None:
    """One chip for the whole family, with the sum of its features' contributions, which is the part of the score."""
    moved = [hit for hit in hits if hit.get("steering")]
    assert moved
    for hit in moved:
        row = page.locator("li.hit", has=page.get_by_role("link", name=hit["key"], exact=True))
        chips = row.locator("a.chip.on")
        expect(chips).to_have_count(1)
        contribution = sum(feature["contribution"] for feature in hit["steering"])
        expect(chips).to_contain_text(f"{family.display_name} +{contribution:.2f}")
        for feature in hit["steering"]:
            expect(chips).to_have_attribute("title", re.compile(re.escape(f"+{feature['contribution']:.2f}")))
        (part,) = [part for part in hit["parts"] if part["part"] == "steering"]
        assert part["contribution"] == pytest.approx(contribution)
        expect(row.get_by_role("img")).to_have_attribute("aria-label", re.compile(f"steering {contribution:.2f}"))


def test_a_feature_with_a_slider_of_its_own_leaves_the_family(page: Page, family: Family) -> None:
    first, *rest = indices_of(family)
    with page.expect_response(searched) as search:
        page.goto(f"/runs/{RUN}/search?q=class&boost={key_of(family)}:2,{first}:-1")
    body = body_of(search.value)
    assert body["steering"] == [{"index": first, "weight": -1}]
    assert body["steeringSets"] == [{"indices": rest, "weight": 2}]
    assert search.value.ok
    page.get_by_role("button", name="As code").press("Enter")
    page.get_by_role("button", name="Python", exact=True).press("Enter")
    same_search = f"boost={{({', '.join(map(str, rest))},): 2, {first}: -1}}"
    expect(page.get_by_role("dialog")).to_contain_text(same_search)
    page.keyboard.press("Escape")
    note = f"{len(rest)} of its {family.member_count} features as one; the others steer already"
    expect(page.get_by_text(note)).to_be_visible()


def test_a_family_that_is_gone_moves_nothing_and_says_so(page: Page) -> None:
    with page.expect_response(searched) as search:
        page.goto(f"/runs/{RUN}/search?q=class&boost=families/9-999:2")
    assert "steeringSets" not in body_of(search.value)
    expect(page.get_by_text("This run has no such family now")).to_be_visible()
    expect(page.locator("li.hit").first).to_be_visible()
    press_enter(page.get_by_role("button", name="Steer no more by families/9-999"))
    expect(page.get_by_text("Add a feature or a family with +")).to_be_visible()


def test_families_that_cannot_be_loaded_do_not_stop_the_search(page: Page, family: Family) -> None:
    away = {"code": 503, "status": "UNAVAILABLE", "message": "the interpreter is unreachable", "details": []}

    def fail(route: Route) -> None:
        route.fulfill(status=503, json={"error": away})

    page.route("**/families?*", fail)
    page.goto(f"/runs/{RUN}/search?q=class&boost={key_of(family)}:2")
    expect(page.get_by_text("The families cannot be loaded, so it moves nothing now.")).to_be_visible()
    expect(page.locator("li.hit").first).to_be_visible()


def test_a_family_that_matches_the_query_becomes_a_slider(page: Page, family: Family) -> None:
    word = next(member.label for member in family.members if member.label).split(",")[0]
    page.goto(f"/runs/{RUN}/search?q={word}")
    card = page.locator("section", has=page.get_by_role("heading", name="Families found"))
    add = card.get_by_role("button", name=f"Steer by {family.display_name}", exact=True)
    expect(page.locator("li.hit").first).to_be_visible()  # the search without it is over
    with page.expect_response(searched) as search:
        press_enter(add)
    assert body_of(search.value)["steeringSets"] == [{"indices": indices_of(family), "weight": 1}]
    expect(add).to_be_disabled()
    page.go_back()
    expect(add).to_be_enabled()
    assert boost_in(page) is None
