"""The life of a cluster on hosts in memory: boot, list, shutdown, clean; an allocation that dies at each effect."""

import json
import re
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from rocks.commands import Command
from rocks.database.connection import Database
from rocks.database.settings import Settings
from rocks.fleet.fleet import Fleet
from tests.system.machines.site import HEAD, NEW, OLD, MachineSite

ALL = {"dock": HEAD, "vm-dock-0": OLD, "vm-dock-1": NEW}


def states(machines: MachineSite) -> dict[str, tuple[str, str | None]]:
    """Machine → (state, public address), of `pragma list cluster`."""
    found = json.loads(machines.rocks("pragma list cluster json=yes").out or "[]")
    return {
        row["compute nodes"] or one["frontend"]: (row["status"], row["public ip"])
        for one in found
        for row in one["cluster"]
    }


def nothing_is_left(machines: MachineSite) -> None:
    assert states(machines) == {}
    for host in (HEAD, OLD, NEW):
        assert [name for name in machines.files(host) if "dock" in name] == []
        assert machines.links(host) == ["peth0"]
    assert machines.sql("SELECT Name FROM nodes WHERE Name LIKE '%dock%'") == []
    assert machines.sql("SELECT IP FROM networks WHERE IP = '203.0.113.20'") == []


@pytest.mark.slow
def test_boot_list_shutdown_and_clean(machines: MachineSite) -> None:
    """Scenario 16; a cluster that is gone is an error of `list cluster`, and none of `clean`."""
    assert "Started cluster dock" in machines.run("pragma boot dock6 3")
    assert states(machines) == {
        "dock": ("active", "203.0.113.20"),
        "vm-dock-0": ("active", None),
        "vm-dock-1": ("active", None),
    }
    assert machines.read("dock.vda", HEAD, 8) == b"frontend"
    assert machines.read("vm-dock-1.vda", NEW) == b"compute"
    # what runs has its CPUs: 1 of 4 is left
    assert "2 CPUs are not free: the VM containers have 1 free" in machines.refused("pragma boot dock6 2")
    assert "dock, vm-dock-0, vm-dock-1 may run; rocks pragma shutdown dock" in machines.refused(
        "pragma clean dock"
    )
    machines.run("set attr pragma_public_addresses '203.0.113.20=dock 203.0.113.21=dock7.example.org'")
    machines.run("pragma boot dock6 0")
    for command in ("pragma shutdown dock%", "pragma clean dock%", "pragma clean"):
        assert "the name of one cluster" in machines.refused(command)
    machines.run("pragma shutdown dock7")
    machines.run("pragma clean dock7")
    machines.run("pragma shutdown dock")
    assert {state for state, _ in states(machines).values()} == {"nostate"}
    machines.run("pragma clean dock")
    nothing_is_left(machines)
    assert "nobody" in machines.refused("pragma list cluster nobody", 4)
    assert machines.run("pragma clean dock") == "there is no cluster dock, so nothing is removed\n"
    for name in ("vmc-0-0", "head", "vmc%", "nobody%", "dock*"):
        assert "there is no cluster" not in machines.refused(f"pragma clean {name}")
    assert "the name of one cluster, not head;" in machines.refused("pragma clean head")
    machines.run("pragma boot dock6 0")
    assert states(machines) == {"dock": ("active", "203.0.113.20")}


@pytest.mark.slow
def test_a_shutdown_is_for_all_machines_and_names_one_that_is_stuck(machines: MachineSite) -> None:
    """Scenario 15: a host that does not answer stops no other machine; the same command goes on when it does."""
    machines.run("pragma boot dock6 3")
    stuck = next(name for name in ("vm-dock-0", "vm-dock-1") if machines.place(name) == NEW)
    machines.vanish(NEW)
    listed = machines.rocks("pragma list cluster")
    assert listed.status == 0 and f"Warning: the states of machines on {NEW} are unknown: " in listed.err
    ended = machines.rocks("pragma shutdown dock")
    assert ended.status != 0
    assert stuck in ended.err or NEW in ended.err
    assert {name for name, (state, _) in states(machines).items() if state != "nostate"} == {stuck}
    assert f"{stuck} may run" in machines.refused("pragma clean dock")
    machines.revive()
    machines.run("pragma shutdown dock")
    assert {state for state, _ in states(machines).values()} == {"nostate"}
    machines.run("pragma clean dock")
    nothing_is_left(machines)


