"""A real browser in front of the whole stack."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.stack import Stack

expect.set_options(timeout=20_000)  # a busy machine is not a failure


@pytest.fixture(scope="module")  # its event loop would disturb asynchronous tests that follow
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no chromium: `apt-get install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """A page whose console stays clean and which asks nobody but the gateway."""
    context = browser.new_context(base_url=stack.url, viewport={"width": 1280, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=stack.url)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(stack.url) else problems.append(request.url))
    yield page
    context.unroute_all(behavior="ignoreErrors")  # answers that tests replace may still be on their way
    page.unroute_all(behavior="ignoreErrors")
    context.close()
    expected = re.compile("the server responded with a status of [45]|net::ERR_FAILED")  # the page reports these
    assert [problem for problem in problems if not expected.search(problem)] == []
