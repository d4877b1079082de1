"""The table of a cluster's nodes: found, sorted, chosen and kept in the address; and the page of a node."""

import json
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest

from nucleus.mirror import clusters, identity
from nucleus.mirror.clusters import assign_cluster
from tests.browser.conftest import HOSTILE, Visit, token_of
from tests.browser.test_cluster_page import button
from tests.browser.test_owners_pages import ask, check_page
from tests.browser.test_pages import WIDE, keep_picture, nodes_of, violations, wait_until
from tests.system.comet.conftest import HOSTS, Site

pytestmark = [pytest.mark.browser]

PATTERNS = """async (texts) => {
  const { filterTest, folded } = await import('../assets/shared/hostlists.js');
  const nodes = ['vm-1', 'vm-2', 'vm-10', 'n01', 'n1', 'login-on'].map((name, index) => ({
    name, power: index ? 'off' : 'on', set: index || null, text: `${name} gold`,
    addresses: [`10.1.4.${index}`, ...(index === 5 ? ['10.1.4.33'] : [])],
  }));
  const found = (text) => nodes.filter(filterTest(text) ?? (() => true)).map(({ name }) => name).join(' ');
  const lists = [['vm-2', 'vm-0', 'vm-1', 'vm-7', 'login', 'n01'], ['vm-3'], []];
  return [Object.fromEntries(texts.map((text) => [text, found(text)])), lists.map(folded)];
}"""

MEASURE = """async () => {
  const { NodeTable } = await import('../assets/table.js');
  const { fill } = NodeTable.prototype;
  window.times = [];
  NodeTable.prototype.fill = function (...given) {
    const first = performance.now();
    fill.apply(this, given);
    window.times.push(performance.now() - first);
    if (window.times.length > 1) return;
    this.rows.clear();
    this.body.replaceChildren();
    const begin = performance.now();
    fill.apply(this, given);
    window.times.push(performance.now() - begin);
  };
}"""
"""The milliseconds of each fill of the table; after the first one, those of all its rows."""


def own_cluster(site: Site, owner: Visit, computes: int) -> None:
    """A cluster vc9 of ann's project with so many computes."""
    site.simulator.add_cluster("vc9", computes)
    wait_until(owner, lambda: nodes_of(site, "vc9") == computes + 1)
    with site.pool.transaction() as session:
        project = identity.project_by_name(session, "alpha")
        (number,) = session.row("SELECT id FROM cluster WHERE name = 'vc9'") or (0,)
        assign_cluster(session, number, project.id)


def names_of(visit: Visit) -> list[str]:
    """Those that are visible, in their order."""
    return list(visit.page.locator("#nodes tbody a").all_inner_texts())


def query_of(visit: Visit) -> dict[str, list[str]]:
    """What the address of the page says of the view."""
    return urllib.parse.parse_qs(urllib.parse.urlparse(visit.page.url).query)


def test_patterns_of_an_owner_find_nodes_and_selected_nodes_are_folded(
    site: Site, visit: Callable[..., Visit]
) -> None:
    expected = {
        "vm-[1-2]": "vm-1 vm-2",
        "vm-[1,10]": "vm-1 vm-10",
        "vm-[1-": "vm-1 vm-2 vm-10",
        "vm-*": "vm-1 vm-2 vm-10",
        "n0?": "n01",
        "n[01-02]": "n01",
        "n[1-2]": "n1",
        "10.1.4.3": "n01",
        "10.1.4.[4-5]": "n1 login-on",
        "on": "vm-1",
        "set 2": "vm-10",
        "VM-1": "vm-1 vm-10",
        "vm-1, n1": "vm-1 vm-10 n1",
        "(": "",
        "gold": "vm-1 vm-2 vm-10 n01 n1 login-on",
        " ": "vm-1 vm-2 vm-10 n01 n1 login-on",
    }
    found, folded = visit().open().page.evaluate(PATTERNS, list(expected))
    assert found == expected
    assert folded == ["vm-[0-2,7],login,n01", "vm-3", ""]


