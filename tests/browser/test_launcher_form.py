"""The form of a launcher on the page of computesets: its computes start, and `comet launch` goes on with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nucleus.api.access.authentication import store_token
from tests.browser.conftest import HOSTILE, Visit, token_of
from tests.browser.test_owners_pages import check_page
from tests.system.comet.conftest import Site

LOSE_AN_ANSWER = """() => {
  const { fetch } = window;
  window.fetch = async (...request) => {
    const answer = await fetch(...request);
    if (request[1].method !== 'POST' || String(request[0]).endsWith('estimate')) return answer;
    window.fetch = fetch;
    throw new TypeError('the connection is lost');
  };
}"""
"""Of the next change; the service has done what it asked for."""

pytestmark = [pytest.mark.browser]


def test_the_computes_of_a_launcher_start_by_its_form(
    site: Site, visit: Callable[..., Visit], tmp_path: Path
) -> None:
    token = token_of(site, "ann")
    file = tmp_path / "launcher.toml"
    owner = visit().open("computesets").sign_in(token)

    def show(**values: str) -> None:
        file.write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
        owner.page.set_input_files("#launcher", file)
        owner.page.get_by_role("button", name="Continue").click()

    good = {"nodes": "3", "walltime": '"4h"', "command": f"'''sh dock; {HOSTILE}'''", "files": '["dock"]'}
    show(**good, node="1")
    owner.sees("#launcher-wrong", "the key 'node' is unknown")
    check_page(owner)
    show(**good)
    dialog = owner.page.locator("dialog")
    owner.sees("dialog", "On the frontend, as root: sh dock; ")
    owner.sees("dialog", "with dock of its folder")
    owner.sees("dialog", "Costs up to 12 node hours.")
    assert dialog.get_by_label("Computes").input_value() == "3"
    assert owner.page.evaluate("document.activeElement.name") == "count", "a field that Enter sends"
    check_page(owner)
    dialog.get_by_label("Cluster").select_option("vc2")
    dialog.get_by_label("Computes").fill("9")
    start = dialog.get_by_role("button", name="Start")
    owner.page.keyboard.press("Enter")
    owner.sees("dialog [role=alert]", "you asked for 9 of the nodes of vc2, and 4 are available")
    dialog.get_by_label("Computes").fill("2")
    dialog.get_by_label("Walltime").fill("6")
    start.click()
    owner.sees("#walltime_mins-wrong", "A number with m, h, d or w")
    dialog.get_by_label("Walltime").fill("6h")
    owner.page.evaluate(LOSE_AN_ANSWER)
    start.click()
    owner.sees("dialog [role=alert]", "The service does not answer")
    start.click()
    owner.sees("#sets", "running")
    assert site.rows("SELECT COUNT(*) FROM computeset") == [(1,)], (
        "the request whose answer was lost has started it"
    )
    number = owner.page.locator("#sets > li").get_attribute("data-key")
    owner.sees("#launched", f"comet launch . --group=set-{number} --computeset={number}")
    owner.sees("#sets", f"Set {number} of vc2")
    owner.sees("#sets", "up to 12 node hours")
    check_page(owner)
    assert [one for one in owner.harms() if "400" not in one and "409" not in one] == []


def test_who_may_not_start_computesets_has_no_form(site: Site, visit: Callable[..., Visit]) -> None:
    token_of(site, "ann")
    with site.pool.transaction() as session:
        (user,) = session.row("SELECT id FROM user WHERE username = 'ann'") or (0,)
        token = store_token(session, user, ["power"], None, None, "power only")[1].text
    owner = visit().open("computesets").sign_in(token)
    owner.sees("#sets", "None.")
    assert not owner.page.locator("#launch").is_visible()
