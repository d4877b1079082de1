"""The page of a cluster in a real Chromium: what an owner does there, from the click to its result."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from nucleus.backends.executor import Answer
from nucleus.mirror import identity
from nucleus.mirror.clusters import assign_cluster
from tests.browser.conftest import Visit, token_of
from tests.browser.test_owners_pages import ask
from tests.browser.test_pages import WIDE, keep_picture, nodes_of, violations, wait_until
from tests.system.comet.conftest import HOSTS, Site

pytestmark = [pytest.mark.browser]


def button(visit: Visit, name: str) -> None:
    """Press the only button of the name."""
    visit.page.get_by_role("button", name=name, exact=True).click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_owner_powers_a_frontend_by_keyboard_and_its_progress_is_beside_it(
    site: Site, visit: Callable[..., Visit], scheme: str
) -> None:
    """With Tab, Space and Enter only; every stop is visible. What does not fit the state gives its reason."""
    owner = visit(scheme=scheme).open()
    owner.page.wait_for_selector("#password")
    keys, token = owner.page.keyboard, token_of(site, "ann")
    with site.pool.transaction() as session:
        session.execute("UPDATE user SET acknowledged_at = NULL")
    keys.type(token)  # the form has the focus
    keys.press("Enter")
    owner.sees("#clusters", "0 of 5 on")

    def go_to(text: str) -> None:
        for _ in range(60):
            keys.press("Tab")
            at, outline = owner.page.evaluate(
                "() => { const at = document.activeElement;"
                " const text = at.ariaLabel ?? at.closest('label, button, a')?.textContent ?? at.id;"
                " return [text.trim(), getComputedStyle(at).outlineStyle]; }"
            )
            assert outline != "none", at
            if at == text:
                return
        raise AssertionError(f"no stop is {text}")

    go_to("vc1")
    keys.press("Enter")
    owner.sees("#nodes", "vm-vc1-0")
    assert owner.page.get_by_role("button", name="Screen of vc1").count() == 0  # it is off
    go_to("Select vc1")
    keys.press("ArrowDown")
    assert owner.page.evaluate("document.activeElement.ariaLabel") == "Select vm-vc1-0"
    keys.press("ArrowUp")
    keys.press("Space")
    owner.page.get_by_role("button", name="Power on").focus()
    keys.press("Enter")
    owner.sees("#message", "acknowledge what you are responsible for; read it on the page Clusters")
    assert "/v1/" not in owner.page.inner_text("body")
    with site.pool.transaction() as session:
        session.execute("UPDATE user SET acknowledged_at = UTC_TIMESTAMP(3)")
    keys.press("Enter")
    owner.sees("tr[data-key=vc1] .doing", "switched on")
    owner.sees("tr[data-key=vc1] .power", "on")
    assert site.simulator.guests["vc1"].state == "active"
    owner.page.get_by_role("button", name="Screen of vc1").wait_for()
    owner.sees("#message", "vc1 switched on.")
    owner.sees("tr[data-key=vc1] [data-cell=since]", "just now")
    assert "switched on by ann, 20" in owner.page.get_attribute("tr[data-key=vc1] [data-cell=since]", "title")
    assert owner.page.evaluate("document.activeElement.textContent") == "Power on"
    keys.press("Enter")
    owner.sees("#message", "Not done: None of the selected nodes is off.")
    assert violations(owner) == [] and [one for one in owner.harms() if "403" not in one] == []


def test_free_computes_are_switched_on_by_a_set_and_powering_off_asks(
    site: Site, visit: Callable[..., Visit]
) -> None:
    site.simulator.guests["vc1"].state = "active"
    owner = visit(390).open("cluster?name=vc1").sign_in(token_of(site, "ann"))
    for name in ("vm-vc1-0", "vm-vc1-1"):
        owner.sees(f"tr[data-key={name}] .power.off", "off, never started")
        owner.page.check(f"tr[data-key='{name}'] input")
    button(owner, "Power on")
    owner.page.get_by_label("Walltime").fill("6")
    button(owner, "Start")
    owner.sees("#walltime_mins-wrong", "for example 6h")
    for walltime, hours in (("9999w", "3,359,664"), ("400d", "19,200")):
        owner.page.get_by_label("Walltime").fill(walltime)
        owner.sees("dialog", f"Costs up to {hours} node hours.")
        button(owner, "Start")
        owner.sees("#walltime_mins-wrong", "1 to 43200 minutes (30d)")
    keep_picture(owner, "start")
    assert violations(owner) == [] and not owner.page.evaluate(WIDE)
    owner.page.get_by_label("Walltime").fill("6 H")
    owner.sees("dialog", "Costs up to 12 node hours.")
    button(owner, "Start")
    wait_until(owner, lambda: bool(site.rows("SELECT 1 FROM computeset")))
    ((number,),) = site.rows("SELECT id FROM computeset")
    owner.sees("#sets", f"set {number}")
    owner.sees("tr[data-key=vm-vc1-0] [data-place=way]", "NAS → host")
    owner.sees("tr[data-key=vm-vc1-1] .power", "on")
    owner.sees("#sets", f"set {number} running")
    assert owner.page.get_by_alt_text("Screen of vm-vc1-0", exact=True).count() == 1
    owner.page.get_by_label("Screens").check()
    owner.page.locator(
        "tr[data-key=vm-vc1-0]"
    ).scroll_into_view_if_needed()  # pictures are of what is in sight
    owner.page.get_by_alt_text("Screen of vm-vc1-0", exact=True).wait_for()
    owner.page.uncheck("tr[data-key=vm-vc1-1] input")
    button(owner, "Reset")
    owner.sees("dialog", "Reset vm-vc1-0 at once?")
    owner.confirm()
    owner.sees("tr[data-key=vm-vc1-0] .doing", "reset")
    wait_until(owner, lambda: any("reset" in " ".join(one) for one in site.simulator.commands))
    button(owner, "Power off")
    owner.sees("dialog", "Power off vm-vc1-0 at once?")
    button(owner, "Cancel")
    assert site.simulator.guests["vm-vc1-0"].state == "active"
    button(owner, "Power off")
    assert violations(owner) == [] and not owner.page.evaluate(WIDE)
    owner.confirm()
    owner.sees("tr[data-key=vm-vc1-0] .power", "off")
    owner.page.set_viewport_size({"width": 1280, "height": 1000})
    owner.page.evaluate("scrollTo(0, 0)")
    keep_picture(owner, "cluster")
    owner.open()
    owner.sees("#clusters", f"set {number} running")
    keep_picture(owner, "clusters")
    button(owner, f"End set {number} of vc1")
    owner.sees("dialog", "vm-vc1-0, vm-vc1-1: shut down")
    assert violations(owner) == [] and not owner.page.evaluate(WIDE)
    owner.confirm()
    owner.sees("#message", f"Set {number} will end.")
    wait_until(owner, lambda: owner.page.locator("#clusters button").count() == 0)
    assert [one for one in owner.harms() if "400" not in one] == []


def test_the_start_dialog_says_cost_rest_and_start_while_somebody_types(
    site: Site, visit: Callable[..., Visit]
) -> None:
    """One question at a time; a late answer to a former one is dropped. Without an answer, the set starts."""
    with site.pool.transaction() as session:
        project = identity.project_by_name(session, "alpha")
        session.update("project", {"limits": {"node_hours": 40}}, id=project.id)
    owner = visit(390).open("cluster?name=vc1").sign_in(token_of(site, "ann"))
    owner.page.check("tr[data-key=vm-vc1-0] input")
    button(owner, "Power on")
    walltime = owner.page.get_by_label("Walltime")
    owner.sees("dialog", "Costs up to 48 node hours. It would be refused: ")
    button(owner, "Start")
    refusal = owner.page.locator("dialog [role=alert]:not(:empty)").inner_text()
    assert owner.page.inner_text("dialog").count(refusal) == 1
    walltime.fill("6h")
    owner.sees("dialog", "Costs up to 6 node hours. alp1 has 40 left. It would start at once.")
    assert violations(owner) == [] and not owner.page.evaluate(WIDE)

    waiting: list[Any] = []
    owner.page.route("**/v1/computeset/estimate", lambda route: waiting.append(route))
    walltime.fill("7h")
    wait_until(owner, lambda: len(waiting) == 1)
    for text in ("8", "8h", "9h"):
        walltime.fill(text)
    owner.page.wait_for_timeout(1000)
    assert len(waiting) == 1, "the next question waits for the answer"
    answer = {
        "cluster": "vc1", "computes": ["vm-vc1-0"], "allocation": "alp1", "walltime_mins": 420, "node_minutes": 420,
        "left_minutes": 77 * 60, "estimated_start": None, "waiting": "of others",
    }  # fmt: skip
    waiting[0].fulfill(json=answer)
    wait_until(owner, lambda: len(waiting) == 2)
    assert waiting[1].request.post_data_json["walltime_mins"] == 540
    assert owner.page.inner_text("dialog [role=status]") == "Costs up to 9 node hours."
    waiting[1].fulfill(json=answer | {"node_minutes": 540})
    owner.sees("dialog", "Costs up to 9 node hours. alp1 has 77 left. It would wait: of others.")
    owner.page.unroute("**/v1/computeset/estimate")
    owner.page.route("**/v1/computeset/estimate", lambda route: route.abort())
    walltime.fill("5h")
    owner.sees("dialog", "Costs up to 5 node hours. Not estimated: The service does not answer.")
    button(owner, "Start")
    wait_until(owner, lambda: site.rows("SELECT walltime_minutes FROM computeset") == [(300,)])
    owner.page.locator("dialog").wait_for(state="detached")
    assert [one for one in owner.harms() if "403" not in one and "ERR_FAILED" not in one] == []

    owner.open("cluster?name=vc1")
    owner.page.check("tr[data-key=vm-vc1-1] input")
    button(owner, "Power on")
    assert owner.page.get_by_label("Walltime").input_value() == "5h", "the last one that this browser used"


def test_two_browsers_act_at_once_on_one_cluster(site: Site, visit: Callable[..., Visit]) -> None:
    """Of two sets with a node in common one starts; who was later gets the reason, and both pages show the same."""
    people = [
        visit().open("cluster?name=vc1").sign_in(token_of(site, name, "rename")) for name in ("ann", "kim")
    ]
    held: list[Any] = []
    for person, other in zip(people, ("vm-vc1-1", "vm-vc1-2"), strict=True):
        for name in ("vm-vc1-0", other):
            person.page.check(f"tr[data-key={name}] input")
        person.page.route("**/v1/computeset", lambda route: held.append(route))
        button(person, "Power on")
        button(person, "Start")
    wait_until(people[0], lambda: len(held) == 2)
    for one in held:
        one.continue_()
    wait_until(people[0], lambda: sum(person.page.locator("dialog").count() for person in people) == 1)
    (late,) = (person for person in people if person.page.locator("dialog").count())
    (first,) = (person for person in people if person is not late)
    late.page.locator("dialog [role=alert]").filter(
        has_text=re.compile("vm-vc1-0 is in the computeset|another computeset has just taken")
    ).wait_for()
    assert violations(late) == []
    button(late, "Cancel")
    ((number,),) = site.rows("SELECT id FROM computeset")
    for person in people:
        person.sees("tr[data-key=vm-vc1-0] [data-cell=set]", f"set {number} running")
        person.sees("tr[data-key=vm-vc1-0] .power", "on")

    for person in people:  # one node, for both
        button(person, "Clear")
        person.page.check("tr[data-key=vm-vc1-0] input")
        button(person, "Power off")
    for person in people:
        person.confirm()
    for person in people:
        person.sees("tr[data-key=vm-vc1-0] .power", "off")
        button(person, "Clear")
        person.page.check("tr[data-key=vm-vc1-3] input")
        button(person, "Rename")
    for person, name, place in (
        (first, "login", "tr[data-key=login]"),
        (late, "other", "dialog [role=alert]:not(:empty)"),
    ):
        person.page.get_by_label("New name").fill(name)
        person.page.locator("dialog").get_by_role("button", name="Rename").click()
        person.page.locator(place).wait_for()
    late.sees("dialog [role=alert]", "vm-vc1-3")
    button(late, "Cancel")
    late.page.locator("tr[data-key=login]").wait_for()
    late.sees("#message", "vm-vc1-3 is not in the cluster any more.")
    known = ("404", "409", "400")
    assert [
        one for person in people for one in person.harms() if not any(code in one for code in known)
    ] == []


def test_a_compute_is_renamed_and_removed_and_then_its_cluster(
    site: Site, visit: Callable[..., Visit]
) -> None:
    """By a token that allows it; what is not off stays, and names that nobody can give are refused beside the field."""
    site.simulator.guests["vm-vc1-1"].host, site.simulator.guests["vm-vc1-1"].state = HOSTS[0], "active"
    owner = visit().open("cluster?name=vc1").sign_in(token_of(site, "ann", "rename", "cluster:destroy"))
    owner.page.check("tr[data-key=vm-vc1-0] input")
    button(owner, "Rename")
    for name, place, text in (("a b", "#name-wrong", "letters, digits"), ("vm-vc1-1", "dialog", "two nodes")):
        owner.page.get_by_label("New name").fill(name)
        owner.page.locator("dialog").get_by_role("button", name="Rename").click()
        owner.sees(place, text)
    assert violations(owner) == [] and not owner.page.evaluate(WIDE)
    owner.page.get_by_label("New name").fill("login")
    owner.page.locator("dialog").get_by_role("button", name="Rename").click()
    owner.page.locator("tr[data-key=login]").wait_for()
    owner.sees("#actions", "1 selected")
    owner.page.get_by_role("link", name="login", exact=True).click()
    owner.sees("#events", "vm-vc1-0 of vc1 renamed to login by ann")
    owner.page.get_by_role("link", name="All events of login").click()
    owner.sees("h1", "History of vc1/login")
    owner.sees("#operations", "vm-vc1-0 of vc1 renamed to login by ann")
    assert violations(owner) == []
    owner.open("cluster?name=vc1")
    for name in ("login", "vm-vc1-1"):
        owner.page.check(f"tr[data-key={name}] input")
    button(owner, "Remove")
    owner.sees("dialog", "Remove login?")  # the other is on
    owner.page.get_by_label("Type login to confirm").fill("vm-vc1-1")
    owner.confirm()
    owner.sees("#confirm-wrong", "must be login")
    owner.page.get_by_label("Type login to confirm").fill("login")
    owner.confirm()
    owner.page.locator("tr[data-key=login]").wait_for(state="detached")
    assert any(one[:4] == ("remove", "host", "vm", "vm-vc1-0") for one in site.simulator.commands)
    button(owner, "Remove the cluster")
    owner.page.get_by_label("Type vc1 to confirm").fill("vc2")
    owner.confirm()
    owner.sees("#confirm-wrong", "must be vc1")
    owner.page.get_by_label("Type vc1 to confirm").fill("vc1")
    owner.confirm()
    owner.sees("dialog [role=alert]", "vm-vc1-1 is on; power it off first")
    site.simulator.guests["vm-vc1-1"].state = "nostate"
    owner.sees("tr[data-key=vm-vc1-1] .power", "off")
    assert violations(owner) == [] and not owner.page.evaluate(WIDE)
    owner.confirm()
    owner.sees("#about", "There is no cluster vc1 of yours any more.")
    assert owner.page.locator("#content button:visible").count() == 0
    assert [one for one in owner.harms() if not any(code in one for code in ("400", "404", "409"))] == []


def test_nodes_get_fresh_disks_and_clones(site: Site, visit: Callable[..., Visit]) -> None:
    """By a token that allows it, after the name was typed; a node that is on keeps its disk, and gives no clone."""
    guests = site.simulator.guests
    guests["vm-vc1-1"].host, guests["vm-vc1-1"].state = HOSTS[0], "active"
    owner = visit(390).open("cluster?name=vc1").sign_in(token_of(site, "ann", "cluster:reinstall"))
    owner.sees("tr[data-key=vm-vc1-1] .power", "on")
    for name in ("vm-vc1-0", "vm-vc1-1"):
        owner.page.check(f"tr[data-key={name}] input")
    button(owner, "Reinstall")
    owner.sees("dialog", "Reinstall vm-vc1-0?")
    owner.sees("dialog", "All that is on their system disks is lost.")
    assert owner.page.get_by_label("Image", exact=True).inner_text().split("\n") == [
        "the one that each has", "debian-12",
    ]  # fmt: skip
    assert violations(owner) == [] and not owner.page.evaluate(WIDE)
    owner.page.get_by_label("Image", exact=True).select_option("debian-12")
    owner.page.get_by_label("Type vm-vc1-0 to confirm").fill("vc1")
    owner.confirm()
    owner.sees("#confirm-wrong", "must be vm-vc1-0")
    assert not any(one[0] == "reinstall" for one in site.simulator.commands)
    owner.page.get_by_label("Type vm-vc1-0 to confirm").fill("vm-vc1-0")
    owner.confirm()
    owner.sees("#message", "given a fresh disk")
    expected = ("reinstall", "host", "vm", "vm-vc1-0", "image=debian-12", "json=yes")
    assert expected in site.simulator.commands

    button(owner, "Replace by a clone")
    owner.sees("dialog", "Give a cloned disk to vm-vc1-0?")
    originals = owner.page.get_by_label("Compute whose disk is cloned")
    assert originals.inner_text().split("\n") == ["vm-vc1-2", "vm-vc1-3"]
    assert violations(owner) == [] and not owner.page.evaluate(WIDE)
    originals.select_option("vm-vc1-3")
    owner.page.get_by_label("Type vm-vc1-0 to confirm").fill("vm-vc1-0")
    owner.confirm()
    owner.sees("#message", "given a clone of a disk")
    assert ("clone", "host", "vm", "vm-vc1-3", "vm-vc1-0", "json=yes") in site.simulator.commands

    refusal = Answer(1, '[{"error": {"family": "state", "code": "disk_has_clones"}}]', "Error: refused")
    site.simulator.faults.append((("reinstall",), lambda: refusal))
    owner.open("node?cluster=vc1&name=vm-vc1-3")
    button(owner, "Reinstall")
    owner.page.get_by_label("Type vm-vc1-3 to confirm").fill("vm-vc1-3")
    owner.confirm()
    owner.sees("#facts", "not given a fresh disk: other nodes have clones of the disk of vm-vc1-3")
    assert violations(owner) == []
    other = visit().open("cluster?name=vc1").sign_in(token_of(site, "kim"))
    other.page.check("tr[data-key=vm-vc1-0] input")
    assert other.page.get_by_role("button", name="Reinstall").count() == 0
    assert [one for person in (owner, other) for one in person.harms()] == []


def swap_names(site: Site, table: str, one: str, other: str) -> None:
    """What had the one name has the other, as after somebody's renames."""
    with site.pool.transaction() as session:
        for old, new in ((one, "between"), (other, one), ("between", other)):
            session.execute(f"UPDATE {table} SET name = %s WHERE name = %s", (new, old))
        session.execute("UPDATE cluster SET generation = generation + 1")