def test_sixty_four_nodes_are_found_sorted_and_chosen_and_the_address_keeps_it(
    site: Site, visit: Callable[..., Visit]
) -> None:
    token = token_of(site, "ann")
    owner = visit(1440).open("cluster?name=vc9")
    own_cluster(site, owner, 64)
    for number in (3, 10):
        guest = site.simulator.guests[f"vm-vc9-{number}"]
        guest.host, guest.state = HOSTS[0], "active"
    site.simulator.guests["vm-vc9-5"].host, site.simulator.guests["vm-vc9-5"].state = HOSTS[0], "crashed"
    owner.page.set_viewport_size({"width": 1440, "height": 1080})
    owner.sign_in(token)
    for text in ("All 65", "On 2", "Problem 1"):
        owner.sees("#chips", text)
    owner.sees("#about", "disks: 64 on the NAS, 0 on the way, 1 on hosts")
    heights = owner.page.evaluate(
        "[...document.querySelectorAll('#nodes tbody tr')].map((one) => one.getBoundingClientRect().height)"
    )
    assert len(heights) == 65 and heights.count(28) >= 64
    owner.page.locator("#nodes tbody tr").last.scroll_into_view_if_needed()
    assert owner.page.evaluate("document.querySelector('#nodes thead').getBoundingClientRect().top") == 0
    assert violations(owner) == [] and not owner.page.evaluate(WIDE)

    button(owner, "On 2")
    assert names_of(owner) == ["vm-vc9-3", "vm-vc9-10"]
    owner.page.locator("#nodes thead").get_by_role("button", name="Name").dblclick()
    assert names_of(owner) == ["vm-vc9-10", "vm-vc9-3"]  # by their numbers, the other way round
    owner.page.get_by_label("Select vm-vc9-3", exact=True).check()
    owner.sees("#actions", "1 selected")
    assert query_of(owner) == {"name": ["vc9"], "show": ["on"], "sort": ["-name"], "selected": ["vm-vc9-3"]}
    button(owner, "All 65")
    owner.page.fill("#filter", "vm-vc9-[20-29]")
    owner.sees("#found", "10 of 65")
    owner.page.get_by_label("Select vm-vc9-28", exact=True).check()
    owner.page.get_by_label("Select vm-vc9-25", exact=True).click(modifiers=["Shift"])
    owner.sees("#actions", "5 selected, 1 of them hidden by the filter")
    assert query_of(owner)["selected"] == ["vm-vc9-[3,25-28]"]
    owner.page.reload()
    owner.sees("#actions", "5 selected")
    owner.sees("#found", "10 of 65")
    assert names_of(owner)[0] == "vm-vc9-29"
    assert owner.page.get_by_label("Select vm-vc9-26", exact=True).is_checked()
    keep_picture(owner, "table")

    owner.page.fill("#filter", "")
    del site.simulator.guests["vm-vc9-3"]  # by an operator: two polls do not list it
    owner.sees("#message", "vm-vc9-3 is not in the cluster any more.")
    owner.sees("#actions", "4 selected")
    assert "hidden" not in owner.page.inner_text("#actions")
    owner.page.get_by_role("button", name="Shut down").click(force=True)  # it is grey, and says why
    owner.sees("#message", "None of the selected nodes is on.")
    button(owner, "Clear")
    assert not owner.page.is_visible("#actions") and "selected" not in query_of(owner)
    owner.page.fill("#filter", "nothing is called so")
    owner.sees("#found", "No node matches.")
    owner.page.fill("#filter", "")
    owner.page.set_viewport_size({"width": 390, "height": 844})
    top = "document.querySelector('#nodes tbody tr').getBoundingClientRect().top"
    owner.page.evaluate("scrollTo(0, 0)")
    assert owner.page.evaluate(top) < 300
    owner.page.get_by_label("Select vc9", exact=True).check()
    box = owner.page.locator("#actions").bounding_box()
    assert box["y"] + box["height"] <= owner.page.locator("#bar").bounding_box()["y"] + 1
    for width in (390, 320):
        owner.page.set_viewport_size({"width": width, "height": 844})
        assert violations(owner) == [] and not owner.page.evaluate(WIDE)
    assert owner.harms() == []