def test_a_cluster_of_other_commands_is_neither_shut_down_nor_cleaned(machines: MachineSite) -> None:
    machines.run("add cluster 203.0.113.20 1 fe-name=course cluster-naming=yes")
    machines.run("set host vm course mem=1024")
    machines.run("set host boot course action=os")
    machines.run("start host vm course")
    before = machines.sql("SELECT Name FROM nodes ORDER BY Name")
    for command, other in (("shutdown", "stop"), ("clean", "remove")):
        refused = machines.refused(f"pragma {command} course")
        assert f"course was not booted by pragma; rocks {other} cluster course" in refused
    assert machines.running("course") == [HEAD]
    assert machines.sql("SELECT Name FROM nodes ORDER BY Name") == before


@pytest.mark.slow
def test_what_a_start_notes_of_a_machine_is_printed(machines: MachineSite) -> None:
    """These hosts have no /dev/kvm; the first start also notes that the image was copied."""
    ended = machines.rocks("pragma boot dock6 0")
    machines.run("pragma shutdown dock")
    by_hand = machines.rocks("start cluster dock")
    assert (ended.status, by_hand.status) == (0, 0)
    assert "under emulation" in by_hand.err and by_hand.err in ended.err


@pytest.mark.slow
def test_a_dry_run_of_a_start_and_of_a_stop_with_notes_ends(
    machines: MachineSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines without a packet filter, and one that another cluster has, too, are noted."""
    notify = Command.notify

    def counted(command: Command, line: str) -> None:
        assert len(command.notes) < 100, "the notes grow without end"
        notify(command, line)

    monkeypatch.setattr(Command, "notify", counted)
    machines.run("set attr vm_filter off")
    assert "head: would start dock" in machines.run("pragma boot dock6 1 dry-run=yes")
    machines.run("pragma boot dock6 1")
    ((vlan,),) = machines.sql("SELECT DISTINCT vlanid FROM clusters")
    machines.run("add cluster 203.0.113.29 1 fe-name=blue cluster-naming=yes vlan=99")
    machines.run(f"add host interface vm-blue-0 eth1 vlan={vlan}")
    assert "head: would " in machines.run("pragma shutdown dock dry-run=yes")
    assert machines.running("dock") == [HEAD]


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "winners"), [("library_images", 1), ("lock", 1), ("start", 2)])
def test_two_boots_at_once_do_not_get_the_same_cpus(
    machines: MachineSite, monkeypatch: pytest.MonkeyPatch, moment: str, winners: int
) -> None:
    """There are 4. The second one runs while the first one adds its images, has asked hosts, or is about to start."""
    machines.run("pragma list cluster")
    kvm_rocks = import_module("rocks.commands.pragma._shared.kvm_rocks")
    place = {"library_images": kvm_rocks, "lock": Database, "start": kvm_rocks.KvmRocks}[moment]
    work, second = getattr(place, moment), []

    def interrupted(*arguments: Any, **named: Any) -> Any:
        if not second and (moment != "lock" or "pragma address" in arguments):
            second.append(None)  # the second one comes here, too
            second.append(machines.rocks("pragma boot dock6 2"))
        return work(*arguments, **named)

    monkeypatch.setattr(place, moment, interrupted)
    ended = [machines.rocks("pragma boot dock6 3"), second[1]]
    (refused,) = [one.err for one in ended if one.status]
    assert "CPUs are not free: the VM containers have" in refused
    assert set(states(machines)) == {"dock", *(f"vm-dock-{number}" for number in range(winners))}


@pytest.mark.slow
def test_no_host_is_asked_while_other_boots_wait_for_an_address(
    machines: MachineSite, cluster_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that hangs would hold all of them up."""
    machines.add("other")  # whose host is asked
    ask = Fleet.ask_each
    locked: list[list[str]] = []
    with closing(Database(cluster_database)) as another:

        def asked(*arguments: Any, **named: Any) -> Any:
            locked.append(another.locked_by_others(["pragma address"]))
            return ask(*arguments, **named)

        monkeypatch.setattr(Fleet, "ask_each", asked)
        machines.run("pragma boot dock6 3")
    assert len(locked) > 1 and not any(locked)


def test_no_host_is_asked_for_the_name_of_a_request(
    machines: MachineSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.run("pragma boot dock6 0 request=nucleus-1")
    monkeypatch.setattr(Fleet, "ask_each", Mock(side_effect=AssertionError))
    assert machines.run("pragma list cluster request=nucleus-2") == ""


def test_a_repeated_request_whose_description_has_left_the_repository_says_how_its_cluster_starts(
    machines: MachineSite, tmp_path: Path
) -> None:
    boot = "pragma boot dock6 0 request=nucleus-1"
    machines.run(boot)
    machines.run("pragma shutdown dock")
    (tmp_path / "repository/vcdb.txt").write_text("")
    refused = machines.refused(boot)
    assert "the repository has no cluster dock6" in refused
    assert refused.rstrip().endswith(": rocks start cluster dock")
    machines.run("start cluster dock")
    assert states(machines) == {"dock": ("active", "203.0.113.20")}


@pytest.mark.slow
def test_a_repeated_request_starts_no_machine_on_another_host_than_it_names(machines: MachineSite) -> None:
    """Those of the first boot may have another job by now."""
    boot = "pragma boot dock6 1 request=nucleus-1"
    machines.run(f"{boot} hosts={OLD}")
    machines.run("pragma shutdown dock")
    for hosts in (NEW, HEAD):
        assert f"it has machines on {OLD}, and hosts= has others" in machines.refused(f"{boot} hosts={hosts}")
    assert {state for state, _ in states(machines).values()} == {"nostate"}
    machines.run(f"{boot} hosts={NEW},{OLD}")
    assert machines.running("dock") == machines.running("vm-dock-0") == [OLD]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ssh", "clock"])
def test_a_boot_that_waits_ends_when_its_cluster_is_removed(
    machines: MachineSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    wait = f"<boot_dependency parent='frontend'><wait type='{kind}' value='1800'/></boot_dependency>"
    description = tmp_path / "repository/dock6/vc-in.xml"
    description.write_text(description.read_text().replace("<compute>", f"<compute>{wait}"))
    machines.run("pragma list cluster")
    starting = import_module("rocks.commands.pragma._shared.starting")
    seconds: list[float] = []

    def wait_and_remove(count: float) -> None:
        seconds.append(count)
        assert len(seconds) < 30, "it waits for a cluster that is gone"
        if len(seconds) == 3:
            machines.run("pragma shutdown dock")
            machines.run("pragma clean dock")

    monkeypatch.setattr(starting, "_answers", lambda _: False)
    monkeypatch.setattr(starting, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(starting, "wait_seconds", wait_and_remove)
    refused = machines.refused("pragma boot dock6 1")
    assert "the cluster dock was removed while its boot waited for it" in refused
    assert len(seconds) == 3
    nothing_is_left(machines)


@pytest.mark.slow
def test_a_cluster_that_is_shut_down_while_its_computes_wait_stays_off(
    machines: MachineSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = "<boot_dependency parent='frontend'><wait type='clock' value='1'/></boot_dependency>"
    description = tmp_path / "repository/dock6/vc-in.xml"
    description.write_text(description.read_text().replace("<compute>", f"<compute>{wait}"))
    machines.run("pragma list cluster")
    starting = import_module("rocks.commands.pragma._shared.starting")

    def shut_down(count: float) -> None:
        if {state for state, _ in states(machines).values()} != {"nostate"}:
            machines.run("pragma shutdown dock")

    monkeypatch.setattr(starting, "wait_seconds", shut_down)
    refused = machines.refused("pragma boot dock6 1")
    assert "dock was switched off while its computes waited; rocks start cluster dock" in refused
    assert {state for state, _ in states(machines).values()} == {"nostate"}


@pytest.mark.slow
def test_what_an_interrupted_boot_advises_removes_the_cluster(
    machines: MachineSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.run("pragma list cluster")
    starting = import_module("rocks.commands.pragma._shared.starting")
    monkeypatch.setattr(starting, "_answers", Mock(side_effect=KeyboardInterrupt))
    ended = machines.rocks("pragma boot dock6 1 wait=yes")
    assert ended.status == 130 and set(states(machines)) == {"dock", "vm-dock-0"}
    for line in re.findall("rocks (.*?) NAME", ended.err):
        machines.run(f"{line} dock")
    nothing_is_left(machines)


@pytest.mark.slow
def test_a_cluster_with_a_further_interface_starts(machines: MachineSite) -> None:
    machines.run("add network ent 10.102.0.0 255.255.255.0")
    machines.run("set attr pragma_additional_interfaces ent:eth2")
    for number, host in enumerate((HEAD, OLD, NEW), 1):
        machines.run(f"add host interface {host} eth2 subnet=ent ip=10.102.0.{number}")
        machines.hosts[host].links.add("eth2", "bridge")
    machines.run("pragma boot dock6 1 add-iface=ent:10.102.0.10/24")
    assert set(states(machines)) == {"dock", "vm-dock-0"}
    assert {state for state, _ in states(machines).values()} == {"active"}
    for host, name, count in ((HEAD, "dock", 3), (machines.place("vm-dock-0"), "vm-dock-0", 2)):
        text = machines.hosts[host].domains.document(name).text
        assert text.count("<interface ") == count
        assert 'bridge="eth2"' in text.replace("'", '"')
    machines.run("pragma shutdown dock")
    machines.run("pragma clean dock")


def test_an_allocation_that_dies_leaves_nothing_or_a_whole_cluster(
    machines: MachineSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scenario 14. Starts are not part of it: `system/machines/test_deaths.py` has those."""
    from rocks.commands.start.cluster import Command

    monkeypatch.setattr(Command, "run", lambda *_: None)
    log = tmp_path / "log"
    machines.add("other")  # hosts are asked what runs
    deaths = 0
    for _ in machines.deaths(f"pragma boot dock6 3 logfile={log}"):
        deaths += 1
        found = set(states(machines))
        assert found in (set(), set(ALL))
        if "Allocated cluster dock" in log.read_text():
            assert found == set(ALL)
        log.unlink()
        if found:
            machines.run("pragma clean dock")
        nothing_is_left(machines)
    assert deaths >= 3
    assert set(states(machines)) == set(ALL)


@pytest.mark.slow
def test_a_boot_that_goes_on_alone_is_waited_for_and_ends_without_its_key(
    machines: MachineSite, cluster_database: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has cancelled the request removes the key, and then asks."""
    monkeypatch.setattr(import_module("rocks.commands.pragma._shared.kvm_rocks"), "_LIST_SECONDS", 0.1)
    listing = "pragma list cluster request=nucleus-1"
    with closing(Database(cluster_database)) as boot:
        boot.lock("pragma request nucleus-1", 1.0)  # it has read the key
        assert "pragma request nucleus-1" in machines.refused(listing)
    assert machines.run(listing) == ""
    assert "gone.pub" in machines.refused(f"pragma boot dock6 0 key={tmp_path}/gone.pub request=nucleus-1")
    assert machines.run(listing) == ""
    nothing_is_left(machines)


def test_a_machine_of_another_cluster_on_its_vlan_stays(machines: MachineSite) -> None:
    machines.run("pragma boot dock6 1")
    ((vlan,),) = machines.sql("SELECT DISTINCT vlanid FROM clusters")
    machines.run(
        f"add cluster 203.0.113.29 1 fe-name=blue cluster-naming=yes vlan=99 fe-container={OLD}"
        f" container-hosts={OLD} disk-per-compute=1 mem-per-compute=64"
    )
    machines.run("set host boot vm-blue-0 action=os")
    machines.run(f"add host interface vm-blue-0 eth1 vlan={vlan}")
    machines.run("start host vm vm-blue-0")
    machines.run("add host nas-0-0 'membership=NAS Appliance' rack=0 rank=9")
    machines.run("set host vm nas vm-blue-0 nas=nas-0-0 zpool=tank")  # nobody is asked for its image
    assert "vm-blue-0 is left as it is" in machines.run("pragma shutdown dock")
    assert machines.running("vm-blue-0") == [OLD]
    assert "vm-blue-0 may run; rocks stop host vm vm-blue-0 first: " in machines.refused("pragma clean dock")
    assert "blue was not booted by pragma; rocks remove cluster blue" in machines.refused("pragma clean blue")
    assert {name for name, (state, _) in states(machines).items() if state == "active"} == {"vm-blue-0"}
