"""Machines that are taken from hosts by force, fences of hosts, and live migrations that were given up."""

from types import SimpleNamespace

import pytest

from rocks.core.errors import BusyError, HostError, RocksError, StateError
from rocks.fleet.agent_line import AnsweringError
from rocks.fleet.connection import CannotAskError
from rocks.fleet.wire.requests import ImageFact
from rocks.fleet.wire.snapshot_names import copy_paths
from rocks.leases.lease import read_leases
from rocks.machine import converge, drain, move, stop
from rocks.machine.drain import Capacity
from rocks.machine.record import load_vms
from rocks.machine.start import Attempt, release_unused, take_free_leases
from tests.system.commands.conftest import Site
from tests.system.commands.vms.moves import FORCE, NEW, OLD, SILENT, answers, host_with, lease, unanswered

HOST = "vmc-0-0"
EVACUATE = ("evacuate", "host", HOST, "reason=it is off", "to=vmc-0-1")
ANSWERS = pytest.mark.parametrize(
    "answer",
    [
        AnsweringError("the agent has a fault"),
        StateError("the agent is version 2"),
        BusyError("it is at work"),
    ],
)


@pytest.fixture
def running(vm_site: Site) -> Site:
    """`web` runs on the host."""
    vm_site.done("add host vm", HOST, "membership=Hosted VM", "name=web")
    vm_site.take_lease("web", HOST)
    vm_site.patch.setattr(drain, "capacities_of", lambda *_: [])
    return vm_site


def reply(site: Site, answer: RocksError) -> None:
    """What the host replies to everything."""
    site.patch.setattr(converge, "perform_operations", unanswered(answer))
    site.patch.setattr(drain, "contact_hosts", lambda *_, **__: {HOST: answer})


def host_of_lease(site: Site) -> object:
    return site.database.rows("SELECT Host FROM vm_leases WHERE Name = 'web'")[0][0]


@ANSWERS
def test_force_takes_no_machine_from_a_host_that_answers(running: Site, answer: RocksError) -> None:
    reply(running, answer)
    ended = running.rocks(*FORCE)
    message = ended.err
    assert (
        ended.status == 1
        and f"its host {HOST} cannot be asked ({answer}), but may be on. Repair that" in message
    )
    assert f"or switch {HOST} off and try again" in message and "host-off" not in message
    assert host_of_lease(running) == HOST and running.database.rows("SELECT * FROM vm_fences") == []
    assert running.rocks(*FORCE, "host-off=yes").status == 0
    assert host_of_lease(running) is None
    assert running.database.rows("SELECT Host, Token FROM vm_fences") == [(HOST, 8)]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ((*FORCE, "host-off=yes"), "host-off=yes"),
        ((*FORCE, "host-off=yes", "dry-run=yes"), "host-off=yes"),
        ((*EVACUATE, "host-off=yes"), "host-off=yes"),
        (("stop", "host", "vm", "web", "saved=remove"), "saved=remove"),
        (("move", "host", "vm", "web", HOST, "disks=there"), "disks=there"),
    ],
)
def test_only_who_may_become_root_states_what_permits_a_loss(
    running: Site, line: tuple[str, ...], what: str
) -> None:
    running.patch.setenv("SUDO_UID", "65534")
    running.patch.setenv("SUDO_USER", "nobody")
    reply(running, HostError("no route"))
    before = running.database.rows("SELECT * FROM vm_leases")
    assert running.refused(*line).startswith(
        f"{what} is for root and members of rocks-administer, and nobody is"
    )
    assert running.database.rows("SELECT * FROM vm_leases") == before


def test_force_without_a_fence_command_is_the_word_of_who_may_become_root(running: Site) -> None:
    running.patch.setenv("SUDO_UID", "65534")
    running.patch.setenv("SUDO_USER", "nobody")
    reply(running, HostError("no route"))
    assert "(its attribute vm_fence_command has no command) is for root" in running.rocks(*FORCE).err
    assert host_of_lease(running) == HOST
    running.patch.setattr(stop, "resolve_secret", lambda *_: {HOST: "true"})
    assert running.rocks(*FORCE).status == 0 and host_of_lease(running) is None