def test_a_set_is_selected_and_extended_on_the_page_of_its_cluster_and_on_that_of_computesets(
    site: Site, visit: Callable[..., Visit]
) -> None:
    token = token_of(site, "ann")
    body = {"cluster": "vc1", "computes": "vm-vc1-[0-1]", "walltime_mins": 240}
    assert ask(site, token, "POST", "computeset", body) == 201
    owner = visit(390).open("cluster?name=vc1").sign_in(token)
    owner.sees("#sets", "of 4h remain")
    owner.page.get_by_role("button", name="Select the nodes of set").click()
    owner.sees("#actions", "2 selected")
    assert query_of(owner)["selected"] == ["vm-vc1-[0-1]"]
    owner.page.get_by_role("button", name="Extend set").click()
    owner.page.get_by_label("Longer by").fill("a day")
    button(owner, "Extend")
    owner.sees("#walltime_mins-wrong", "for example 6h")
    owner.page.get_by_label("Longer by").fill("2h")
    owner.sees("dialog", "It runs for 6h in all, until 20")
    owner.sees("dialog", "Costs up to 4 node hours more.")
    check_page(owner)
    button(owner, "Extend")
    owner.sees("#sets", "of 6h remain")
    wait_until(owner, lambda: site.rows("SELECT walltime_minutes FROM computeset") == [(360,)])
    owner.page.locator("#sets a").click()
    owner.sees("#sets", "of 6h remain")
    owner.page.get_by_role("button", name="Extend set").click()
    owner.page.get_by_label("Longer by").fill("900d")
    button(owner, "Extend")
    owner.page.locator("#walltime_mins-wrong, dialog [role=alert]:not(:empty)").first.wait_for()
    owner.page.get_by_label("Longer by").fill("6h")
    button(owner, "Extend")
    owner.sees("#sets", "of 12h remain")
    moved = [
        f"'$.{it}', JSON_VALUE(notes, '$.{it}') - 673 * 60" for it in ("walltime.at", "walltime.since_boot")
    ]
    with site.pool.transaction() as session:
        session.execute(f"UPDATE computeset SET notes = JSON_SET(notes, {', '.join(moved)})")
    owner.sees("#message", "of vc1 end in 46 minutes.")
    owner.sees("#sets .warn", "ends in 4")
    assert [one for one in owner.harms() if "400" not in one and "409" not in one] == []


LOADED = "performance.getEntries().reduce((sum, one) => sum + (one.transferSize ?? 0), 0)"
"""Bytes over the wire since the page was opened: itself, and what it asked for."""


def test_five_hundred_nodes_are_quick(site: Site, visit: Callable[..., Visit]) -> None:
    """First view 0.3 s, an update of one node 16 ms; three times as long on a machine that has other work."""
    token = token_of(site, "ann")
    owner = visit(1440).open("cluster?name=vc9")
    own_cluster(site, owner, 511)
    owner.page.evaluate(MEASURE)
    owner.sign_in(token)
    owner.sees("#chips", "All 512")
    guest = site.simulator.guests["vm-vc9-7"]
    guest.host, guest.state = HOSTS[0], "active"
    owner.sees("#chips", "On 1")
    times: list[float] = owner.page.evaluate("window.times")
    print(f"first view {times[1]:.0f} ms, updates {[round(one, 1) for one in times[2:]]} ms")
    assert max(times[:2]) < 900 and min(times[2:]) < 48
    loaded = owner.page.evaluate(LOADED)
    print(f"first view {loaded / 1000:.0f} kB")
    assert 30_000 < loaded < 300_000
    names = names_of(owner)
    answer = metrics_answer("vc9", {name: [0.123 + index / 1000] * 30 for index, name in enumerate(names)})
    owner.page.route("**/v1/cluster/vc9/metrics*", lambda route: route.fulfill(json=answer))
    owner.page.evaluate("window.times.length = 1")
    owner.page.get_by_label("CPU use").check()
    wait_until(owner, lambda: owner.page.locator("#nodes svg").count() == 512)
    guest.state = "nostate"
    owner.sees("#chips", "On 0")
    times = owner.page.evaluate("window.times.slice(1)")
    print(
        f"512 lines: {len(json.dumps(answer, separators=(',', ':'))) // 1000} kB, {[round(one, 1) for one in times]} ms"
    )
    assert max(times) < 900 and min(times[-2:]) < 48
    assert owner.harms() == []


def metrics_answer(cluster: str, used: dict[str, list[float | None]]) -> dict[str, Any]:
    """Of the CPUs of each node in the last hour."""
    moments = [1_800_000_000 + 120 * number for number in range(30)]
    nodes = [{"name": name, "cpu": values} for name, values in used.items()]
    return {"cluster": cluster, "moments": moments, "nodes": nodes, "reason": None}