def test_a_removal_does_not_hit_what_got_the_name_while_the_question_was_open(
    site: Site, visit: Callable[..., Visit]
) -> None:
    """A name that is swapped before the answer, and one that is swapped when the page has looked already."""
    owner = visit().open("cluster?name=vc1").sign_in(token_of(site, "ann", "cluster:destroy"))
    owner.page.check("tr[data-key=vm-vc1-0] input")
    address = "[data-cell=address]"
    other = owner.page.inner_text(f"tr[data-key=vm-vc1-1] {address}")
    button(owner, "Remove")
    owner.page.get_by_label("Type vm-vc1-0 to confirm").fill("vm-vc1-0")
    swap_names(site, "node", "vm-vc1-0", "vm-vc1-1")
    owner.confirm()
    owner.sees("dialog [role=alert]", "vc1 has changed since you were asked: vm-vc1-0 is another node")
    assert violations(owner) == [] and not owner.page.evaluate(WIDE)
    button(owner, "Cancel")
    owner.sees(f"tr[data-key=vm-vc1-0] {address}", other)  # the page has read it again

    demanded: list[str | None] = []

    def swap_then_ask(route: Any) -> None:
        if route.request.method == "DELETE":
            demanded.append(route.request.headers.get("if-match"))
            swap_names(site, "cluster", "vc1", "vc2")
        route.continue_()

    owner.page.route("**/v1/cluster/vc1?*", swap_then_ask)
    button(owner, "Remove the cluster")
    owner.page.get_by_label("Type vc1 to confirm").fill("vc1")
    owner.confirm()
    owner.sees("dialog [role=alert]", "vc1 has changed since you were asked: it is another cluster")
    assert len(demanded) == 1 and demanded[0]
    assert not any(one[0] == "remove" for one in site.simulator.commands)
    assert [one for one in owner.harms() if "412" not in one] == []


