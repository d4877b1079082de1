"""Commands that run at the same moment, as processes of their own."""

import subprocess  # noqa: TID251 - starts several at once, as operators do
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import rocks
from rocks.cluster import add
from rocks.cluster.add import ClusterImages
from rocks.database.connection import Database
from rocks.inventory.attributes.changes import add_attribute, set_attribute
from rocks.inventory.hosts import set_comment
from rocks.machine.change import VmChanges, set_vms
from rocks.site.hosts import remove_part
from tests.patience import patience
from tests.system.commands.conftest import Site
from tests.waiting import at_once, wait_until

LAUNCHER = Path(rocks.__file__).parent / "cli" / "launch.py"


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """`rocks WORDS…` in a process, its output in pipes."""
    return subprocess.Popen(
        [sys.executable, "-E", "-S", str(LAUNCHER), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends(started: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """(exit status, standard error) of each, when all have ended."""
    outcomes = []
    for process in started:
        _, error_output = process.communicate(timeout=patience(60))
        outcomes.append((process.returncode, error_output))
    return outcomes


@pytest.mark.slow
def test_of_two_that_add_the_same_host_one_succeeds(site: Site, processes: dict[str, str]) -> None:
    for number in range(3):
        outcomes = ends([start(processes, "add", "host", f"compute-0-{number}") for _ in range(2)])
        assert sorted(status for status, _ in outcomes) == [0, 1], outcomes
        (message,) = [error for status, error in outcomes if status]
        assert message.startswith("Error: ") and "Traceback" not in message
    assert len(site.done("list host").splitlines()) == 4


@pytest.mark.slow
def test_of_two_that_remove_the_same_host_one_says_that_it_is_gone(
    site: Site, processes: dict[str, str]
) -> None:
    """Also of one that began when the host was there, and waits for its rows."""
    for number in range(3):
        site.done("add host", f"compute-0-{number}")
        outcomes = ends([start(processes, "remove", "host", f"compute-0-{number}") for _ in range(2)])
        assert sorted(status for status, _ in outcomes) == [0, 1], outcomes
        (message,) = [error for status, error in outcomes if status]
        assert "another command has removed compute" in message or "cannot resolve host" in message
    for number in range(2):
        site.done("add host", f"compute-0-{number}")
    with Database(site.database.settings) as other:
        remove_part(other, ["compute-0-0"], "node")
        removing = start(processes, "remove", "host", "compute-0-0", "compute-0-1")
        waiting = "SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT%UPDATE'"
        wait_until(lambda: site.rows(waiting) or removing.poll(), "it waits for no row")
        other.commit()
    ((status, error),) = ends([removing])
    assert status == 1
    assert "another command has removed compute-0-0 meanwhile; repeat this with the other hosts" in error
    assert site.done("list host output-col=host output-header=no").split() == ["compute-0-1:"]


@pytest.mark.slow
def test_of_two_that_add_the_same_partition_one_succeeds(site: Site, processes: dict[str, str]) -> None:
    site.done("add host compute-0-0")
    for number in range(3):
        line = ["add", "host", "partition", "compute-0-0", f"device=sda{number}"]
        outcomes = ends([start(processes, *line) for _ in range(2)])
        assert sorted(status for status, _ in outcomes) == [0, 1], outcomes
        (message,) = [error for status, error in outcomes if status]
        assert message.startswith("Error: host compute-0-0 has this partition")
    assert site.rows("SELECT COUNT(*) FROM partitions") == [(3,)]


def test_a_partition_of_a_host_that_goes_is_refused(site: Site, processes: dict[str, str]) -> None:
    site.done("add host compute-0-0")
    with Database(site.database.settings) as other:
        remove_part(other, ["compute-0-0"], "node")
        adding = start(processes, "add", "host", "partition", "compute-0-0", "device=sda1")
        waiting = "SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT%UPDATE'"
        wait_until(lambda: site.rows(waiting) or adding.poll(), "it waits for no row")
        other.commit()
    ((status, error),) = ends([adding])
    assert status == 1 and error.startswith("Error: another command has removed host compute-0-0 meanwhile")


def test_of_many_that_take_the_same_address_one_succeeds(site: Site, processes: dict[str, str]) -> None:
    for number in range(4):
        site.done("add host", f"compute-0-{number}")
    arguments = ("add", "host", "interface")
    outcomes = ends(
        [
            start(processes, *arguments, f"compute-0-{n}", "eth0", "ip=10.1.0.9", "subnet=private")
            for n in range(4)
        ]
    )
    assert sorted(status for status, _ in outcomes) == [0, 1, 1, 1], outcomes
    assert all("Traceback" not in error for _, error in outcomes)


@pytest.mark.slow
def test_of_eight_that_take_the_same_address_on_different_networks_one_succeeds(
    site: Site, processes: dict[str, str]
) -> None:
    """The unique key of the table is (network, address): without a network, or with another one, it does not help."""
    for number in range(8):
        site.done("add host", f"compute-0-{number}")
        site.done("add host interface", f"compute-0-{number}", "eth0")
    adding = ("add", "host", "interface")
    setting = ("set", "host", "interface", "ip")
    outcomes = ends(
        [start(processes, *adding, f"compute-0-{n}", "eth1", "ip=198.51.100.9") for n in range(4)]
        + [start(processes, *setting, f"compute-0-{n}", "eth0", "198.51.100.9") for n in range(4, 8)]
    )
    assert sorted(status for status, _ in outcomes) == [0] + [1] * 7, outcomes
    assert all("is in use by host" in error for status, error in outcomes if status)
    assert site.database.rows("SELECT COUNT(*) FROM networks WHERE IP = '198.51.100.9'") == [(1,)]


@pytest.mark.slow
def test_different_hosts_do_not_hinder_each_other(site: Site, processes: dict[str, str]) -> None:
    outcomes = ends([start(processes, "add", "host", f"compute-0-{number}") for number in range(8)])
    assert outcomes == [(0, "")] * 8
    outcomes = ends([start(processes, "remove", "host", f"compute-0-{number}") for number in range(8)])
    assert outcomes == [(0, "")] * 8
    assert site.done("list host") == ""


def test_words_reach_the_database_as_they_were_typed(site: Site, processes: dict[str, str]) -> None:
    site.done("add host compute-0-0")
    site.done("add host interface compute-0-0 eth0")
    options = "a='b' \"c\" <d>&amp; $(e) `f` \\ é日本"
    arguments = ("set", "host", "interface", "options", "compute-0-0", "eth0", f"options={options}")
    assert ends([start(processes, *arguments)]) == [(0, "")]
    assert site.database.rows("SELECT Options FROM networks") == [(options,)]
    listed, _ = start(processes, "list", "host", "interface", "output-col=options").communicate(timeout=60)
    assert listed == f"OPTIONS{' ' * (len(options) - 7)}\n{options}\n"


def test_bytes_that_are_not_utf8_are_rejected(site: Site, processes: dict[str, str]) -> None:
    site.done("add host compute-0-0")
    process = subprocess.run(
        [sys.executable, "-E", "-S", str(LAUNCHER), "set", "host", "name", "compute-0-0", b"\xff\xfe"],
        env=processes,
        capture_output=True,
    )
    assert process.returncode == 1
    assert process.stderr.count(b"\n") == 1 and process.stderr.startswith(b"Error: ")


@pytest.mark.slow
def test_of_two_that_add_the_same_route_one_succeeds(site: Site, processes: dict[str, str]) -> None:
    site.done("add host compute-0-0")
    for kind in (["route"], ["host", "route", "compute-0-0"]):
        for number in range(3):
            line = ["add", *kind, f"10.{number + 2}.0.0", "private", "netmask=255.255.0.0"]
            outcomes = ends([start(processes, *line) for _ in range(2)])
            assert sorted(status for status, _ in outcomes) == [0, 1], outcomes
            (message,) = [error for status, error in outcomes if status]
            assert message.startswith("Error: route exists") and "Traceback" not in message


@pytest.mark.slow
def test_all_that_set_or_remove_the_same_attribute_at_once_succeed(
    site: Site, processes: dict[str, str]
) -> None:
    site.done("add host compute-0-0")
    for of in (["attr"], ["host", "attr", "compute-0-0"]):
        for _ in range(2):
            lines = [*(["set", *of, "colour", f"{n}"] for n in range(4)), *[["remove", *of, "colour"]] * 2]
            outcomes = ends([start(processes, *line) for line in lines])
            assert [status for status, _ in outcomes] == [0] * len(lines), outcomes


Change = Callable[[Database], object]


def in_transactions_at_once(site: Site, *transactions: tuple[Change, Change]) -> None:
    """Each makes its first change; when all have, or one waits for another, its second one, and commits."""
    all_are_there = threading.Barrier(len(transactions))

    def work(changes: tuple[Change, Change]) -> None:
        with Database(site.database.settings) as database:
            changes[0](database)
            with suppress(threading.BrokenBarrierError):
                all_are_there.wait(1)
            changes[1](database)
            database.commit()

    site.database.rollback()
    assert at_once(work, transactions) == [None] * len(transactions)


def setting(host: str, name: str, value: str = "red") -> Change:
    """Set an attribute of a host."""
    return lambda database: set_attribute(database, "host", [host], name, value)


@pytest.mark.slow
def test_transactions_that_add_one_attribute_and_set_another_do_not_deadlock(site: Site) -> None:
    """As the lines of a dump that are loaded while another command changes the same members."""
    site.done("add host compute-0-0")
    in_transactions_at_once(
        site,
        (
            lambda database: add_attribute(database, "host", ["compute-0-0"], "first", "1"),
            setting("compute-0-0", "colour"),
        ),
        (
            lambda database: set_comment(database, ["compute-0-0"], "second"),
            setting("compute-0-0", "colour"),
        ),
    )
    listed = site.done("list host attr compute-0-0")
    assert all(word in listed for word in ("first", "second", "colour"))


@pytest.mark.slow
def test_transactions_of_a_host_that_never_had_an_attribute_do_not_deadlock(site: Site) -> None:
    site.done("add host compute-0-0")
    site.change("DELETE FROM catindex WHERE Name = 'compute-0-0'")
    in_transactions_at_once(
        site,
        *((setting("compute-0-0", f"a{n}"), setting("compute-0-0", "colour")) for n in range(3)),
    )
    listed = site.done("list host attr compute-0-0").split()
    assert {"a0", "a1", "a2", "colour"} <= set(listed)


@pytest.mark.slow
def test_the_order_of_named_machines_is_not_that_of_locks(vm_site: Site) -> None:
    """Another command wants both machines when one of them has its first maximum."""
    vm_site.done("add cluster 203.0.113.30 2", "fe-name=one", "cluster-naming=yes")
    names = [
        str(name) for (name,) in vm_site.rows("SELECT n.Name FROM nodes n JOIN vm_nodes v ON v.Node = n.ID")
    ]
    settings, is_begun = vm_site.database.settings, threading.Event()
    vm_site.database.rollback()

    def set_one(*given: Any) -> None:
        set_attribute(*given)
        if not is_begun.is_set():
            is_begun.set()
            other.join(1)

    def set_all() -> None:
        is_begun.wait(60)
        with Database(settings) as database:
            set_attribute(database, "host", names, "colour", "red")
            database.commit()

    other = threading.Thread(target=set_all)
    other.start()
    vm_site.patch.setattr("rocks.machine.change.set_attribute", set_one)
    with Database(settings) as database:
        set_vms(database, names[::-1], VmChanges(max_cpus=64, max_memory_mb=65536))
        database.commit()
    other.join()
    stored = (
        "SELECT Attr, COUNT(*) FROM vattributes WHERE Catindex IN %s AND Attr LIKE %s GROUP BY 1 ORDER BY 1"
    )
    assert vm_site.rows(stored, [names, "kvm_max%"]) == [("kvm_max_cpus", 3), ("kvm_max_memory", 3)]
    assert vm_site.rows(stored, [names, "colour"]) == [("colour", 3)]


def test_two_swaps_at_once_are_two_swaps(site: Site, processes: dict[str, str]) -> None:
    site.done("add host compute-0-0")
    for number in range(2):
        site.done("add host interface compute-0-0", f"eth{number}", f"mac=52:54:00:00:00:0{number}")
    before = site.done("list host interface")
    line = ["swap", "host", "interface", "compute-0-0", "ifaces=eth0,eth1", "sync-config=no"]
    outcomes = ends([start(processes, *line) for _ in range(2)])
    assert [status for status, _ in outcomes] == [0, 0], outcomes
    assert site.done("list host interface") == before


def test_clusters_that_are_added_at_once_share_nothing(vm_site: Site, processes: dict[str, str]) -> None:
    started = [start(processes, "add", "cluster", f"203.0.113.{20 + number}", "20") for number in range(4)]
    assert ends(started) == [(0, "")] * 4
    vm_site.database.rollback()
    of_machines = "FROM networks i JOIN vm_nodes v ON v.Node = i.Node"
    for column, count in (("MAC", 4 * 22), ("IP", 4 * 2)):
        found = vm_site.database.rows(f"SELECT COUNT(i.{column}), COUNT(DISTINCT i.{column}) {of_machines}")
        assert found == [(count, count)], column
    places = vm_site.database.rows("SELECT COUNT(DISTINCT PhysNode, Slice), COUNT(*) FROM vm_nodes")
    assert places == [(84, 84)]
    assert vm_site.database.rows("SELECT VlanID FROM cluster_vlans ORDER BY 1") == [(2,), (3,), (4,), (5,)]
    clusters = vm_site.database.rows("SELECT cluster_name, COUNT(*) FROM clusters GROUP BY 1")
    assert [count for _, count in clusters] == [21] * 4


def test_of_two_that_add_the_same_cluster_one_succeeds(vm_site: Site, processes: dict[str, str]) -> None:
    line = ("add", "cluster", "203.0.113.9", "3", "fe-name=blue")
    good, bad = sorted(ends([start(processes, *line) for _ in range(2)]))
    assert (good[0], bad[0]) == (0, 1) and bad[1].startswith("Error: ") and "Traceback" not in bad[1]
    assert vm_site.rows("SELECT COUNT(*) FROM vm_nodes") == [(4,)]


CLUSTER = ("fe-container=vmc-0-0", "container-hosts=vmc-0-1")
ROUNDS = 6


@pytest.fixture
def disk(vm_site: Site, tmp_path: Path) -> Path:
    """A file that can be an image, on a site with an empty library."""
    vm_site.done("set attr image_library", str(tmp_path / "library"))
    file = tmp_path / "disk"
    file.write_bytes(b"boot".ljust(512, b"\0"))
    return file


def missing_images(site: Site) -> set[str]:
    """Images that machines are to be made from, and that the library does not have."""
    site.database.end_reading()
    used = {
        str(value) for (value,) in site.database.rows("SELECT Value FROM attributes WHERE Attr = 'vm_image'")
    }
    return used - {line.partition(":")[0] for line in site.done("list image").splitlines()}


@pytest.mark.slow
def test_an_image_is_not_removed_under_a_cluster_that_is_being_added(
    vm_site: Site, disk: Path, processes: dict[str, str]
) -> None:
    """The removal begins when the images of the cluster were read, and before anything of it is stored."""
    vm_site.done("add image debian", f"file={disk}")
    removals: list[tuple[int, str]] = []
    read = add.read_images

    def read_then_remove(*given: Any) -> ClusterImages:
        found = read(*given)
        given[0].end_reading()  # this wait is the test's, not the command's
        removals.extend(ends([start(processes, "remove", "image", "debian")]))
        return found

    vm_site.patch.setattr(add, "read_images", read_then_remove)
    added = vm_site.rocks("add cluster 203.0.113.30 1", *CLUSTER, "fe-name=one", "image=debian")
    assert added.status == 0, added.err
    ((status, error),) = removals
    assert status == 1 and "another command is at work on library image debian" in error
    assert missing_images(vm_site) == set()
    assert "one" in vm_site.refused("remove image debian")


@pytest.mark.slow
def test_of_a_cluster_and_the_removal_of_its_image_one_wins(
    vm_site: Site, disk: Path, processes: dict[str, str]
) -> None:
    """Both at the same moment, as processes, several times."""
    for number in range(ROUNDS):
        image, name = f"debian-{number}", f"fe-{number}"
        vm_site.done("add image", image, f"file={disk}")
        add = (
            "add",
            "cluster",
            f"203.0.113.{40 + number}",
            "1",
            *CLUSTER,
            f"fe-name={name}",
            f"image={image}",
        )
        both = [add, ("remove", "image", image)]
        outcomes = ends([start(processes, *line) for line in (both if number % 2 else reversed(both))])
        assert sorted(status for status, _ in outcomes) == [0, 1], outcomes
        assert all("Traceback" not in error for _, error in outcomes)
        assert missing_images(vm_site) == set()
        is_added = f"{name}:" in vm_site.done("list host")
        assert is_added == (f"{image}:" in vm_site.done("list image")), outcomes


def test_a_command_that_is_killed_in_its_transaction_leaves_nothing(
    vm_site: Site, processes: dict[str, str]
) -> None:
    """It waits for a table that it writes last; then the same command adds the cluster."""
    database, line = vm_site.database, ("add", "cluster", "203.0.113.30", "2", *CLUSTER, "fe-name=one")
    before = vm_site.contents()
    database.execute("LOCK TABLES boot WRITE")
    process = start(processes, *line)
    waiting = "SELECT 1 FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%%'"
    wait_until(lambda: database.rows(waiting), lambda: process.poll() and process.communicate())
    process.kill()
    process.communicate()
    database.execute("UNLOCK TABLES")
    wait_until(lambda: vm_site.contents() == before, "its transaction is undone")
    vm_site.done(*line)
