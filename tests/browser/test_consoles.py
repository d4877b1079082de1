"""Pages of consoles in a real Chromium: their bytes arrive, under the policy of the page."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.conftest import Visit, token_of
from tests.browser.test_pages import violations
from tests.system.comet.conftest import Site

pytestmark = [pytest.mark.browser]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_serial_console_of_a_node_opens_from_the_page(
    site: Site, visit: Callable[..., Visit], scheme: str
) -> None:
    site.simulator.guests["vc1"].state = "active"
    owner = visit(scheme=scheme).open().sign_in(token_of(site, "ann"))
    owner.sees("li[data-key='vc1']", "on")
    with owner.page.context.expect_page() as opened:
        owner.page.get_by_role("button", name="Serial of vc1", exact=True).click()
    console = Visit(opened.value, site.service.url)
    console.sees("#status", "connected")
    console.sees(".xterm-rows", "vc1 login:")
    console.page.keyboard.type("hello")
    console.sees(".xterm-rows", "hello")
    assert violations(console) == [] and console.harms() == []
    assert owner.harms() == []


def test_the_console_of_a_node_that_is_off_is_refused_with_its_reason(
    site: Site, visit: Callable[..., Visit]
) -> None:
    owner = visit().open().sign_in(token_of(site, "ann"))
    owner.page.get_by_role("button", name="Screen of vc1", exact=True).click()
    owner.sees("#message", "power it on first")


def test_the_screen_of_a_node_opens_under_a_policy_without_inline_styles(
    site: Site, visit: Callable[..., Visit]
) -> None:
    site.simulator.guests["vc1"].state = "active"
    owner = visit().open().sign_in(token_of(site, "ann"))
    owner.sees("li[data-key='vc1']", "on")
    with owner.page.context.expect_page() as opened:
        owner.page.get_by_role("button", name="Screen of vc1", exact=True).click()
    console = Visit(opened.value, site.service.url)
    console.page.locator("canvas").wait_for(state="attached")
    assert violations(console) == [] and console.harms() == []
