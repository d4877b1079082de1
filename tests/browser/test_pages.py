"""The pages of owners and of operators in a real Chromium."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nucleus.api.authentication import store_token
from nucleus.backends.executor import Answer
from nucleus.mirror import clusters, identity
from nucleus.mirror.clusters import assign_cluster
from nucleus.mirror.pool import Session
from tests.browser.conftest import HOSTILE, LIBRARIES, MILLISECONDS, Visit, token_of
from tests.system.comet.conftest import Site

pytestmark = [pytest.mark.browser]

AXE = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations.map(
    (one) => `${one.id}: ${one.nodes.slice(0, 4).map((node) => node.html).join(' | ')}`)"""

WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def violations(visit: Visit) -> list[str]:
    """What axe-core finds wrong on the page as it is."""
    # the policy of the page refuses scripts of others; the protocol of the browser's developers does not ask it
    visit.page.evaluate((LIBRARIES / "axe.min.js").read_text("utf-8") + "; null")
    return list(visit.page.evaluate(AXE))


def keep_picture(visit: Visit, name: str) -> None:
    """A picture for the documents, where BROWSER_PICTURES names a folder."""
    if folder := os.environ.get("BROWSER_PICTURES"):
        visit.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=False)


def wait_until(visit: Visit, is_so: Callable[[], bool]) -> None:
    """Wait for what is not seen on the page; the browser is served meanwhile."""
    for _ in range(MILLISECONDS // 200):
        if is_so():
            return
        visit.page.wait_for_timeout(200)
    raise AssertionError("it did not become so")


def nodes_of(site: Site, cluster: str) -> int:
    """How many nodes the poller has found of a cluster."""
    with site.pool.transaction() as session:
        sql = "SELECT COUNT(*) FROM cluster c JOIN node n ON n.cluster_id = c.id WHERE c.name = %s"
        (count,) = session.row(sql, (cluster,)) or (0,)
    return int(count)


def add_image(session: Session, name: str) -> None:
    """A public image that was uploaded: those of nobody are removed by a poll, unless the site's library has them."""
    sql = "INSERT INTO image (name, state, uploaded_by) SELECT %s, 'ready', MIN(id) FROM user"
    session.execute(sql, (name,))


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
    owner.sees("#operations", "vc1 switched on by ann")
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
    assert not stranger.page.is_visible("#content") and stranger.page.context.cookies() == []


def test_texts_of_others_are_texts(site: Site, visit: Callable[..., Visit]) -> None:
    """Markup in everything that somebody can write is visible as it was written, and does nothing."""
    ann, root = token_of(site, "ann"), token_of(site, "root", is_operator=True)
    with site.pool.transaction() as session:
        session.execute("UPDATE cluster SET description = %s, generation = generation + 1", (HOSTILE,))
        session.execute(
            "UPDATE node SET iso = %s, name = %s WHERE name = 'vm-vc1-0'", (HOSTILE, HOSTILE[:120])
        )
        session.execute("UPDATE node SET iso = %s WHERE name = 'vc1'", (HOSTILE,))
        add_image(session, HOSTILE[:130])
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
    assert not someone.page.evaluate(WIDE)
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
    visitor, elsewhere = visit(), "https://elsewhere.example/"
    body = f"<iframe src='{site.service.url}/page/clusters'></iframe>"
    visitor.page.route(elsewhere, lambda route: route.fulfill(content_type="text/html", body=body))
    visitor.page.goto(elsewhere)
    assert all("Clusters" not in frame.content() for frame in visitor.page.frames[1:])


def test_a_service_that_is_away_is_tried_until_it_answers(site: Site, visit: Callable[..., Visit]) -> None:
    """A proxy answers 502 while Nucleus restarts: browsers give their stream of events up then."""
    owner = visit().open().sign_in(token_of(site, "ann"))
    asked: list[str] = []

    def refuse(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(status=502, content_type="text/html", body="<h1>Bad Gateway</h1>")

    owner.page.route("**/v1/**", refuse)
    owner.page.reload()
    owner.sees("#live", "connection lost; trying again")
    owner.sees("#message", "No answer: The service does not answer (502).")
    wait_until(owner, lambda: len([one for one in asked if one.endswith("/v1/user")]) >= 2)
    owner.page.unroute("**/v1/**")
    owner.page.route("**/v1/events", refuse)
    owner.sees("#who", "ann")  # it is back, but for the stream
    wait_until(owner, lambda: any(one.endswith("/v1/events") for one in asked))
    owner.page.unroute("**/v1/events")
    owner.sees("#live", "live")
    owner.sees("#clusters", "vm-vc1-0")
    owner.page.wait_for_function("document.getElementById('message').textContent === ''")
    assert owner.page.inner_text("#live") == "live"


def test_who_signs_in_after_another_sees_nothing_of_theirs(site: Site, visit: Callable[..., Visit]) -> None:
    owner = visit().open().sign_in(token_of(site, "ann"))
    owner.sees("#clusters", "vm-vc1-0")
    root = token_of(site, "root", is_operator=True)
    with site.pool.transaction() as session:
        session.execute(
            "UPDATE token SET revoked_at = UTC_TIMESTAMP(3)"
            " WHERE user_id = (SELECT id FROM user WHERE username = 'ann')"
        )
        session.execute("UPDATE cluster SET project_id = NULL WHERE name = 'vc1'")
    owner.sees("#message", "Your session has ended. Sign in again.")
    owner.page.evaluate("document.getElementById('clusters').dataset.of = 'ann'")
    owner.sign_in(root)
    owner.sees("#who", "root")
    owner.page.wait_for_function("document.getElementById('clusters').dataset.of === undefined")
    owner.sees("#clusters", "vm-vc1-0")
    assert "ann" not in owner.page.inner_text("#who")


def test_a_token_that_may_only_look_is_offered_nothing_else(site: Site, visit: Callable[..., Visit]) -> None:
    token_of(site, "ann")
    with site.pool.transaction() as session:
        user = identity.user_by_name(session, "ann")
        token = store_token(session, user.id, ["read"], None, None, "")[1].text
    owner = visit().open().sign_in(token)
    owner.sees("#clusters", "vm-vc1-0")
    owner.sees("#rights", "does not allow power, computesets, CD drives, consoles")
    assert owner.page.locator("#clusters button:visible, #clusters input:visible").count() == 0
    owner.open("site")
    owner.sees("#not-yours", "for operators")
    assert not owner.page.is_visible("#content") and not owner.page.is_visible("[data-operator]")
    assert violations(owner) == [] and owner.harms() == []


@pytest.mark.parametrize("width", [1280, 390])
def test_hundreds_of_nodes_are_found_and_chosen_by_keyboard(
    site: Site, visit: Callable[..., Visit], width: int
) -> None:
    """More of them than the service takes changes in a second, and than the line of messages has place for."""
    token = token_of(site, "ann")
    with site.pool.transaction() as session:
        session.execute("UPDATE cluster SET project_id = NULL")
    site.simulator.add_cluster("vc9", 200)
    owner = visit(width).open()
    wait_until(owner, lambda: nodes_of(site, "vc9") == 201)
    with site.pool.transaction() as session:
        project = identity.project_by_name(session, "alpha")
        (number,) = session.row("SELECT id FROM cluster WHERE name = 'vc9'") or (0,)
        assign_cluster(session, number, project.id)
    owner.sign_in(token)
    owner.sees("#clusters", "201 of 201")
    keys = owner.page.keyboard
    owner.page.get_by_label("Nodes with").focus()
    keys.type("vc9-1")
    owner.sees("#clusters", "111 of 201")
    keys.press("Tab")
    assert owner.page.evaluate("document.activeElement.textContent") == "Past the nodes"
    keys.press("Enter")
    keys.press("Space")
    owner.sees("#clusters", "Chosen nodes: 111")
    owner.page.get_by_role("button", name="Attach").focus()
    keys.press("Enter")
    owner.sees("#message", "and 106 more.")
    keep_picture(owner, f"many-{width}")
    owner.page.get_by_role("button", name="Power on").focus()
    keys.press("Enter")
    owner.sees("#message", "Refused: ")
    keep_picture(owner, f"many-refused-{width}")
    bar = owner.page.locator("#bar").bounding_box()
    assert bar["height"] <= 300 and bar["x"] + bar["width"] <= width
    assert violations(owner) == []
    assert [one for one in owner.harms() if "409" not in one and "429" not in one] == []
    owner.page.get_by_role("button", name="Close").focus()
    keys.press("Enter")
    assert owner.page.text_content("#message") == ""


def test_an_operation_that_fails_is_reported_where_its_owner_looks(
    site: Site, visit: Callable[..., Visit]
) -> None:
    cause = '[{"error": {"family": "state", "code": "host_full"}}]'
    fault = Answer(1, cause, "Error: the host vm-container-0-0 has no memory left")
    reason = "the host that vc1 was given has too little left for it"
    site.simulator.faults += [(("start", "host", "vm", "vc1"), lambda: fault)]
    owner = visit(390).open().sign_in(token_of(site, "ann"))
    owner.page.check("li[data-key='vc1'] input")
    owner.page.locator("details").first.get_by_role("button", name="Power on").click()
    owner.sees("#message", "Failed: vc1: poweron:")
    owner.sees("#message", reason)
    owner.sees("#operations", reason)
    assert "vm-container-0-0" not in owner.page.inner_text("#message, #operations")
    keep_picture(owner, "failed-390")
    assert violations(owner) == []


def test_long_names_and_texts_break_no_page(site: Site, visit: Callable[..., Visit]) -> None:
    ann, root = token_of(site, "ann"), token_of(site, "root", is_operator=True)
    with site.pool.transaction() as session:
        session.execute("UPDATE cluster SET description = %s, generation = generation + 1", ("d" * 250,))
        session.execute("UPDATE node SET name = %s, iso = %s WHERE name = 'vm-vc1-0'", ("n" * 120, "i" * 120))
        add_image(session, "x" * 120)
    fault = Answer(1, "", "Error: " + "e" * 250)
    site.simulator.faults += [(("list", "host", "route"), lambda: fault)] * 1000  # each poll has one
    owner = visit(390, "dark").open().sign_in(ann)
    owner.sees("#clusters", "n" * 120)
    owner.sees("details:first-of-type select", "x" * 120)
    keep_picture(owner, "long-390")
    owner.page.locator("details:first-of-type select").last.scroll_into_view_if_needed()
    keep_picture(owner, "long-tools-390")
    assert not owner.page.evaluate(WIDE)
    operator = visit(390).open("site").sign_in(root)
    operator.sees("#sources", "e" * 250)
    assert not operator.page.evaluate(WIDE)
    for one in (owner, operator):
        assert violations(one) == [] and one.harms() == []


def test_a_search_without_a_match_says_so(site: Site, visit: Callable[..., Visit]) -> None:
    owner = visit().open().sign_in(token_of(site, "ann"))
    owner.page.fill("#pattern", "zz*")
    owner.page.press("#pattern", "Enter")
    owner.sees("#clusters", "None of your clusters is called zz*.")
    assert owner.page.locator("#clusters details").count() == 0


def test_a_refresh_keeps_the_clusters_that_are_visible_and_renews_their_allocations(
    site: Site, visit: Callable[..., Visit]
) -> None:
    for number in range(3, 31):
        site.simulator.add_cluster(f"vc{number}", 0)
    operator = visit().open()
    wait_until(operator, lambda: nodes_of(site, "vc30") == 1)
    operator.sign_in(token_of(site, "root", is_operator=True))
    operator.sees("#more", "More clusters")
    cards = operator.page.locator("#clusters > details")
    assert cards.count() == 25
    operator.page.click("#more")
    operator.page.locator("#clusters > details:nth-of-type(30)").wait_for()
    with site.pool.transaction() as session:
        (number,) = session.row("SELECT id FROM cluster WHERE name = 'vc1'") or (0,)
        identity.add_allocation(session, "alp2")
        identity.set_allocation(session, number, "alp1", False)
        identity.set_allocation(session, number, "alp2", True)
        clusters.bump_generation(session, [number])
    fault = Answer(1, "", "Error: away")
    site.simulator.faults += [(("list", "host", "vm"), lambda: fault)] * 1000  # so that a poll becomes stale
    operator.sees("#clusters > details:first-of-type select", "alp2")
    assert cards.count() == 30 and not operator.page.is_visible("#more")
