"""Clocks and zones that differ, streams that repeat themselves, sessions and nodes that end meanwhile."""

import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nucleus.backends.executor import Answer
from rocks.core.version import guide_page
from tests.browser.conftest import HOSTILE, Visit, token_of
from tests.browser.test_cluster_page import button
from tests.browser.test_owners_pages import ask, check_page
from tests.browser.test_pages import WIDE, violations, wait_until
from tests.system.comet.conftest import Site

pytestmark = [pytest.mark.browser]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_an_hour_off_changes_no_time_on_a_page(
    site: Site, visit: Callable[..., Visit], hours: int
) -> None:
    token = token_of(site, "ann")
    body = {"cluster": "vc1", "computes": "vm-vc1-0", "walltime_mins": 240}
    assert ask(site, token, "POST", "computeset", body) == 201
    owner = visit()
    owner.page.clock.install(time=datetime.datetime.now() + datetime.timedelta(hours=hours))
    owner.open("cluster?name=vc1").sign_in(token)
    owner.sees("#sets", "3h 5")
    owner.sees("tr[data-key=vm-vc1-0] .power", "on")
    assert re.fullmatch(
        "just now|[1-5] minutes? ago", owner.page.inner_text("tr[data-key=vm-vc1-0] [data-cell=since]")
    )
    assert owner.harms() == []


def test_times_are_of_the_site_or_by_choice_of_the_browser_which_remembers_it(
    site: Site, visit: Callable[..., Visit]
) -> None:
    token = token_of(site, "ann")
    with site.pool.transaction() as session:
        session.execute("UPDATE token SET expires = UTC_TIMESTAMP(3) + INTERVAL 1 DAY")
    owner = visit(zone="Asia/Kolkata").open("tokens").sign_in(token)
    expires = re.compile(r"expires \S+ \S+ UTC")
    owner.page.locator("#tokens").filter(has_text=expires).wait_for()
    choice = owner.page.get_by_role("button", name="Local time")
    assert re.fullmatch(r"Times of Asia/[CK]\w+ instead of (Etc/)?UTC", choice.get_attribute("title") or "")
    choice.click()
    owner.sees("#tokens", "GMT+5:30")
    owner.open("cluster?name=vc1")
    site.simulator.guests["vc1"].state = "active"
    owner.sees("tr[data-key=vc1] .power", "on")
    assert choice.get_attribute("aria-pressed") == "true"
    since = "tr[data-key=vc1] [data-cell=since]"
    wait_until(owner, lambda: "GMT+5:30" in (owner.page.get_attribute(since, "title") or ""))
    check_page(owner)
    choice.click()
    assert "UTC" in (owner.page.get_attribute(since, "title") or "")
    owner.page.reload()
    owner.sees("#nodes", "vm-vc1-0")
    assert choice.get_attribute("aria-pressed") == "false"
    assert owner.harms() == []
    same = visit(zone="UTC").open("tokens").sign_in(token)
    assert not same.page.get_by_role("button", name="Local time").is_visible()


def test_terms_have_their_meaning_on_hover_and_help_is_the_guide_of_owners(
    site: Site, visit: Callable[..., Visit]
) -> None:
    owner = visit().open("cluster?name=vc1").sign_in(token_of(site, "ann"))
    owner.sees("#nodes", "vm-vc1-0")
    head = owner.page.locator("#nodes thead").get_by_role("button", name="Computeset")
    head.hover()
    assert (head.get_attribute("title") or "").startswith("computeset, set: computes that are started")
    owner.page.get_by_text("Terms", exact=True).click()
    owner.sees("#terms", "node hour")
    check_page(owner)
    owner.page.get_by_role("link", name="Help", exact=True).click()
    owner.sees("main", "comet init --endpoint=production")
    assert owner.page.url.endswith("/page/help#in-a-browser")
    tables = Path(guide_page("owners.md")).read_text("utf-8").count("\n|---")
    assert tables
    assert owner.page.locator("#in-a-browser").inner_text() == "In a browser"
    assert owner.page.locator("main table").count() == tables and "](" not in owner.page.inner_text("main")
    check_page(owner)
    owner.page.set_viewport_size({"width": 320, "height": 844})
    assert not owner.page.evaluate(WIDE) and owner.harms() == []


