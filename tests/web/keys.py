"""Keys on controls of the page."""

from __future__ import annotations

from playwright.sync_api import Locator, expect


def press_enter(control: Locator) -> None:
    """Presses Enter on a control as soon as it may be used: a disabled one ignores keys, and a person would wait."""
    expect(control).to_be_enabled()
    control.press("Enter")
