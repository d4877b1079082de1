"""The pages of owners and of operators in a real Chromium."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.conftest import HOSTILE, LIBRARIES, Visit, token_of
from tests.system.comet.conftest import Site

pytestmark = [pytest.mark.browser]

AXE = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations.map(
    (one) => `${one.id}: ${one.nodes.slice(0, 4).map((node) => node.html).join(' | ')}`)"""


def violations(visit: Visit) -> list[str]:
    """What axe-core finds wrong on the page as it is."""
    # the policy of the page refuses scripts of others; the protocol of the browser's developers does not ask it
    visit.page.evaluate((LIBRARIES / "axe.min.js").read_text("utf-8") + "; null")
    return list(visit.page.evaluate(AXE))


def keep_picture(visit: Visit, name: str) -> None:
    """A picture for the documents, where BROWSER_PICTURES names a folder."""
    if folder := os.environ.get("BROWSER_PICTURES"):
        visit.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=False)


def test_an_owner_signs_in_powers_a_node_on_and_sees_it_happen(
    site: Site, visit: Callable[..., Visit]
) -> None:
    owner = visit().open().sign_in(token_of(site, "ann"))
    owner.sees("#who", "ann")
    owner.sees("#clusters", "vm-vc1-0")
    site.simulator.guests["vm-vc1-1"].state = "active"
    owner.sees("li[data-key='vm-vc1-1']", "on")
    owner.page.check("li[data-key='vc1'] input")
    owner.page.locator("details").first.get_by_role("button", name="Power on").click()
    owner.sees("#message", "Power on: asked for vc1.")
    owner.sees("#operations", "poweron vc1/vc1")
    owner.sees("#operations", "succeeded")
    owner.sees("li[data-key='vc1']", "on")
    assert site.simulator.guests["vc1"].state == "active"
    assert owner.page.is_checked("li[data-key='vc1'] input")
    keep_picture(owner, "owner")
    assert owner.harms() == []


def test_a_set_is_started_and_ended_and_its_disks_are_seen_on_their_way(
    site: Site, visit: Callable[..., Visit]
) -> None:
    owner = visit().open().sign_in(token_of(site, "ann"))
    card = owner.page.locator("details").first
    for name in ("vm-vc1-0", "vm-vc1-1"):
        owner.page.check(f"li[data-key='{name}'] input")
    card.get_by_role("button", name="Start").click()
    owner.sees("#sets", "of vc1")
    owner.sees("li[data-key='vm-vc1-0']", "on its way to the host")
    owner.page.locator(".picture [data-place=way]").first.wait_for()
    keep_picture(owner, "way")
    owner.sees("li[data-key='vm-vc1-0']", "disk local")
    owner.sees("#sets", "running")
    owner.page.get_by_role("button", name="at once").first.click()
    owner.sees("li[data-key='vm-vc1-0']", "disk on the NAS")
    owner.sees("#sets", "No computeset is alive")
    assert owner.harms() == []


def test_signing_out_ends_the_session(site: Site, visit: Callable[..., Visit]) -> None:
    owner = visit().open().sign_in(token_of(site, "ann"))
    owner.page.click("#sign-out")
    owner.page.wait_for_selector("#password")
    assert not owner.page.is_visible("#content") and owner.page.context.cookies() == []


def test_a_session_that_was_revoked_leads_to_the_form(site: Site, visit: Callable[..., Visit]) -> None:
    owner = visit().open().sign_in(token_of(site, "ann"))
    with site.pool.transaction() as session:
        session.execute("UPDATE token SET revoked_at = UTC_TIMESTAMP(3)")
    owner.page.wait_for_selector("#password")  # the stream of events ends at its next sign of life
    assert not owner.page.is_visible("#content")


def test_the_check_of_accessibility_finds_what_is_wrong(site: Site, visit: Callable[..., Visit]) -> None:
    someone = visit().open()
    someone.page.wait_for_selector("#password")
    someone.page.evaluate("document.getElementById('password').labels[0].remove()")
    assert any(one.startswith("label") for one in violations(someone))


def test_a_wrong_token_is_refused_with_its_reason(site: Site, visit: Callable[..., Visit]) -> None:
    stranger = visit().open()
    stranger.page.fill("#password", "nuc_" + "A" * 8 + "_" + "a" * 43)
    stranger.page.press("#password", "Enter")
    stranger.sees("#message", "unknown, revoked or too old")