@pytest.mark.parametrize("width", [1280, 390])
def test_hundreds_of_nodes_are_found_and_chosen(site: Site, visit: Callable[..., Visit], width: int) -> None:
    """More of them than the service takes changes in a second, and than the line of messages has place for."""
    token = token_of(site, "ann")
    with site.pool.transaction() as session:
        session.execute("UPDATE cluster SET project_id = NULL")
    site.simulator.add_cluster("vc9", 200)
    owner = visit(width).open("cluster?name=vc9")
    wait_until(owner, lambda: nodes_of(site, "vc9") == 201)
    with site.pool.transaction() as session:
        project = identity.project_by_name(session, "alpha")
        (number,) = session.row("SELECT id FROM cluster WHERE name = 'vc9'") or (0,)
        assign_cluster(session, number, project.id)
    owner.sign_in(token)
    owner.sees("#chips", "All 201")
    owner.page.get_by_label("Filter").fill("vc9-1")
    owner.sees("#found", "111 of 201")
    owner.page.get_by_label("the 111 visible").check()
    owner.sees("#actions", "111 selected")
    button(owner, "CD drive")
    button(owner, "Attach")
    owner.sees("#message", "nodes of vc9 emptied.")
    button(owner, "Power on")
    button(owner, "Start")
    owner.sees("dialog [role=alert]", "111 nodes need as many hosts")
    assert violations(owner) == [] and not owner.page.evaluate(WIDE)
    bar = owner.page.locator("#bar").bounding_box()
    assert bar["height"] <= 300 and bar["x"] + bar["width"] <= width
    assert [one for one in owner.harms() if "409" not in one and "429" not in one] == []


