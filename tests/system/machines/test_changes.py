"""Changes of machines that run, and of their records: CPUs, memory, disks and interfaces."""

import json

import pytest

from rocks.core.clock import Deadline
from tests.system.machines.hosts import AgentStream
from tests.system.machines.site import HEAD, NEW, OLD, MachineSite

MAC = "76:77:6e:80:09:09"


@pytest.fixture
def running(machines: MachineSite) -> MachineSite:
    """The machine `g` runs on the first host."""
    machines.started("g")
    return machines


def second(machines: MachineSite) -> str:
    """Another disk of the machine."""
    return f"file:{machines.image('g.vdb')},vdb,virtio"


def xml(machines: MachineSite) -> str:
    return machines.hosts[OLD].domains.document("g").text


def leased(machines: MachineSite) -> list[str]:
    """The file names of the disks under the machine's lease."""
    return [
        str(path).rpartition("/")[2]
        for (path,) in machines.sql("SELECT Path FROM vm_lease_disks ORDER BY Path")
    ]


def test_cpus_and_memory_change_within_the_bounds_of_the_start(machines: MachineSite) -> None:
    machines.add("g")
    machines.run("set host vm g mem=192 maxmem=1024 maxcpus=2")
    machines.run("start host vm g")
    notes = machines.run("set host vm g cpus=2 mem=448")
    assert "g has 2 CPUs now" in notes and "g has 448 MB of memory now" in notes
    fact = machines.hosts[OLD].domains.find("g")
    assert fact is not None and (fact.memory_mb, fact.cpus) == (448, 2)
    assert machines.sql("SELECT Mem FROM vm_nodes") == [("448",)] or machines.sql(
        "SELECT Mem FROM vm_nodes"
    ) == [(448,)]
    machines.run("stop host vm g")
    machines.run("start host vm g")
    fact = machines.hosts[OLD].domains.find("g")
    assert fact is not None and (fact.memory_mb, fact.cpus) == (448, 2)


def test_a_disk_is_attached_grows_and_is_detached(running: MachineSite) -> None:
    add = f"add host vm disk g disk={second(running)} disksize=2"
    assert "is attached to g as vdb" in running.run(add)
    assert running.image("g.vdb").stat().st_size == 2 * 1000**3
    running.run(add)
    assert xml(running).count("<disk") == 2 and leased(running) == ["g.vda", "g.vdb"]
    assert "with 3.0 GB now" in running.run("set host vm disk g vdb size=3")
    assert running.image("g.vdb").stat().st_size == 3 * 1000**3
    assert "only grows" in running.refused("set host vm disk g vdb size=2")
    running.hosts[OLD].domains.guests_release = False
    assert "g.vdb" in running.refused("remove host vm disk g vdb")
    assert running.sql("SELECT Name FROM vm_disks ORDER BY ID") == [("g.vda",), ("g.vdb",)]
    running.hosts[OLD].domains.guests_release = True
    printed = running.run("remove host vm disk g vdb")
    assert f"the image stays: rocks remove host image {OLD} '{running.image('g.vdb')}'" in printed
    assert "g.vdb" not in xml(running) and running.files(OLD) == ["g.vda", "g.vdb"]
    assert leased(running) == ["g.vda"] and running.sql("SELECT Name FROM vm_disks") == [("g.vda",)]
    assert "first disk of g" in running.refused("remove host vm disk g vda")