def test_texts_of_others_are_texts(site: Site, visit: Callable[..., Visit]) -> None:
    """Markup in everything that somebody can write is visible as it was written, and does nothing."""
    ann, root = token_of(site, "ann"), token_of(site, "root", is_operator=True)
    with site.pool.transaction() as session:
        session.execute("UPDATE cluster SET description = %s, generation = generation + 1", (HOSTILE,))
        session.execute(
            "UPDATE node SET iso = %s, name = %s WHERE name = 'vm-vc1-0'", (HOSTILE, HOSTILE[:120])
        )
        session.execute("UPDATE node SET iso = %s WHERE name = 'vc1'", (HOSTILE,))
        session.execute("INSERT INTO image (name, state) VALUES (%s, 'ready')", (HOSTILE[:130],))
        session.execute("INSERT INTO allocation (name) VALUES (%s)", (HOSTILE[:80],))
        session.execute(
            "INSERT INTO cluster_allocation SELECT c.id, a.id FROM cluster c, allocation a WHERE a.name LIKE '<%%'"
        )
        session.execute(
            "INSERT INTO operation (id, kind, actor, target_cluster, project_id, state, error)"
            " SELECT %s, %s, %s, id, project_id, 'failed', JSON_OBJECT('code', 'x', 'detail', %s)"
            " FROM cluster WHERE name = 'vc1'",
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", HOSTILE[:40], HOSTILE[:64], HOSTILE),
        )
        session.execute("UPDATE source SET last_error = %s, failures = 1 WHERE name = 'route'", (HOSTILE,))
    owner = visit().open().sign_in(ann)
    for place in ("#clusters", "#operations", "#images"):
        owner.sees(place, "<img src=x onerror=")
    operator = visit().open("site").sign_in(root)
    for place in ("#failed", "#users", "#overview"):
        operator.page.locator(place).wait_for()
    operator.sees("#failed", "<img src=x onerror=")
    operator.sees("#users", "<img src=x onerror=")
    for one in (owner, operator):
        assert one.page.locator("img, main script").count() == 0
        assert "harmed" not in one.page.title() and one.harms() == []


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(site: Site, visit: Callable[..., Visit], width: int, scheme: str) -> None:
    token = token_of(site, "root", is_operator=True)
    site.simulator.guests["vm-vc1-1"].state = "active"
    someone = visit(width, scheme).open()
    someone.page.wait_for_selector("#password")
    found = [f"signing in: {one}" for one in violations(someone)]
    someone.sign_in(token)
    someone.page.check("li[data-key='vc1'] input")
    someone.page.locator("details").first.get_by_role("button", name="Power on").click()
    someone.sees("#operations", "succeeded")
    found += [f"clusters: {one}" for one in violations(someone)]
    keep_picture(someone, f"clusters-{width}-{scheme}")
    someone.open("site")
    someone.sees("#audit", "sign_in")
    someone.sees("#overview", "vc1")
    found += [f"site: {one}" for one in violations(someone)]
    keep_picture(someone, f"site-{width}-{scheme}")
    assert found == []
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not someone.page.evaluate(wide)
    assert someone.harms() == []


def test_everything_can_be_done_by_keyboard(site: Site, visit: Callable[..., Visit]) -> None:
    """From the form to a node that is powered on, with Tab, Space and Enter only; every stop is visible."""
    owner = visit().open()
    owner.page.wait_for_selector("#password")
    owner.page.keyboard.type(token_of(site, "ann"))  # the form has the focus
    owner.page.keyboard.press("Enter")
    owner.sees("#clusters", "vm-vc1-0")
    pressed = []
    for _ in range(60):
        owner.page.keyboard.press("Tab")
        text = owner.page.evaluate(
            "() => { const at = document.activeElement, style = getComputedStyle(at);"
            " return [at.closest('label, button, a, summary')?.textContent ?? at.id, style.outlineStyle]; }"
        )
        assert text[1] != "none", text
        pressed.append(text[0].strip())
        if text[0].strip() == "vc1":
            owner.page.keyboard.press("Space")
        if text[0].strip() == "Power on":
            owner.page.keyboard.press("Enter")
            break
    assert "vc1" in pressed and pressed[-1] == "Power on", pressed
    owner.sees("#operations", "succeeded")
    assert owner.page.evaluate("document.activeElement.textContent") == "Power on"


def test_no_page_is_put_into_a_frame(site: Site, visit: Callable[..., Visit]) -> None:
    visitor = visit()
    visitor.page.route(
        "https://elsewhere.example/",
        lambda route: route.fulfill(
            content_type="text/html", body=f"<iframe src='{site.service.url}/page/clusters'></iframe>"
        ),
    )
    visitor.page.goto("https://elsewhere.example/")
    assert all("Clusters" not in frame.content() for frame in visitor.page.frames[1:])