def test_force_is_proposed_for_a_host_that_this_machine_cannot_ask(running: Site) -> None:
    """It may be off: its name may have left the name server with it."""
    reply(running, CannotAskError(f"no address of host {HOST}"))
    force = f"or when {HOST} is certainly off: rocks"
    assert f"{force} stop host vm web force=yes host-off=yes" in running.rocks(*FORCE).err
    assert f"{force} evacuate host {HOST} host-off=yes" in running.refused(*EVACUATE)


def test_a_machine_that_was_perhaps_stopped_is_not_recorded_as_running(running: Site) -> None:
    """The frontend loses the way to its host while that stops it."""
    fault = CannotAskError("this machine cannot connect to host: no file descriptor is free")
    running.patch.setattr(converge, "perform_operations", lambda *_: [("web", fault)])
    assert running.rocks("stop host vm web").status == 1
    assert running.database.rows("SELECT State FROM vm_leases WHERE Name = 'web'") == [("stopping",)]


@ANSWERS
def test_a_host_that_answers_is_not_evacuated(running: Site, answer: RocksError) -> None:
    reply(running, answer)
    message = running.refused(*EVACUATE)
    assert f"{HOST} cannot be asked ({answer}), but may be on; its machines are not taken from it" in message
    assert f"or switch {HOST} off and try again" in message and "host-off" not in message
    assert "web cannot start elsewhere" in running.refused(*EVACUATE, "host-off=yes")
    reply(running, HostError("no route"))
    assert "web cannot start elsewhere" in running.refused(*EVACUATE)


def test_machines_of_a_failed_host_that_are_off_are_named(vm_site: Site) -> None:
    for name in ("web", "mail"):
        vm_site.done("add host vm", HOST, "membership=Hosted VM", f"name={name}")
    vm_site.patch.setattr(drain, "capacities_of", lambda *_: [])
    reply(vm_site, HostError("no route"))
    lines = vm_site.done(*EVACUATE).splitlines()
    assert lines[0] == f"no machine has its lease on {HOST}"
    (line,) = lines[1:]
    assert line.startswith(
        f"web is off, and stays recorded on {HOST}; to start it elsewhere, with new disks, since its"
    )
    assert line.endswith("is on that host alone: rocks set host vm web physnode=HOST; likewise mail")


def test_a_machine_whose_name_got_another_case_starts(vm_site: Site) -> None:
    """The row of its lease keeps the spelling of the first start."""
    vm_site.done("add host vm", HOST, "membership=Hosted VM", "name=web")
    for name, token in (("web", 1), ("WEB", 2)):
        attempts = [Attempt(vm) for vm in load_vms(vm_site.database, [name])]
        take_free_leases(vm_site.database, attempts)
        assert [(attempt.error, attempt.token) for attempt in attempts] == [(None, token)]
        assert read_leases(vm_site.database, [name])["web"].name == name
        release_unused(vm_site.database, attempts)
        vm_site.database.commit()
        if name == "web":
            assert vm_site.rocks("set host name web WEB").status == 0


DISK = "/state/partition1/kvm/disks/web.vda"


UNDECIDED = f"its current disks may be on {NEW}, since its live migration to that host was given up by force"


@pytest.fixture
def aborted(moving: Site) -> Site:
    """`web`, whose new host was silent when its move was given up; its disk is a file of both hosts."""
    moving.change("DELETE FROM vm_disks")
    moving.change(
        "INSERT INTO vm_disks (Vm_Node, VBD_Type, Prefix, Name, Device, Mode, Size)"
        " SELECT v.ID, 'file', '/state/partition1/kvm/disks', 'web.vda', 'vda', 'virtio', 1 FROM vm_nodes v"
    )
    moving.change("INSERT INTO vm_lease_disks (Host, Path, Name) VALUES (%s, %s, 'web')", [NEW, DISK])
    answers(moving, SILENT, SILENT)
    assert moving.rocks(*FORCE).status == 0
    return moving


