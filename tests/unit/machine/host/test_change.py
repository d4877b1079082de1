"""The plan of a change of a machine that runs: steps, what waits for the next start, or a refusal."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rocks.core.errors import IncoherentError, RocksError, StateError
from rocks.fleet.wire.requests import ChangeDomain, DiskSpec
from rocks.machine.host.change import ChangeFacts, plan_change
from rocks.machine.host.libvirt.domain_xml import parse_domain
from tests.contract.agents import leased_xml
from tests.unit.machine.starts import disk, domain

DISK = "<disk type='file'><source file='/images/{0}'/><target dev='{0}' bus='{1}'/>{2}</disk>"
NIC = "<interface type='ethernet'><mac address='76:77:6e:80:00:0{}'/></interface>"
RUNS = domain("a", "running", token=7)
SECOND = DiskSpec("/images/vdb", "raw", 1, False)


def document(*devices: str, cpus: int = 1, memory_mb: int = 64) -> str:
    text = leased_xml("a", 7, "".join((DISK.format("vda", "virtio", ""), *devices)))
    return text.replace("65536", str(memory_mb * 1024)).replace("<vcpu>1<", f"<vcpu current='{cpus}'>4<")


def plan(requested: str, live: str = document(), found: Any = RUNS, **changes: Any) -> Any:
    documents = (None if found.state == "shutoff" else parse_domain(live), parse_domain(requested))
    facts = ChangeFacts(found, *documents, 2, {"/images/vdb": disk("/images/vdb")})
    return plan_change(ChangeDomain("a", 7, requested, host="vmc-0-0", **changes), facts)


def test_a_machine_that_is_off_gets_its_record_at_its_next_start() -> None:
    off = domain("a", "shutoff", token=7)
    everything = {"cpus": True, "memory": True, "interfaces": True, "detached": ("/images/vda",)}
    assert plan(document(cpus=2), found=off, **everything) == ((), ())
    with pytest.raises(
        StateError, match="a holds a lease of vmc-0-0 but does not run there: rocks stop host vm a"
    ):
        plan(document(), found=off, disks=(SECOND,))


@pytest.mark.parametrize(
    ("requested", "changes", "steps"),
    [
        (document(cpus=2), {"cpus": True}, ["give a 2 CPUs"]),
        (document(cpus=2), {"memory": True}, []),
        (document(NIC.format(1)), {"interfaces": True}, ["attach the interface 76:77:6e:80:00:01 to a"]),
        (document(), {"detached": ("/images/vda", "/images/none")}, ["detach /images/vda from a"]),
        (document(DISK.format("vdb", "virtio", "")), {"disks": (SECOND,)}, ["attach /images/vdb to a"]),
    ],
)
def test_what_changes_while_it_runs(requested: str, changes: dict[str, Any], steps: list[str]) -> None:
    assert list(plan(requested, **changes).steps) == steps


def test_a_link_that_an_interrupted_change_left_down_is_set_up_and_others_go() -> None:
    down = NIC.format(1).replace("</interface>", "<link state='down'/></interface>")
    assert plan(document(NIC.format(1)), document(down, NIC.format(2)), interfaces=True).steps == (
        "set the link of the interface 76:77:6e:80:00:01 of a up",
        "detach the interface 76:77:6e:80:00:02 from a",
    )


def test_the_link_of_an_interface_on_another_network_stays_down() -> None:
    """Its record has another network; the guest would get the one of its start back."""
    down = NIC.format(1).replace("</interface>", "<link state='down'/></interface>")
    elsewhere = NIC.format(1).replace("ethernet'>", "bridge'><source bridge='br1'/>")
    planned = plan(document(elsewhere), document(down), interfaces=True)
    assert planned.steps == () and [note[:50] for note in planned.notes] == [
        "the interface 76:77:6e:80:00:01 of a is on another"
    ]


def test_a_changed_address_is_a_step_where_the_interface_is_connected_as_before() -> None:
    """On another network it waits for the next start, as does its filter; without a filter nothing is set."""

    def addressed(address: int, bridge: str = "br1") -> str:
        nic = f"<interface type='bridge'><source bridge='{bridge}'/><mac address='76:77:6e:80:00:01'/></interface>"
        sender = f'<rocks:sender mac="76:77:6e:80:00:01" side="shared" ipv4="203.0.113.{address}"/>'
        network = f'token="7"><rocks:network>{sender}</rocks:network></rocks:lease>'
        return document(nic).replace('token="7"/>', network)

    for requested, steps in (
        (addressed(9), ()),
        (addressed(10), ("set the packet filter of a",)),
        (addressed(10, "br2"), ()),
        (addressed(10).replace("<rocks:network>", "<rocks:network filter='off'>"), ()),
    ):
        assert plan(requested, addressed(9), interfaces=True).steps == steps


@pytest.mark.parametrize(
    ("requested", "changes", "note"),
    [
        (
            document(cpus=3),
            {"cpus": True},
            "a runs on with 1 CPUs, and does not start again: 3 are recorded, and vmc-0-0 has 2; rocks set host",
        ),
        (document(memory_mb=32), {"memory": True}, "memory is not taken from a guest that runs"),
        (
            document(DISK.format("vdb", "virtio", ""), DISK.format("sda", "scsi", "<readonly/>")),
            {"interfaces": True},
            "a gets /images/vdb at its next start; rocks add host vm disk attaches a disk before",
        ),
    ],
)
def test_what_waits_for_the_next_start(requested: str, changes: dict[str, Any], note: str) -> None:
    """The small disk for cloud-init is no disk of the record."""
    found = plan(requested, **changes)
    assert found.steps == () and note in found.notes[0]


@pytest.mark.parametrize(
    ("requested", "changes", "error", "message"),
    [
        (document(), {"disks": (SECOND,)}, IncoherentError, "the XML of a has no disk /images/vdb"),
        (
            document(DISK.format("vdb", "ide", "")),
            {"disks": (SECOND,)},
            StateError,
            "is on the bus ide, which cannot change while a runs",
        ),
        (
            document(DISK.format("vdb", "virtio", "")),
            {"disks": (DiskSpec("/images/vdb", "raw", 501, False),)},
            StateError,
            "a does not get the disk: its disk /images/vdb of 501.0 GB is larger than its file system",
        ),
        (
            document(DISK.format("vdc", "virtio", "")),
            {"disks": (DiskSpec("/images/vdc", "raw", 1, False),)},
            StateError,
            "the guest would name it vdb",
        ),
    ],
)
def test_disks_that_are_not_attached(
    requested: str, changes: dict[str, Any], error: type[RocksError], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        plan(requested, **changes)


def test_only_the_lease_of_the_request_is_changed() -> None:
    with pytest.raises(StateError, match="a runs on this host under lease 8, not 7; try again"):
        plan(document(cpus=2), found=domain("a", "running", token=8), cpus=True)
    with pytest.raises(
        StateError, match="a is not running on this host: it is crashed; rocks stop host vm a"
    ):
        plan(document(cpus=2), found=domain("a", "crashed", token=7), cpus=True)
