"""The pages of owners and of operators in a real Chromium."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nucleus.api.access.authentication import store_token
from nucleus.backends.executor import Answer
from nucleus.mirror import clusters, identity
from nucleus.mirror.pool import Session
from tests.browser.conftest import HOSTILE, LIBRARIES, MILLISECONDS, Visit, token_of
from tests.system.comet.conftest import HOSTS, Site

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
    """A picture for the guide, where BROWSER_PICTURES names its folder."""
    if folder := os.environ.get("BROWSER_PICTURES"):
        visit.page.screenshot(path=str(Path(folder) / f"nucleus-{name}.png"), full_page=False)


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
    stranger.sees(
        "#message", "unknown, revoked or too old. Enter all of it once more; if it has ended, ask the"
    )
    assert not stranger.page.is_visible("#content") and stranger.page.context.cookies() == []


def test_texts_of_others_are_texts(site: Site, visit: Callable[..., Visit]) -> None:
    """Markup in everything that somebody can write is visible as it was written, and does nothing."""
    ann = token_of(site, "ann")
    root = token_of(site, "root", is_operator=True, first_name=HOSTILE[:60])
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
    pages = {"clusters": ["#clusters"], "cluster?name=vc1": ["#about", "#nodes"], "history": ["#operations"],
             "images": ["#images"]}  # fmt: skip
    for name, places in pages.items():
        owner.open(name)
        for place in places:
            owner.sees(place, "<img src=x onerror=")
        assert owner.page.locator("main img[src], main script").count() == 0
        assert "harmed" not in owner.page.title()
    operator = visit().open("site").sign_in(root)
    for place in ("#failed", "#users", "#overview"):
        operator.page.locator(place).wait_for()
    operator.sees("#failed", "<img src=x onerror=")
    operator.sees("#users", "<img src=x onerror=")
    assert operator.page.locator("img, main script").count() == 0
    assert "harmed" not in operator.page.title() and operator.harms() == owner.harms() == []


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(site: Site, visit: Callable[..., Visit], width: int, scheme: str) -> None:
    token = token_of(site, "root", is_operator=True)
    site.simulator.guests["vm-vc1-1"].host, site.simulator.guests["vm-vc1-1"].state = HOSTS[0], "active"
    someone = visit(width, scheme).open()
    someone.page.wait_for_selector("#password")
    found = [f"signing in: {one}" for one in violations(someone)]
    someone.sign_in(token)
    for name, place, text in (
        ("clusters", "#clusters", "1 of 5 on"),
        ("cluster?name=vc1", "#nodes", "vm-vc1-3"),
        ("node?cluster=vc1&name=vm-vc1-1", "#facts", "Its host answers."),
        ("site", "#audit", "sign_in"),
    ):
        someone.open(name).sees(place, text)
        found += [f"{name}: {one}" for one in violations(someone)]
        if someone.page.evaluate(WIDE):
            found.append(f"{name}: wider than {width}")
        if (name, width, scheme) == ("site", 1280, "light"):
            someone.sees("#overview", "vc1")
            someone.page.locator("#failed li").first.wait_for()
            keep_picture(someone, name)
    assert found == []
    assert someone.harms() == []


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
    owner.sees("#clusters", "0 of 5 on")
    owner.page.wait_for_function("document.getElementById('message').textContent === ''")
    assert owner.page.inner_text("#live") == "live"


def test_who_signs_in_after_another_sees_nothing_of_theirs(site: Site, visit: Callable[..., Visit]) -> None:
    owner = visit().open().sign_in(token_of(site, "ann"))
    owner.sees("#clusters", "0 of 5 on")
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
    owner.sees("#clusters", "0 of 5 on")
    assert "ann" not in owner.page.inner_text("#who")


def test_a_token_that_may_only_look_is_offered_nothing_else(site: Site, visit: Callable[..., Visit]) -> None:
    token_of(site, "ann")
    with site.pool.transaction() as session:
        user = identity.user_by_name(session, "ann")
        token = store_token(session, user.id, ["read"], None, None, "")[1].text
    owner = visit().open().sign_in(token)
    owner.sees("#clusters", "vc1")
    owner.sees("#rights", "does not allow power, computesets, CD drives, consoles")
    assert owner.page.get_by_role("link", name="Reservations").count() == 0, "the site has none"
    owner.open("cluster?name=vc1")
    owner.sees("#nodes", "vm-vc1-0")
    for offered in ("#actions", "#remove", "#nodes tbody button", "#nodes tbody input"):
        assert owner.page.locator(f"{offered}:visible").count() == 0
    owner.open("site")
    owner.sees("#not-yours", "for operators")
    assert not owner.page.is_visible("#content") and not owner.page.is_visible("[data-operator]")
    assert violations(owner) == [] and owner.harms() == []


def test_long_names_and_texts_break_no_page(site: Site, visit: Callable[..., Visit]) -> None:
    ann, root = token_of(site, "ann"), token_of(site, "root", is_operator=True)
    with site.pool.transaction() as session:
        session.execute("UPDATE cluster SET description = %s, generation = generation + 1", ("d" * 250,))
        session.execute("UPDATE node SET name = %s WHERE name = 'vm-vc1-0'", ("n" * 120,))
        add_image(session, "x" * 120)
    fault = Answer(1, "", "Error: " + "e" * 250)
    site.simulator.faults += [(("list", "host", "route"), lambda: fault)] * 1000  # each poll has one
    site.simulator.guests["vc1"].state = "nostate-error"
    site.simulator.guests["vm-vc1-0"].iso = f"/images/{'i' * 120}"
    owner = visit(390, "dark").open().sign_in(ann)
    owner.sees("#clusters", "d" * 250)
    assert not owner.page.evaluate(WIDE)
    owner.open("cluster?name=vc1")
    owner.sees("#nodes", "n" * 120)
    owner.page.check("tr[data-key=vc1] input")
    owner.page.get_by_role("button", name="CD drive").click()
    owner.sees("dialog select", "x" * 120)
    assert not owner.page.evaluate(WIDE)
    for place in ("nav", "dialog"):
        assert not owner.page.evaluate(
            f"(({{ scrollWidth, clientWidth }}) => scrollWidth > clientWidth)(document.querySelector('{place}'))"
        )
    owner.page.set_viewport_size({"width": 1280, "height": 900})
    drive = owner.page.locator("[data-cell=disk] span", has_text="i" * 120)
    assert drive.bounding_box()["height"] <= 60, "three lines"
    operator = visit(390).open("site").sign_in(root)
    operator.sees("#sources", "e" * 250)
    host = site.simulator.guests["vc1"].host
    operator.sees("#alarms", f"no state is known of 1 machine on {host}: rocks list site")
    operator.sees("#hosts", "vc1 of vc1 unknown")
    operator.sees("#hosts", "vc2 of vc2 off")
    assert not operator.page.evaluate(WIDE)
    for one in (owner, operator):
        assert violations(one) == [] and one.harms() == []


def test_a_search_without_a_match_says_so(site: Site, visit: Callable[..., Visit]) -> None:
    owner = visit().open().sign_in(token_of(site, "ann"))
    owner.page.fill("#pattern", "zz*")
    owner.page.press("#pattern", "Enter")
    owner.sees("#clusters", "None of your clusters is called zz*.")
    assert owner.page.locator("#clusters a").count() == 0


def test_a_refresh_keeps_the_clusters_that_are_visible_and_renews_them(
    site: Site, visit: Callable[..., Visit]
) -> None:
    for number in range(3, 31):
        site.simulator.add_cluster(f"vc{number}", 0)
    operator = visit().open()
    wait_until(operator, lambda: nodes_of(site, "vc30") == 1)
    operator.sign_in(token_of(site, "root", is_operator=True))
    operator.sees("#more", "More clusters")
    cards = operator.page.locator("#clusters > li")
    assert cards.count() == 25
    operator.page.click("#more")
    operator.page.locator("#clusters > li:nth-of-type(30)").wait_for()
    with site.pool.transaction() as session:
        (number,) = session.row("SELECT id FROM cluster WHERE name = 'vc1'") or (0,)
        session.execute("UPDATE cluster SET description = 'renewed' WHERE id = %s", (number,))
        clusters.bump_generation(session, [number])
    fault = Answer(1, "", "Error: away")
    site.simulator.faults += [(("list", "host", "vm"), lambda: fault)] * 1000  # so that a poll becomes stale
    operator.sees("#clusters > li:first-of-type", "renewed")
    assert cards.count() == 30 and not operator.page.is_visible("#more")
