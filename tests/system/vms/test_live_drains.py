"""Live moves beside a drain, and the network devices of what moves."""

import socket
from collections.abc import Iterator

import pytest

from tests.system.vms.live_moves import (
    DRAIN,
    MOVE,
    NEW,
    OLD,
    SECONDS,
    VM,
    interrupted_after_the_switch,
    is_there_once,
    moments,
    running,
)
from tests.system.vms.site import HOSTS, ThreeMachines
from tests.waiting import wait_until


def test_a_drain_and_a_move_at_once(site: ThreeMachines) -> None:
    """One of them moves the machine; the other one is refused or finds it moved, and never stops it."""
    site.started(VM, OLD)
    known = ("another command is changing g at this moment", f"{VM} is on {NEW} already")
    for first, second in ((MOVE, DRAIN), (DRAIN, MOVE)):
        for moment in ("at once", "the lease is renewed", "QEMU waits for the memory"):
            commands = [site.begin(first)]
            if moment != "at once":
                wait_until(moments(site, NEW)[moment], seconds=SECONDS)
            commands.append(site.begin(second))
            results = [command.end(SECONDS) for command in commands]
            assert 0 in [status for status, _ in results], results
            for status, error in results:
                assert status == 0 or any(text in error for text in known), results
                assert "is stopped" not in error, results
            is_there_once(site)
            assert f"{VM} runs on {OLD} now" in site.rocks(f"move host vm {VM} {OLD} live=yes", SECONDS).text


def test_a_drain_that_was_killed_is_repeated(site: ThreeMachines) -> None:
    """It ends the move that it had begun."""
    site.started(VM, OLD)
    command = site.begin(DRAIN)
    wait_until(moments(site, NEW)["the copy begins"], seconds=SECONDS)
    command.kill()
    ended = site.rocks(DRAIN, SECONDS)
    assert ended.exit_status == 0, ended.error_text
    is_there_once(site)


@pytest.fixture
def on_vlan(site: ThreeMachines) -> Iterator[ThreeMachines]:
    """The machine is on a VLAN that both hosts have for themselves, and runs."""
    for host in HOSTS:
        site.done(f"set host attr {host} vlan_transport local")
    site.done(f"add host interface {OLD} vlan7 subnet=private vlan=7")
    site.started(VM, OLD, "vlan=7")
    yield site
    site.clean()
    for host in HOSTS:
        site.rocks(f"remove host interface {host} vlan7")
        site.done(f"remove host attr {host} vlan_transport")


def devices(site: ThreeMachines) -> list[str]:
    """The network devices of the hosts, which they share here."""
    return [name for _, name in site.machines["head"].in_network(socket.if_nameindex)]


def test_a_machine_is_not_moved_away_from_its_vlan(on_vlan: ThreeMachines) -> None:
    """The VLANs of the new host are its own, and another machine of this one stays on the old host."""
    site = on_vlan
    site.add_vm("mate", OLD, "vlan=7")
    refused = site.refused(MOVE)
    assert f"{VM} is not moved: VLANs of {NEW} are local" in refused
    assert f"VLAN 7 also has machines on {OLD}" in refused
    assert running(site) == [OLD] and site.lease(VM)[1:] == ("running", OLD)


def test_the_network_devices_of_what_arrives_stay(on_vlan: ThreeMachines) -> None:
    """Whatever synchronises the new host: while QEMU waits there, and after the guest has ended, unrecorded."""
    site = on_vlan
    names = {OLD: f"{site.bridges[OLD]}.7", NEW: f"{site.bridges[NEW]}.7"}
    assert names[OLD] in devices(site) and names[NEW] not in devices(site)
    command = site.begin(MOVE)
    wait_until(moments(site, NEW)["QEMU waits for the memory"], seconds=SECONDS)
    assert "removed" not in site.done(f"sync host vlan {NEW}")
    status, error = command.end(SECONDS)
    assert status == 0, error
    is_there_once(site)
    assert names[NEW] in devices(site) and names[OLD] not in devices(site)
    assert f"{VM} runs on {OLD} now" in site.rocks(f"move host vm {VM} {OLD} live=yes", SECONDS).text
    interrupted_after_the_switch(site)
    site.virsh(NEW, "destroy", VM)
    assert f"{names[NEW]} removed" not in site.done(f"sync host vlan {NEW}")
    assert names[NEW] in devices(site)
    assert "is off there by now" in site.rocks(MOVE, SECONDS).text
    site.done(f"start host vm {VM}")
    assert running(site) == [NEW]