def test_a_session_that_ends_in_a_question_leads_to_the_form_and_back(
    site: Site, visit: Callable[..., Visit]
) -> None:
    owner = visit().open("cluster?name=vc1").sign_in(token_of(site, "ann"))
    owner.page.check("tr[data-key=vm-vc1-0] input")
    button(owner, "Power on")
    with site.pool.transaction() as session:
        session.execute("UPDATE token SET revoked_at = UTC_TIMESTAMP(3)")
    owner.page.locator("dialog").get_by_role("button", name="Start").click(force=True)
    owner.page.wait_for_selector("#password")
    assert owner.page.locator("dialog").count() == 0 and site.rows("SELECT 1 FROM computeset") == []
    assert violations(owner) == []
    with site.pool.transaction() as session:
        session.execute("UPDATE token SET revoked_at = NULL")
    owner.page.reload()
    owner.sees("#actions", "1 selected")


def test_a_stream_that_repeats_itself_and_breaks_off_asks_no_more_than_one(
    site: Site, visit: Callable[..., Visit]
) -> None:
    """Of events that come together one request is enough; half an event at the end of a stream is none."""
    owner = visit().open("cluster?name=vc1").sign_in(token_of(site, "ann"))
    owner.sees("#nodes", "vm-vc1-0")
    asked: list[str] = []
    streams: list[str] = []
    owner.page.on("request", lambda one: asked.append(one.url) if "/v1/cluster/vc1" in one.url else None)
    event = 'event: node.power\nid: 7\ndata: {"cluster": "vc1", "target": "vm-vc1-0"}\n\n'

    def answer(route: Any) -> None:
        streams.append(route.request.url)
        body = f"retry: 1500\n\n{event * 500}event: node.power\nid: 8\ndata: {{"
        route.fulfill(content_type="text/event-stream", body=body)

    owner.page.route("**/v1/events", answer)
    owner.page.reload()
    wait_until(owner, lambda: len(streams) > 2)
    assert len(asked) <= 4 * len(streams), asked
    owner.page.unroute("**/v1/events")
    site.simulator.guests["vc1"].state = "active"
    owner.sees("tr[data-key=vc1] .power", "on")
    owner.sees("#live", "live")
    assert owner.harms() == []


def test_lines_of_a_serial_console_are_text(site: Site, visit: Callable[..., Visit]) -> None:
    site.simulator.guests["vc1"].state = "active"
    lines = Answer(0, f"{HOSTILE}\n\x1b[2J\x1b]0;harmed\x07{HOSTILE}\n", "")
    site.simulator.faults += [(("report", "host", "vm", "console"), lambda: lines)] * 5
    owner = visit(390).open("node?cluster=vc1&name=vc1").sign_in(token_of(site, "ann"))
    owner.sees("#log", "<img src=x onerror=")
    assert owner.page.locator("#log *").count() == 0 and "harmed" not in owner.page.title()
    assert violations(owner) == [] and not owner.page.evaluate(WIDE) and owner.harms() == []


def test_a_node_that_vanishes_while_a_question_is_open_is_not_found(
    site: Site, visit: Callable[..., Visit]
) -> None:
    owner = visit().open("cluster?name=vc1").sign_in(token_of(site, "ann"))
    for name in ("vm-vc1-2", "vm-vc1-3"):
        owner.page.check(f"tr[data-key={name}] input")
    button(owner, "CD drive")
    del site.simulator.guests["vm-vc1-3"]
    owner.page.locator("tr[data-key=vm-vc1-3]").wait_for(state="detached")
    button(owner, "Attach")
    owner.sees("#message", "vm-vc1-2 asked; ")
    owner.sees("#actions", "1 selected")
    assert [one for one in owner.harms() if "404" not in one] == []