def test_an_operation_that_fails_is_reported_beside_its_node(site: Site, visit: Callable[..., Visit]) -> None:
    cause = '[{"error": {"family": "state", "code": "host_full"}}]'
    fault = Answer(1, cause, "Error: the host vm-container-0-0 has no memory left")
    reason = "the host that vc1 was given has too little left for it"
    site.simulator.faults += [(("start", "host", "vm", "vc1"), lambda: fault)]
    owner = visit(390).open("cluster?name=vc1").sign_in(token_of(site, "ann"))
    owner.page.check("tr[data-key='vc1'] input")
    button(owner, "Power on")
    owner.sees("tr[data-key=vc1] .doing", f"not switched on: {reason}")
    assert "vm-container-0-0" not in owner.page.inner_text("body")
    assert violations(owner) == [] and not owner.page.evaluate(WIDE)


def test_a_set_that_runs_in_part_says_why_beside_the_node_that_is_off(
    site: Site, visit: Callable[..., Visit]
) -> None:
    fault = Answer(1, "", "Error: the host is away")
    each_attempt = [(("start", "host", "vm", "vm-vc1-0"), lambda: fault)] * 1000
    site.simulator.faults += each_attempt
    owner = visit(390).open("cluster?name=vc1").sign_in(token_of(site, "ann"))
    for name in ("vm-vc1-0", "vm-vc1-1"):
        owner.page.check(f"tr[data-key={name}] input")
    button(owner, "Power on")
    button(owner, "Start")
    owner.sees("#message", "of vc1 started in part, asked for by ann: 1 of 2 nodes did not start")
    owner.sees("tr[data-key=vm-vc1-0] .doing.bad", "not switched on: the site could not do this")
    owner.sees("tr[data-key=vm-vc1-1] .power", "on")
    assert owner.page.locator("tr[data-key=vm-vc1-1] .bad").count() == 0
    site.simulator.faults.clear()
    owner.page.uncheck("tr[data-key=vm-vc1-1] input")
    button(owner, "Power on")
    owner.sees("#message", "vm-vc1-0 of vc1 switched on.")
    assert owner.page.locator("tr[data-key=vm-vc1-0] .bad").count() == 0
    owner.sees("#sets", "some nodes failed")
    owner.page.locator("#sets a").click()
    owner.sees("#sets", "some nodes failed: the page of vc1 says why")
    assert violations(owner) == [] and not owner.page.evaluate(WIDE)
    owner.page.get_by_role("button", name=re.compile("^End set")).first.click()
    owner.sees("dialog", "vm-vc1-0, vm-vc1-1: shut down")
    owner.confirm()
    owner.sees("#message", "of vc1 has ended: it is cancelled.")
    assert owner.harms() == []