def copies_of_web(site: Site) -> list[tuple[object, ...]]:
    """Host, path, and whether it may be the current disk."""
    return site.database.rows(
        "SELECT h.Name, c.Path, c.May_Be_Current FROM vm_disk_copies c JOIN nodes h ON h.ID = c.Host ORDER BY 1, 2"
    )


@pytest.mark.slow
def test_nothing_uses_the_machine_until_its_disks_are_decided(aborted: Site) -> None:
    aborted.patch.setattr(drain, "capacities_of", lambda *_: [Capacity(NEW, 9999)])
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
        ended = aborted.rocks(*command)
        assert ended.status == 1 and f"web cannot be used: {UNDECIDED}" in ended.err, command
        assert f"rocks move host vm web {NEW} disks=there" in ended.err
        assert f"rocks move host vm web {OLD} disks=there" in ended.err
    assert f"host {NEW} may have the current disks of web" in aborted.refused("remove host", NEW)
    assert UNDECIDED in aborted.done("list site") and UNDECIDED in aborted.rocks("check site").out
    assert all(is_current for _, _, is_current in copies_of_web(aborted)) and len(copies_of_web(aborted)) == 2
    assert lease(aborted) == ("released", None, None)


def test_the_disks_of_the_old_host_may_count(aborted: Site) -> None:
    """That accepts the loss of what was written on the new one, which need not answer."""
    assert "name vmc-0-1 or vmc-0-0" in aborted.refused("move host vm web head disks=there")
    assert "leave out live=yes" in aborted.refused("move host vm web", OLD, "disks=there", "live=yes")
    assert f"web keeps its disks on {OLD}" in aborted.done("move host vm web", OLD, "disks=there")
    assert [row[2] for row in copies_of_web(aborted)] == [0, 0]
    assert "web is not started: this machine has no SSH key" in aborted.rocks("start host vm web").err
    again = aborted.refused("move host vm web", OLD, "disks=there")
    assert f"web has its disks on {OLD}, and no live migration of it was given up" in again


@pytest.mark.parametrize("machine", ["its own", "of another", None])
def test_the_disks_of_the_new_host_may_count(aborted: Site, machine: str | None) -> None:
    """When it has them; nothing is copied, and what the old host has becomes a copy."""
    command = ("move", "host", "vm", "web", NEW, "disks=there")
    assert "has no SSH key" in aborted.refused(*command)
    (vm,) = load_vms(aborted.database, ["web"])
    files = {"its own": (file_of(vm.uuid),), "of another": (file_of("x"),), None: ()}[machine]
    aborted.patch.setattr(move, "contact_hosts", lambda *_, **__: {NEW: host_with(None)})
    old: list[ImageFact] = []
    aborted.patch.setattr(
        move,
        "ask_each",
        lambda *_: [(NEW, SimpleNamespace(images=files)), (OLD, SimpleNamespace(images=old))],
    )
    if machine != "its own":
        assert f"web cannot use the disks of {NEW}: {DISK}" in aborted.refused(*command)
        return
    old.append(ImageFact(copy_paths([DISK], "before")[0], vm.uuid, 1, 1, False))
    refused = aborted.refused(*command)
    assert f"its snapshot before is on {OLD}" in refused and "remove host vm snapshot web before" in refused
    aborted.patch.setattr(move, "ask_each", lambda *_: [(NEW, SimpleNamespace(images=files)), (OLD, SILENT)])
    done = aborted.done(*command)
    assert f"web is on {NEW} now, with the disks there" in done
    assert f"whether {OLD} has snapshots of web is not known: no route" in done
    (vm,) = load_vms(aborted.database, ["web"])
    assert (vm.container and vm.container.name, vm.doubted_host) == (NEW, None)
    assert copies_of_web(aborted) == [(OLD, DISK, 0)]


def file_of(machine: str) -> ImageFact:
    """The disk on the new host, of that machine."""
    return ImageFact(DISK, machine, 1, 1, False)


def test_no_disks_are_in_doubt_of_a_guest_that_runs_where_it_was(moving: Site) -> None:
    answers(moving, host_with("running"), SILENT)
    ended = moving.rocks(*FORCE)
    assert ended.status == 0 and "since it left" not in ended.err + ended.out
    assert [row[2] for row in copies_of_web(moving)] == [0]
