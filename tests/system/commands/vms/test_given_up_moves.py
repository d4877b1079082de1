"""Live migrations that were given up by force: which disks count, and what ends the move."""

from types import SimpleNamespace

import pytest

from rocks.fleet.wire.disk_files import ImageFact
from rocks.fleet.wire.snapshots import copy_paths
from rocks.machine.moves import aborted as given_up_moves
from rocks.machine.moves import drains as host_drains
from rocks.machine.moves.drain_plan import Capacity
from rocks.machine.records import load_vms
from tests.system.commands.conftest import Site
from tests.system.commands.vms.moves import FORCE, NEW, OLD, SILENT, answers, host_with, lease

DISK = "/state/partition1/kvm/disks/web.vda"


UNDECIDED = f"its current disks may be on {NEW}, since its live migration to that host was given up by force"


@pytest.fixture
def given_up(moving: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """`web`, whose new host was silent when its move was given up; its disk is a file of both hosts."""
    moving.change("DELETE FROM vm_disks")
    moving.change(
        "INSERT INTO vm_disks (Vm_Node, VBD_Type, Prefix, Name, Device, Mode, Size)"
        " SELECT v.ID, 'file', '/state/partition1/kvm/disks', 'web.vda', 'vda', 'virtio', 1 FROM vm_nodes v"
    )
    moving.change("INSERT INTO vm_lease_disks (Host, Path, Name) VALUES (%s, %s, 'web')", [NEW, DISK])
    answers(moving, monkeypatch, SILENT, SILENT)
    assert moving.rocks(*FORCE).status == 0
    return moving


def copies_of_web(site: Site) -> list[tuple[object, ...]]:
    """Host, path, and whether it may be the current disk."""
    return site.database.rows(
        "SELECT h.Name, c.Path, c.May_Be_Current FROM vm_disk_copies c JOIN nodes h ON h.ID = c.Host ORDER BY 1, 2"
    )


def test_nothing_uses_the_machine_until_its_disks_are_decided(
    given_up: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_drains, "_capacities", lambda *_: [Capacity(NEW, 9999)])
    for command in (
        ("start", "host", "vm", "web"),
        ("resume", "host", "vm", "web"),
        ("move", "host", "vm", "web", NEW),
        ("move", "host", "vm", "web", NEW, "live=yes"),
        ("move", "host", "vm", "web", OLD),
        ("reinstall", "host", "vm", "web", "force=yes"),
        ("drain", "host", OLD, f"to={NEW}"),
        ("set", "host", "vm", "web", "physnode=head"),
        ("set", "host", "vm", "web", f"physnode={NEW}", "disk=file:/state/partition1/kvm/disks/b,vda,virtio"),
        ("add", "host", "vm", "disk", "web", "disk=file:/state/partition1/kvm/disks/b,vdb,virtio"),
        ("remove", "host", "vm", "disk", "web", "vda"),
        ("set", "host", "vm", "disk", "web", "vda", "size=2"),
        ("add", "host", "vm", "snapshot", "web", "before"),
        ("restore", "host", "vm", "snapshot", "web", "before"),
    ):
        ended = given_up.rocks(*command)
        assert ended.status == 1 and f"web cannot be used: {UNDECIDED}" in ended.err, command
        assert f"rocks move host vm web {NEW} disks=there" in ended.err
        assert f"rocks move host vm web {OLD} disks=there" in ended.err
    assert f"host {NEW} may have the current disks of web" in given_up.refused("remove host", NEW)
    assert UNDECIDED in given_up.done("list site") and UNDECIDED in given_up.rocks("check site").out
    assert (
        all(is_current for _, _, is_current in copies_of_web(given_up)) and len(copies_of_web(given_up)) == 2
    )
    assert lease(given_up) == ("released", None, None)


def test_the_disks_of_the_old_host_may_count(given_up: Site) -> None:
    """That accepts the loss of what was written on the new one, which need not answer."""
    assert "name vmc-0-1 or vmc-0-0" in given_up.refused("move host vm web head disks=there")
    assert "leave out live=yes" in given_up.refused("move host vm web", OLD, "disks=there", "live=yes")
    assert f"web keeps its disks on {OLD}" in given_up.done("move host vm web", OLD, "disks=there")
    assert [row[2] for row in copies_of_web(given_up)] == [0, 0]
    assert "web is not started: this machine has no SSH key" in given_up.rocks("start host vm web").err
    again = given_up.refused("move host vm web", OLD, "disks=there")
    assert f"web has its disks on {OLD}, and no live migration of it was given up" in again


@pytest.mark.parametrize("machine", ["its own", "of another", None])
def test_the_disks_of_the_new_host_may_count(
    given_up: Site, monkeypatch: pytest.MonkeyPatch, machine: str | None
) -> None:
    """When it has them; nothing is copied, and what the old host has becomes a copy."""
    command = ("move", "host", "vm", "web", NEW, "disks=there")
    assert "has no SSH key" in given_up.refused(*command)
    (vm,) = load_vms(given_up.database, ["web"])
    files = {"its own": (file_of(vm.uuid),), "of another": (file_of("x"),), None: ()}[machine]
    monkeypatch.setattr(given_up_moves, "ask_facts", lambda *_, **__: {NEW: host_with(None)})
    old: list[ImageFact] = []
    monkeypatch.setattr(
        given_up_moves,
        "ask_each",
        lambda *_: [(NEW, SimpleNamespace(images=files)), (OLD, SimpleNamespace(images=old))],
    )
    if machine != "its own":
        assert f"web cannot use the disks of {NEW}: {DISK}" in given_up.refused(*command)
        return
    old.append(ImageFact(copy_paths([DISK], "before")[0], vm.uuid, 1, 1, False))
    refused = given_up.refused(*command)
    assert f"its snapshot before is on {OLD}" in refused and "remove host vm snapshot web before" in refused
    monkeypatch.setattr(
        given_up_moves, "ask_each", lambda *_: [(NEW, SimpleNamespace(images=files)), (OLD, SILENT)]
    )
    done = given_up.done(*command)
    assert f"web is on {NEW} now, with the disks there" in done
    assert f"whether {OLD} has snapshots of web is not known: no route" in done
    (vm,) = load_vms(given_up.database, ["web"])
    assert (vm.container and vm.container.name, vm.doubted_host) == (NEW, None)
    assert copies_of_web(given_up) == [(OLD, DISK, 0)]


def file_of(machine: str) -> ImageFact:
    """The disk on the new host, of that machine."""
    return ImageFact(DISK, machine, 1, 1, False)


def test_no_disks_are_in_doubt_of_a_guest_that_runs_where_it_was(
    moving: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(moving, monkeypatch, host_with("running"), SILENT)
    assert moving.rocks(*FORCE).status == 0
    assert [row[2] for row in copies_of_web(moving)] == [0]