def test_what_waits_says_for_what(site: Site, visit: Callable[..., Visit]) -> None:
    """A system that does not shut down holds up a power-off for as long as it is given."""
    frontend = site.simulator.guests["vc1"]
    frontend.state, frontend.is_deaf = "active", True
    owner = visit().open("cluster?name=vc1").sign_in(token_of(site, "ann"))
    owner.sees("tr[data-key=vc1] .power", "on")
    owner.page.check("tr[data-key=vc1] input")
    button(owner, "Shut down")
    owner.sees("tr[data-key=vc1] .doing", "is being shut down")
    button(owner, "Power off")
    owner.confirm()
    owner.sees("tr[data-key=vc1] .doing", "will be switched off")
    owner.sees("tr[data-key=vc1] .doing", "it is being shut down first")
    frontend.state = "nostate"
    owner.sees("#message", "vc1 switched off")
    frontend.state = "nostate-error"
    owner.sees("tr[data-key=vc1] .doing", "Its host does not answer, or the node is being moved.")
    owner.sees("tr[data-key=vc1] [data-cell=since]", "just now")
    owner.page.get_by_role("link", name="vc1", exact=True).last.click()
    owner.sees("#facts", "unknown")
    assert owner.page.inner_text("#facts").count("Its host does not answer") == 1
    assert owner.harms() == []


