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
def families(stack: Stack) -> list[Family]:
    """Those of the run, the most trusted first."""
    with Prisma(stack.url) as prisma:
        return list(prisma.runs.get(RUN).families())


@pytest.fixture(scope="module")
def family(families: list[Family]) -> Family:
    """The most trusted family of the run."""
    return families[0]


def boost_in(page: Page) -> str | None:
    """What the address says of steering."""
    return parse_qs(urlsplit(page.url).query).get("boost", [None])[0]


def key_of(family: Family) -> str:
    """What the address calls a family."""
    return "families/" + family.name.rpartition("/")[2]


def indices_of(family: Family) -> list[int]:
    return [member.index for member in family.members]


def word_of(family: Family) -> str:
    """A query that the family matches."""
    return next(member.label for member in family.members if member.label).split(",")[0]


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
        contributions = row.locator("details", has_text=f"of {family.display_name}")
        contributions.locator("summary").press("Enter")
        listed = contributions.get_by_role("listitem")
        expect(listed).to_have_count(len(hit["steering"]))
        for feature, item in zip(hit["steering"], listed.all(), strict=True):
            expect(item).to_contain_text(f"+{feature['contribution']:.2f}")
            expect(item.get_by_role("link")).to_have_attribute("href", f"/runs/{RUN}/features/{feature['index']}")
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


def fail(route: Route) -> None:
    away = {"code": 503, "status": "UNAVAILABLE", "message": "the interpreter is unreachable", "details": []}
    route.fulfill(status=503, json={"error": away})


@pytest.mark.parametrize("address", ["**/families?*", "**/interpretation"])
def test_families_that_cannot_be_loaded_do_not_stop_the_search_and_are_loaded_again(
    page: Page, family: Family, address: str
) -> None:
    page.route(address, fail)
    page.goto(f"/runs/{RUN}/search?q=class&boost={key_of(family)}:2")
    expect(page.get_by_text("The families cannot be loaded, so it moves nothing now.")).to_be_visible()
    expect(page.locator("li.hit .rank").first).to_have_text("1")  # and not that steering moved it
    page.unroute(address)
    with page.expect_response(searched) as search:
        press_enter(page.get_by_label("Steering", exact=True).get_by_role("button", name="Try again"))
    assert body_of(search.value)["steeringSets"] == [{"indices": indices_of(family), "weight": 2}]
    expect(page.get_by_text(f"{family.member_count} features as one")).to_be_visible()


def test_matching_families_that_cannot_be_known_are_told_and_loaded_again(page: Page, family: Family) -> None:
    page.route("**/interpretation", fail)
    page.goto(f"/runs/{RUN}/search?q={word_of(family)}")
    card = page.locator("section", has=page.get_by_role("heading", name="Families found"))
    expect(card).to_contain_text("the interpreter is unreachable")
    page.unroute("**/interpretation")
    press_enter(card.get_by_role("button", name="Try again"))
    expect(card.get_by_role("link", name=family.display_name, exact=True)).to_be_visible()


def test_a_family_is_a_slider_before_there_is_a_query(page: Page, family: Family) -> None:
    page.goto(f"/runs/{RUN}/search?boost={key_of(family)}:1")
    slider = page.get_by_role("slider", name=re.compile(f"^Steer by {re.escape(family.display_name)}"))
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "+1.25")
    with page.expect_response(searched) as search:
        press_enter(page.locator("a.chip").first)
    assert body_of(search.value)["steeringSets"] == [{"indices": indices_of(family), "weight": 1.25}]


@pytest.fixture
def page_of_one(page: Page) -> Page:
    """A page to which the gateway lists one family at a time."""

    def shorten(route: Route) -> None:
        route.continue_(url=route.request.url.replace("pageSize=100", "pageSize=1"))

    page.route("**/families?*pageSize=100*", shorten)
    return page


def test_all_families_can_be_reached(page_of_one: Page, families: list[Family]) -> None:
    page_of_one.goto(f"/runs/{RUN}/families")
    entries = page_of_one.locator(".families > li")
    expect(entries).to_have_count(1)
    press_enter(page_of_one.get_by_role("button", name="Show more"))
    expect(entries).to_have_count(2)
    expect(entries.nth(1)).to_contain_text(families[1].display_name)


def test_the_list_opens_the_family_of_the_address(page_of_one: Page, families: list[Family]) -> None:
    family = families[3]
    page_of_one.goto(f"/runs/{RUN}/families?at={family.parent_index}&round={family.round}")
    entry = page_of_one.locator(".families > li").nth(3)
    expect(entry.locator("details")).to_have_attribute("open", "")
    expect(entry.locator("summary")).to_contain_text(family.display_name)
    expect(entry.locator("summary")).to_be_in_viewport()


def test_a_family_that_matches_the_query_becomes_a_slider(page: Page, family: Family) -> None:
    page.goto(f"/runs/{RUN}/search?q={word_of(family)}")
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
