"""Ten tasks of an owner, each from the page of clusters, with their clicks and keys; in clusters of 3 and of 64 nodes.

`pytest -s` prints the table of docs/evidence/tasks.md.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.browser.conftest import Visit, token_of
from tests.browser.test_node_table import own_cluster
from tests.browser.test_owners_pages import ask
from tests.browser.test_pages import WIDE, violations, wait_until
from tests.system.comet.conftest import Site

pytestmark = [pytest.mark.browser]


class Task(NamedTuple):
    """What was done for a task: a choice in a list is two clicks, and what is pasted is one key."""

    text: str
    clicks: int
    keys: int


class Size(NamedTuple):
    """Computes of a cluster: all, those of task 2, those of task 5, and how many each are."""

    computes: int
    few: str
    many: str
    few_count: int
    many_count: int


SIZES = {3: Size(2, "vm-vc9-0", "vm-vc9-1", 1, 1), 64: Size(63, "vm-vc9-[10-19]", "vm-vc9-[30-45]", 10, 16)}
MOST = {
    "1 sign in, and list the nodes that are off": (2, 2),
    "2 switch nodes on": (4, 15),
    "3 find a node by its address, and read its console": (3, 11),
    "4 find the node with the most CPU use in the last hour": (3, 0),
    "5 start computes for six hours, and see the cost before": (4, 18),
    "6 extend them by two hours": (2, 1),
    "7 see why a set waits, and its place in the queue": (1, 0),
    "8 upload an ISO, put it into a node, and boot from it": (9, 0),
    "9 see what the project used last month, by set": (2, 0),
    "10 see who powered a node off yesterday, and why it failed": (2, 0),
}
"""Task → the most clicks and keys that it may take."""


@pytest.fixture
def nodes() -> int:
    return 64


@pytest.fixture
def hosts(nodes: int) -> list[str]:
    """As many as are needed for the sets of tasks 2 and 5: those that are asked for afterwards wait."""
    size = SIZES[nodes]
    return [f"vm-container-1-{number}" for number in range(size.few_count + size.many_count)]


class Hand:
    """The mouse and the keyboard of an owner."""

    def __init__(self, visit: Visit) -> None:
        self.visit, self.page = visit, visit.page
        self.clicks = self.keys = 0
        self.done: list[Task] = []

    def click(self, place: Any) -> None:
        place.click()
        self.clicks += 1

    def button(self, name: str) -> None:
        self.click(self.page.get_by_role("button", name=name, exact=True))

    def link(self, name: str) -> None:
        self.click(self.page.get_by_role("link", name=name, exact=True))

    def type(self, text: str) -> None:
        """Into what has the focus."""
        self.page.keyboard.type(text)
        self.keys += len(text)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)
        self.keys += 1

    def paste(self, text: str) -> None:
        self.page.keyboard.insert_text(text)
        self.keys += 1

    @contextmanager
    def task(self, number: int) -> Iterator[None]:
        """A task, which begins on the page of clusters and leaves a page without faults."""
        (text,) = (one for one in MOST if one.startswith(f"{number} "))
        self.clicks = self.keys = 0
        self.visit.open("clusters")
        yield
        assert violations(self.visit) == [] and not self.page.evaluate(WIDE), text
        self.done.append(Task(text, self.clicks, self.keys))


def prepare(site: Site, owner: Visit, computes: int) -> None:
    """The cluster vc9; a node of it that somebody could not power off yesterday; and sets that ended last month."""
    own_cluster(site, owner, computes)
    last = "DATE_FORMAT(UTC_TIMESTAMP(3) - INTERVAL 1 MONTH, '%%Y-%%m-15 10:00:00')"
    with site.pool.transaction() as session:
        session.execute(
            "INSERT INTO cluster_allocation SELECT c.id, a.id FROM cluster c, allocation a WHERE c.name = 'vc9'"
        )
        session.execute(
            "INSERT INTO operation (id, kind, actor, target_cluster, target_node, project_id, state, created, error)"
            " SELECT '01ARZ3NDEKTSV4RRFFQ69G5FAV', 'poweroff', 'kim', c.id, n.id, c.project_id, 'failed',"
            " UTC_TIMESTAMP(3) - INTERVAL 1 DAY, JSON_OBJECT('code', 'host', 'detail', 'its host did not answer')"
            " FROM cluster c JOIN node n ON n.cluster_id = c.id AND n.name = 'vm-vc9-1' WHERE c.name = 'vc9'"
        )
        for person, count, reason in (("ann", 2, "walltime"), ("kim", 1, "user")):
            session.execute(
                "INSERT INTO computeset (cluster_id, project_id, name, account, node_count, walltime_minutes, state,"
                f" requested_by, start_time, ended_at, end_reason) SELECT id, project_id, %s, 'alp1', %s, 360,"
                f" 'completed', %s, {last}, {last} + INTERVAL 6 HOUR, %s FROM cluster WHERE name = 'vc9'",
                (f"old-{person}", count, person, reason),
            )


def answer_metrics(route: Any, computes: int) -> None:
    """As a site with a Prometheus does: the last compute was the busiest on average."""
    values = {f"vm-vc9-{number}": [1.5 * (number + 1) / computes] * 30 for number in range(computes)}
    rows = [{"name": name, "cpu": used} for name, used in values.items()]
    moments = [1_800_000_000 + 120 * number for number in range(30)]
    route.fulfill(json={"cluster": "vc9", "moments": moments, "nodes": rows, "reason": None})


@pytest.mark.parametrize(
    ("nodes", "width", "scheme"),
    [(3, 1440, "light"), (3, 390, "dark"), (64, 1440, "dark"), (64, 390, "light")],
)
def test_an_owner_does_ten_tasks_with_few_clicks(
    site: Site, visit: Callable[..., Visit], nodes: int, width: int, scheme: str, tmp_path: Path
) -> None:
    size, token = SIZES[nodes], token_of(site, "ann")
    owner = visit(width, scheme).open()
    prepare(site, owner, size.computes)
    hand = Hand(owner)

    with hand.task(1):
        owner.page.wait_for_selector("#password")
        hand.paste(token)
        hand.press("Enter")
        hand.link("vc9")
        hand.button(f"Off {nodes}")
        assert owner.page.locator("#nodes tbody tr").count() == nodes
    with hand.task(2):
        hand.link("vc9")
        hand.click(owner.page.get_by_label("Filter"))
        hand.type(size.few)
        owner.sees("#found", f"{size.few_count} of {nodes}")
        hand.click(owner.page.locator("#nodes thead input"))
        hand.button("Power on")
        hand.press("Enter")
        owner.sees("#sets", "running")
    with hand.task(3):
        address = site.rows(
            "SELECT i.ip FROM interface i JOIN node n ON n.id = i.node_id WHERE n.name = 'vm-vc9-1' AND i.ip <> ''"
        )[0][0]
        hand.link("vc9")
        hand.click(owner.page.get_by_label("Filter"))
        hand.paste(address)
        hand.link("vm-vc9-1")
        wait_until(owner, lambda: bool(owner.page.inner_text("#log")))
    owner.page.route("**/v1/cluster/vc9/metrics*", lambda route: answer_metrics(route, size.computes))
    with hand.task(4):
        hand.link("vc9")
        hand.click(owner.page.get_by_label("CPU use"))
        owner.page.locator("#nodes svg").first.wait_for()
        hand.button("CPU use")
        assert owner.page.locator("#nodes tbody a").first.inner_text() == f"vm-vc9-{size.computes - 1}"
    owner.page.unroute("**/v1/cluster/vc9/metrics*")
    with hand.task(5):
        hand.link("vc9")
        hand.click(owner.page.get_by_label("Filter"))
        hand.type(size.many)
        owner.sees("#found", f"{size.many_count} of {nodes}")
        hand.click(owner.page.locator("#nodes thead input"))
        hand.button("Power on")
        hand.type("6h")
        owner.sees("dialog", f"Costs up to {6 * size.many_count} node hours")
        hand.press("Enter")
        owner.sees("#sets", "of 6h remain")
    ((number,),) = site.rows("SELECT MAX(id) FROM computeset")
    with hand.task(6):
        hand.link("vc9")
        hand.button(f"Extend set {number}")
        hand.press("Enter")
        owner.sees("#sets", "of 8h remain")
    body = {"cluster": "vc1", "count": 2, "walltime_mins": 60}
    assert ask(site, token, "POST", "computeset", body) == 201
    with hand.task(7):
        hand.link("vc1")
        owner.sees("#sets", "not enough hosts are free, place 1 in the queue, then runs for 1h")
    image = tmp_path / "debian.iso"
    image.write_bytes(bytes(0x8000) + b"\x01CD001" + bytes(1 << 20))
    with hand.task(8):
        hand.link("Images")
        with owner.page.expect_file_chooser() as chooser:
            hand.click(owner.page.get_by_label("ISO file"))
        chooser.value.set_files(image)
        hand.button("Upload")
        owner.sees("#message", "debian.iso has arrived.")
        owner.sees("#images", "ready")
        hand.link("Clusters")
        hand.link("vc9")
        owner.sees("#chips", f"All {nodes}")
        hand.click(owner.page.get_by_label("Select vc9", exact=True))
        hand.button("CD drive")
        hand.button("Attach")
        owner.sees("tr[data-key=vc9]", "debian.iso from the next power-on")
        hand.button("Power on")
        owner.sees("tr[data-key=vc9] .power", "on")
        assert site.simulator.guests["vc9"].iso is not None
    with hand.task(9):
        hand.link("Computesets")
        hand.button("Earlier month")
        for text in ("12 node hours", "completed: its walltime is over", "started by kim"):
            owner.sees("#ended", text)
    with hand.task(10):
        hand.link("vc9")
        hand.link("vm-vc9-1")
        owner.sees("#events", "Power-off of vm-vc9-1 of vc9 (kim)")
        owner.sees("#events", "its host did not answer")

    for one in hand.done:
        print(f"| {one.text} | {nodes} | {width} | {one.clicks} | {one.keys} |")
        assert one.clicks <= MOST[one.text][0] and one.keys <= MOST[one.text][1], one
    assert [one.text for one in hand.done] == list(MOST)
    assert owner.harms() == []