def test_rows_have_lines_of_their_cpus_by_one_request_while_they_are_chosen(
    site: Site, visit: Callable[..., Visit]
) -> None:
    """None where nothing was measured, nor without a Prometheus; the address keeps the choice."""
    owner = visit().open("cluster?name=vc1").sign_in(token_of(site, "ann"))
    owner.page.get_by_label("CPU use").click()  # the answer may uncheck it at once
    owner.sees("#message", "this site keeps no metrics of nodes")
    wait_until(owner, lambda: not owner.page.get_by_label("CPU use").is_checked())
    assert "use" not in query_of(owner) and owner.page.locator("#nodes svg").count() == 0

    asked: list[str] = []
    used = {
        "vm-vc1-0": [None] * 27 + [0.5, 1, 4.0],
        "vm-vc1-1": [0.25, None] * 14 + [None] * 2,
        "vc1": [None] * 30,
    }
    status = [200]

    def answer(route: Any) -> None:
        asked.append(route.request.url)
        content = (
            metrics_answer("vc1", used) if status[0] == 200 else {"detail": "the metrics cannot be read now"}
        )
        route.fulfill(json=content, status=status[0])

    owner.page.clock.install()
    owner.page.route("**/v1/cluster/vc1/metrics*", answer)
    owner.page.get_by_label("CPU use").check()
    line = owner.page.get_by_label("4.00 of 2 CPUs busy")
    line.wait_for()
    assert line.locator("path").get_attribute("d") == "M27 15.0L28 10.0L29 0.0", (
        "more than all of them is all"
    )
    assert owner.page.get_by_label("Not measured now").count() == 1
    assert owner.page.locator("#nodes svg").count() == 2
    assert len(asked) == 1 and "hours=1" in asked[0] and query_of(owner)["use"] == ["1"]
    check_page(owner)
    owner.page.clock.fast_forward(61_000)
    wait_until(owner, lambda: len(asked) == 2)
    status[0] = 503
    owner.page.clock.fast_forward(61_000)
    owner.sees("#message", "the metrics cannot be read now")
    assert owner.page.locator("#nodes svg").count() == 0
    status[0] = 200
    owner.page.reload()
    owner.page.get_by_label("4.00 of 2 CPUs busy").wait_for()
    owner.page.get_by_label("CPU use").uncheck()
    assert not owner.page.locator("#nodes svg").first.is_visible() and "use" not in query_of(owner)
    count = len(asked)
    owner.page.clock.fast_forward(200_000)
    owner.page.wait_for_timeout(500)
    assert len(asked) == count
    assert [one for one in owner.harms() if "503" not in one] == []


def test_a_node_has_a_page_that_says_what_it_is_and_what_happened(
    site: Site, visit: Callable[..., Visit]
) -> None:
    token = token_of(site, "ann", "rename")
    body = {"cluster": "vc1", "computes": "vm-vc1-0", "walltime_mins": 240}
    assert ask(site, token, "POST", "computeset", body) == 201
    owner = visit().open("cluster?name=vc1").sign_in(token)
    owner.sees("tr[data-key=vm-vc1-0] .power", "on")
    owner.page.get_by_role("link", name="vm-vc1-0", exact=True).click()
    owner.sees("h1", "vm-vc1-0")
    owner.sees("#facts", "Its host answers.")
    owner.sees("#facts", "36 GiB, ")
    owner.sees("#facts", "of 4h remain")
    owner.sees("#interfaces", "52:54:00")
    owner.page.get_by_alt_text("Screen of vm-vc1-0").wait_for()
    wait_until(owner, lambda: bool(owner.page.inner_text("#log")))
    check_page(owner, "node")
    button(owner, "Reset")
    owner.confirm()
    owner.sees("#message", "vm-vc1-0 reset.")
    owner.sees("#events", "vm-vc1-0 of vc1 reset by ann")
    button(owner, "Power off")
    owner.confirm()
    owner.sees("#facts .power", "off")
    owner.sees("#facts", "switched off by ann")
    owner.page.get_by_role("button", name="Power off").click(force=True)
    owner.sees("#message", "All of the selected nodes are off.")
    button(owner, "Rename")
    owner.page.get_by_label("New name").fill("n" * 60)
    owner.page.locator("dialog").get_by_role("button", name="Rename").click()
    owner.sees("h1", "n" * 60)
    check_page(owner)
    owner.page.set_viewport_size({"width": 320, "height": 844})
    assert not owner.page.evaluate(WIDE)
    owner.open("node?cluster=vc1&name=nobody")
    owner.page.get_by_role("link", name="All nodes of vc1").click()
    owner.sees("#nodes", "n" * 60)
    assert not owner.page.evaluate(WIDE) and violations(owner) == []
    owner.open("node?cluster=vc9&name=nobody").sees("main", "Your clusters")
    assert [one for one in owner.harms() if "404" not in one] == []


def test_markup_in_the_name_of_a_node_is_text_on_its_page(site: Site, visit: Callable[..., Visit]) -> None:
    token = token_of(site, "ann")
    name = HOSTILE[:100].replace("/", "")  # as no name of a node has it: it would end a part of the path
    with site.pool.transaction() as session:
        session.execute("UPDATE node SET name = %s WHERE name = 'vm-vc1-0'", (name,))
        (number,) = session.row("SELECT id FROM cluster WHERE name = 'vc1'") or (0,)
        clusters.bump_generation(session, [number])
    owner = visit(320).open("cluster?name=vc1").sign_in(token)
    owner.page.get_by_label("Select <img src=x").check()
    owner.page.reload()
    owner.sees("#actions", "1 selected")
    owner.page.get_by_role("link", name="<img src=x").click()
    owner.sees("h1", "<img src=x onerror=")
    owner.sees("#facts", "CPU")
    owner.sees("#events", "Nothing was asked for yet.")
    assert owner.page.locator("main img[src], main script").count() == 0
    assert owner.page.title().startswith("<img src=x")
    assert not owner.page.evaluate(WIDE) and violations(owner) == [] and owner.harms() == []