def test_a_change_is_one_request_and_its_host_decides(
    running: MachineSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a disk was removed its host is asked whether the image stays."""
    calls: list[str] = []
    send = AgentStream.send

    def counting(stream: AgentStream, data: bytes, deadline: Deadline) -> None:
        calls.append(json.loads(data)["call"])
        send(stream, data, deadline)

    monkeypatch.setattr(AgentStream, "send", counting)
    for line, asked in (
        (f"add host vm disk g disk={second(running)} disksize=1", ["perform"]),
        ("set host vm disk g vdb size=2", ["perform"]),
        ("remove host vm disk g vdb", ["perform", "facts"]),
        ("set host vm g mem=128", ["perform"]),
        ("sync host vm g", ["perform"]),
        ("save host vm g", ["perform"]),
        ("sync host vm g", []),
    ):
        calls.clear()
        running.run(line)
        assert calls == asked, line


def test_a_running_machine_with_more_memory_than_its_host_is_a_warning(running: MachineSite) -> None:
    running.run("sync vm lease")
    printed = running.run("set host vm g mem=9999999")
    assert (
        "Warning: g has 9999999 MB of memory, and the host" in printed and "does not start there" in printed
    )
    running.run("set host vm g mem=64")
    most = running.run("set host vm g maxmem=9999999")
    assert most.count("Warning") == 1 and "g may get up to 9999999 MB of memory while it runs" in most


@pytest.mark.slow
def test_a_record_that_its_images_do_not_follow_has_its_note(running: MachineSite) -> None:
    running.run("stop host vm g")
    assert "keeps its size" in running.run("set host vm g disksize=20")
    printed = running.run(f"set host vm g physnode={NEW}")
    assert f"rocks set host vm g physnode={OLD}, then rocks move host vm g {NEW}" in printed
    running.run(f"set host vm g physnode={OLD}")
    running.run(f"move host vm g {NEW}")
    running.run("start host vm g")


def test_a_disk_is_not_attached_where_the_machine_has_ended(running: MachineSite) -> None:
    """Its host decides; what needs no running guest is done."""
    running.hosts[OLD].domains.destroy("g")
    message = (
        f"g holds a lease of {OLD} but does not run there: rocks stop host vm g, then repeat the command"
    )
    for dry in ("", " dry-run=yes"):
        add = f"add host vm disk g disk={second(running)} disksize=1{dry}"
        assert message in running.refused(add)
        assert leased(running) == ["g.vda"] and running.files(OLD) == ["g.vda"]
    assert running.run("set host vm g mem=128") == running.run("sync host vm g") == ""
    running.run("set host vm disk g vda size=2")
    assert running.image("g.vda").stat().st_size == 2 * 1000**3


def test_a_dry_run_of_a_change_prints_what_the_host_would_do(machines: MachineSite) -> None:
    machines.add("g")
    machines.run("set host vm g mem=192 maxmem=1024 maxcpus=2")
    machines.run("start host vm g")
    printed = machines.run("set host vm g cpus=2 mem=448 dry-run=yes")
    assert f"{OLD}: would give g 2 CPUs" in printed and f"{OLD}: would give g 448 MB of memory" in printed
    assert "would give" not in machines.run("set host vm g mem=128 dry-run=yes"), "at its next start"


def test_interfaces_are_attached_and_detached_by_sync(running: MachineSite) -> None:
    running.run(f"add host interface g eth1 mac={MAC} subnet=private")
    assert f"the interface {MAC} is attached to g" in running.run("sync host vm g")
    assert MAC in xml(running)
    assert running.run("sync host vm g") == ""
    running.run("remove host interface g eth1")
    running.hosts[OLD].domains.guests_release = False
    assert f"has not released its interface {MAC}" in running.rocks("sync host vm g").err
    running.hosts[OLD].domains.guests_release = True
    running.run("sync host vm g")
    assert MAC not in xml(running)


def test_sync_names_an_interface_that_is_not_connected(running: MachineSite) -> None:
    """As a start does; else the interface would be missing in the guest without a word."""
    running.run(f"add host interface g eth1 mac={MAC} vlan=77")
    assert "eth1 of g is not connected: its host has no interface for VLAN 77" in running.run(
        "sync host vm g"
    )
    running.run("remove host interface g eth1")
    assert running.run("sync host vm g") == ""


def test_what_cannot_change_now_waits_for_the_next_start(running: MachineSite) -> None:
    notes = running.run("set host vm g mem=128 cpus=2")
    assert "g gets 128 MB of memory at its next start" in notes and "g gets 2 CPUs at its next start" in notes
    assert "maxmem=MB" in notes and "maxcpus=N" in notes
    fact = running.hosts[OLD].domains.find("g")
    assert fact is not None and (fact.memory_mb, fact.cpus) == (64, 1)
    running.run(f"set host cpus {OLD} 2")
    assert running.run("set host vm g cpus=127").strip() == (
        f"g runs on with 1 CPUs, and does not start again: 127 are recorded, and {OLD} has 2; "
        "rocks set host vm g cpus=2"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("disk", "message"),
    [
        ("file:{images}/g.hdb,hdb,ide", "cannot change while g runs"),
        (
            "file:/etc/g.vdb,vdb,virtio",
            "g does not get the disk: its disk /etc/g.vdb is outside the image directories",
        ),
        ("file:{images}/g.vdb,vda,virtio", "g has a disk vda already"),
        ("file:{images}/g.vdb,vdc,virtio", "the guest would name it vdb"),
        ("file:{images}/g.vdb,hdc,virtio", "g gets no disk hdc on the bus virtio: guests name such disks"),
        ("qcow2:{images}/other.vda,vdb,virtio", "is not a qcow2 image"),
    ],
)
def test_a_disk_that_cannot_be_attached_is_nowhere(running: MachineSite, disk: str, message: str) -> None:
    running.image("other.vda").write_bytes(b"data")
    running.run(f"set host image {OLD} {running.image('other.vda')} vm=g")
    disk = disk.replace("{images}", str(running.hosts[OLD].images))
    assert message in running.refused(f"add host vm disk g disk={disk} disksize=1")
    assert running.sql("SELECT Name FROM vm_disks") == [("g.vda",)] and leased(running) == ["g.vda"]
    assert xml(running).count("<disk") == 1


def test_an_attach_that_libvirt_refuses_is_nowhere(running: MachineSite) -> None:
    running.hosts[OLD].domains.refusals["attach"] = "no more PCI slots"
    assert "no more PCI slots" in running.refused(f"add host vm disk g disk={second(running)} disksize=1")
    assert running.sql("SELECT Name FROM vm_disks") == [("g.vda",)] and xml(running).count("<disk") == 1
    running.run(f"add host vm disk g disk={second(running)} disksize=1")
    assert leased(running) == ["g.vda", "g.vdb"]


def test_records_stay_when_the_host_is_silent(running: MachineSite) -> None:
    running.vanish(OLD)
    assert "is recorded and takes effect at its next start" in running.run("set host vm g mem=128")
    running.refused(f"add host vm disk g disk={second(running)}")
    running.refused("set host vm disk g vda size=5")
    assert running.sql("SELECT Name, Size FROM vm_disks") == [("g.vda", 1)]
    running.revive()
    running.run(f"add host vm disk g disk={second(running)} disksize=1")
    assert "g.vdb" in xml(running)


@pytest.mark.parametrize("dying_host", [None, OLD])
def test_an_attach_that_dies_at_any_effect_is_completed(running: MachineSite, dying_host: str | None) -> None:
    """Until then, no other machine gets the disk that the guest has."""
    running.add("other", OLD, f"disk={second(running).replace('vdb,virtio', 'vda,virtio')}")
    add = f"add host vm disk g disk={second(running)} disksize=1"
    for _ in running.deaths(add, dying_host):
        if "g.vdb" in xml(running):
            assert "is in use by g" in running.refused("start host vm other")
        running.run(add)
        assert running.sql("SELECT Name FROM vm_disks d WHERE Name LIKE 'g.%%' ORDER BY ID")[0] == ("g.vda",)
        assert xml(running).count("<disk") == 2 and leased(running) == ["g.vda", "g.vdb"]
        running.run("remove host vm disk g vdb")
        assert xml(running).count("<disk") == 1 and leased(running) == ["g.vda"]
    assert leased(running) == ["g.vda", "g.vdb"]


@pytest.mark.slow
@pytest.mark.parametrize("dying_host", [None, OLD])
def test_a_detach_that_dies_at_any_effect_is_completed(running: MachineSite, dying_host: str | None) -> None:
    add = f"add host vm disk g disk={second(running)} disksize=1"
    running.run(add)
    for _ in running.deaths("remove host vm disk g vdb", dying_host):
        ended = running.rocks("remove host vm disk g vdb")
        assert ended.status == 0 or "its disks are: vda" in ended.err, ended
        assert xml(running).count("<disk") == 1 and leased(running) == ["g.vda"]
        running.run(add)


def test_a_disk_that_is_recorded_is_attached_with_its_recorded_size(running: MachineSite) -> None:
    first = f"file:{running.image('g.vda')},vda,virtio"
    running.run(f"set host vm g disk='{first} {second(running)}' disksize='0 2'")
    path = running.image("g.vdb")
    assert f"g gets {path} at its next start" in running.run("sync host vm g")
    refused = running.refused(f"add host vm disk g disk={second(running)} disksize=3")
    assert "already, with" in refused and "rocks set host vm disk g vdb size=GB" in refused
    assert "is attached to g as vdb" in running.run(f"add host vm disk g disk={second(running)}")
    assert path.stat().st_size == 2 * 1000**3


def test_disks_of_a_machine_that_is_off(machines: MachineSite) -> None:
    machines.add("g")
    machines.run(f"add host vm disk g disk={second(machines)} disksize=1")
    assert machines.run("remove host vm disk g vdb") == "", "it was never made"
    machines.run(f"add host vm disk g disk={second(machines)} disksize=1")
    machines.run("set host vm disk g vdb size=2")
    machines.run("start host vm g")
    machines.run("stop host vm g")
    file = machines.image("g.vdb")
    assert file.stat().st_size == 2 * 1000**3
    machines.run(f"set host vm disk g {file} size=3")
    assert file.stat().st_size == 3 * 1000**3
    assert "more than its file system" in machines.refused("set host vm disk g vdb size=1000000")
    assert machines.run("remove host vm disk g vdb").strip() == (
        f"the image stays: rocks remove host image {OLD} '{file}' removes it"
    )
    machines.run(f"remove host image {OLD} '{file}'")
    assert machines.files(OLD) == ["g.vda"] and machines.sql("SELECT Name FROM vm_disks") == [("g.vda",)]
    assert "first disk" in machines.refused("remove host vm disk g vda")
    assert "its disks are: vda" in machines.refused("remove host vm disk g vdz")


def test_a_disk_that_no_start_will_take_has_its_note(machines: MachineSite) -> None:
    machines.add("g")
    machines.started("h")
    file = machines.image("h.vda")
    note = f"{file} of {OLD} is a disk of h: g cannot start with it"
    assert note in machines.run(f"add host vm disk g disk=file:{file},vdb,virtio")
    assert machines.run("remove host vm disk g vdb").strip() == "the image stays: it is a disk of h"


def test_a_disk_in_no_folder_for_images_is_not_recorded(machines: MachineSite) -> None:
    machines.add("g")
    before = machines.sql("SELECT Name FROM vm_disks")
    for disk in ("file:/nowhere/g.vdb,vdb,virtio", "phy:/dev/nothing,vdb,virtio"):
        refused = machines.refused(f"add host vm disk g disk={disk}")
        assert "g does not get the disk: its disk" in refused and "Name one there; to add a d" in refused
    assert machines.sql("SELECT Name FROM vm_disks") == before
    machines.run(
        f"set host vm g disk='file:{machines.image('g.vda')},vda,virtio file:/etc/shadow,vdb,virtio'"
    )
    refused = machines.refused("start host vm g")
    assert "its disk /etc/shadow is outside the image directories" in refused
    assert "rocks remove host vm disk g vdb, then rocks add host vm disk g disk=…" in refused
    assert machines.run("remove host vm disk g vdb") == "", "it is no image"
    machines.run("start host vm g")


def test_a_virtual_function_that_no_adapter_has(machines: MachineSite) -> None:
    vm = machines.add("fast")
    ((mac,),) = machines.sql(
        "SELECT i.MAC FROM networks i JOIN nodes n ON n.ID = i.Node WHERE n.Name = 'fast'"
    )
    machines.run(f"set host interface options {vm} {mac} sriov")
    error = machines.refused(f"start host vm {vm}")
    assert f"asks for a virtual function of eth0 on {OLD}, which has none" in error
    machines.run(f"set host sriov {OLD} eth0 2")
    error = machines.refused(f"start host vm {vm}")
    assert "eth0" in error and machines.hosts[OLD].domains.facts() == ()
    assert machines.lease(vm)[1] == "released" and machines.sql("SELECT * FROM sriov_leases") == []
    assert "absent" in machines.run(f"list host sriov {OLD} status=yes")
    assert "has no network adapter" in machines.refused(f"sync host sriov {OLD}")
    machines.run(f"set host interface options {vm} {mac} NULL")
    machines.run(f"start host vm {vm}")
    assert machines.running(vm) == [OLD]


def test_a_killed_command_gives_its_function_back_with_the_lease(machines: MachineSite) -> None:
    vm = machines.add("severed")
    machines.site.change(
        "INSERT INTO vm_leases (Name, Token, Host, State) VALUES ('severed', 5, %s, 'starting')", [OLD]
    )
    machines.site.change(
        "INSERT INTO sriov_leases VALUES (%s, 'eth9', 0, 'severed', '52:54:00:aa:00:01', 5)", [OLD]
    )
    machines.run(f"stop host vm {vm}")
    assert machines.lease(vm)[1] == "released" and machines.sql("SELECT * FROM sriov_leases") == []


def test_dry_runs_print_and_change_nothing(running: MachineSite) -> None:
    off = running.add("isoff", NEW)
    stray = running.image("stray.vda")
    stray.write_bytes(b"data")
    before = running.site.contents()
    for line, message in (
        (f"start host vm {off}", f"{NEW}: would make the disk {running.image('isoff.vda', NEW)} (raw, 1 GB)"),
        (f"start host vm {off}", f"{NEW}: would start isoff"),
        ("stop host vm g isoff", f"{OLD}: would power off g"),
        ("stop host vm g action=reboot", f"{OLD}: would request g to restart"),
        ("pause host vm g", f"{OLD}: would pause g"),
        ("set host power g action=off", f"{OLD}: would power off g"),
        ("remove host vm g", f"{OLD}: would power off g"),
        ("remove host vm g", "delete vm_nodes (1 row)"),
        ("remove host isoff", "delete nodes (1 row)"),
        (f"remove host image {OLD} {stray}", f"{OLD}: would remove the image {stray}"),
        (f"add host vm disk g disk={second(running)} disksize=1", OLD),
        ("sync vm lease", ""),
    ):
        calls = list(running.hosts[OLD].domains.calls)
        assert message in running.run(f"{line} dry-run=yes"), line
        assert running.hosts[OLD].domains.calls == calls and running.site.contents() == before, line
    assert running.running("g") == [OLD] and running.files(NEW) == [] and stray.exists()
    running.add("large", NEW)
    running.run("set host vm large mem=9999999")
    running.vanish(HEAD)
    running.add("away", HEAD)
    for line, message in (
        ("start host vm g", "already running"),
        (f"pause host vm {off}", "not running"),
        ("start host vm nosuch", "nosuch"),
        ("start host vm large", "9999999 MB"),
        ("start host vm away", HEAD),
    ):
        assert message in running.refused(f"{line} dry-run=yes")
    assert '"dry-run" must be yes or no, not "maybe"' in running.refused(f"start host vm {off} dry-run=maybe")
    assert running.running(off) == [] and running.lease(off)[1] == "released"