def test_a_node_whose_set_waits_is_not_powered_on_and_has_no_host_yet(
    site: Site, visit: Callable[..., Visit]
) -> None:
    token = token_of(site, "ann")
    body = {"cluster": "vc2", "count": 4, "walltime_mins": 60}
    assert ask(site, token, "POST", "computeset", body) == 201
    owner = visit().open("cluster?name=vc1").sign_in(token)
    for number in range(4):
        owner.page.check(f"tr[data-key=vm-vc1-{number}] input")
    button(owner, "Power on")
    button(owner, "Start")
    owner.sees("#message", "waits: not enough hosts are free, place 1 in the queue, then runs for 2d.")
    owner.sees("tr[data-key=vm-vc1-0]", "waits")
    one = owner.page.get_by_role("button", name="Power on", exact=True)
    assert one.get_attribute("aria-disabled") == "true"
    one.focus()
    one.press("Enter")
    owner.sees(
        "#message", "Not done: None of the selected nodes is off. Those of a set that waits start with it."
    )
    owner.open("node?cluster=vc1&name=vm-vc1-0").sees(
        "#facts", "It has no host yet: it gets one when its computeset starts."
    )
    assert owner.harms() == []


def test_a_cluster_of_others_is_not_there(site: Site, visit: Callable[..., Visit]) -> None:
    owner = visit().open("cluster?name=vc3").sign_in(token_of(site, "ann"))
    owner.sees("main", "There is no cluster vc3 of yours")
    assert "vm-vc3-0" not in owner.page.content(), "bob's cluster has it"