def test_while_the_service_is_away_the_page_says_how_old_it_is(
    site: Site, visit: Callable[..., Visit]
) -> None:
    site.simulator.guests["vc1"].state = "active"
    owner = visit(scheme="dark").open("cluster?name=vc1").sign_in(token_of(site, "ann"))
    owner.sees("tr[data-key=vc1] .power", "on")
    color = "getComputedStyle(document.querySelector('tr[data-key=vc1] .power')).color"
    before = owner.page.evaluate(color)
    site.service.hang(11)
    begin = time.monotonic()
    owner.sees("#live", "connection lost; trying again")
    assert time.monotonic() - begin < 10, "it is noticed before the service answers again"
    owner.sees("#live", "live")
    owner.page.wait_for_timeout(8000)
    assert owner.page.inner_text("#live") == "live", "events go on, or at least signs of life"
    site.service.stop()
    owner.sees("#age", "The service does not answer. This page shows its last answer, from")
    assert owner.page.evaluate(color) != before
    assert violations(owner) == []
    owner.page.check("tr[data-key=vc1] input")
    button(owner, "Shut down")
    owner.sees("#message", "Not sent: ")


def test_a_request_for_many_nodes_is_one_line_with_the_count_of_all(
    site: Site, visit: Callable[..., Visit]
) -> None:
    """More nodes than a page of the list has rows; others were asked for between them, and not all succeeded."""
    token = token_of(site, "ann")
    owner = visit().open("history")
    own_cluster(site, owner, 64)
    nodes = site.rows(
        "SELECT n.id, c.id, c.project_id FROM node n JOIN cluster c ON c.id = n.cluster_id"
        " WHERE c.name = 'vc9' AND n.kind = 'compute'"
    )
    with site.pool.transaction() as session:
        for index, (node, cluster, project) in enumerate(nodes):
            for kind, actor in (("poweron", "ann"), ("reboot", "kim")):
                columns = {"kind": kind, "actor": actor, "target_cluster": cluster, "target_node": node}
                columns |= {"project_id": project, "state": "succeeded" if index % 3 else "failed"}
                session.insert(
                    "operation", {**columns, "id": f"01ARZ3NDEKTSV4RRFF{index:07d}{kind[0].upper()}"}
                )
    owner.sign_in(token)
    owner.sees("#operations", "Power-on of 64 nodes of vc9 (ann)")
    owner.sees("#operations", "42 succeeded, 22 failed")
    owner.sees("#operations", "Reboot of 64 nodes of vc9 (kim)")
    assert owner.page.locator("#operations > li").count() == 2
    check_page(owner)
    assert owner.harms() == []


def test_the_page_of_a_node_plots_what_it_uses(site: Site, visit: Callable[..., Visit]) -> None:
    owner = visit().open("node?cluster=vc1&name=vm-vc1-0").sign_in(token_of(site, "ann"))
    owner.sees("#plots", "this site keeps no metrics of nodes")
    assert not owner.page.locator("#plots h3").first.is_visible()
    moments = [1_800_000_000 + 60 * number for number in range(60)]
    used = {key: [None, *range(1, 60)] for key in ("cpu", "memory", "received", "sent", "read", "written")}
    asked = []

    def answer(route: Any) -> None:
        asked.append(route.request.url)
        used["received"][-1] = 2_500_000
        nodes = [{"name": "vm-vc1-0", **used}]
        route.fulfill(json={"cluster": "vc1", "moments": moments, "nodes": nodes, "reason": None})

    owner.page.route("**/v1/cluster/vc1/metrics*", answer)
    owner.open("node?cluster=vc1&name=vm-vc1-0")
    owner.sees("#plots", "in 2.5 MB/s, out 59 B/s")
    assert owner.page.locator("#plots canvas:visible").count() == 4
    owner.page.locator("#plots").get_by_role("button", name="Week").click()
    wait_until(owner, lambda: "hours=168" in asked[-1])
    owner.page.set_viewport_size({"width": 320, "height": 844})
    wait_until(owner, lambda: not owner.page.evaluate(WIDE))
    assert violations(owner) == [] and owner.harms() == []
