"""`rocks move host vm live=yes` between two real hosts, with their own kernels, VLAN and macvtap."""

import json
import signal
import time
from pathlib import Path

from lab.machines.machine import LabMachine
from lab.machines.sample_cluster import GUESTS, VLAN, disk_of
from tests.lab import guest_frames, network_site
from tests.lab.lab_site import LabSite
from tests.lab.network_site import Exchange
from tests.patience import patience

SUBJECTS = ("src/rocks/agent", "tests/lab/guest_frames.py")

GUEST, OTHER = GUESTS
OLD, NEW = GUESTS[GUEST], GUESTS[OTHER]
_SECONDS = 240.0


def test_guest_moves_with_its_vlan_and_back_after_the_command_was_killed(site: LabSite) -> None:
    """It counts on; its frames reach its cluster from the new host; the old one has no device or file of it."""
    site.done("start", "host", "vm", *GUESTS)
    for guest, host in GUESTS.items():
        site.lab[host].copy_in(Path(guest_frames.__file__), "/root/guest_frames.py")
        site.wait_for_count(host, guest, beyond=0)
    before = site.count(OLD, GUEST)
    print(site.done("move", "host", "vm", GUEST, NEW, "live=yes"))
    assert site.wait_for_count(NEW, GUEST, beyond=before) > before
    assert (site.status(GUEST), site.domain_state(OLD, GUEST)) == ("active", "absent")
    assert site.lab[OLD].run_any(["ls", disk_of(GUEST)]).exit_status != 0
    assert taps(site.lab[OLD]) == [] and vlans(site.lab[OLD]) == []
    assert taps(site.lab[NEW]) == [f"trunk0.{VLAN}"] * 2
    _frames_reach_the_cluster(site)

    # back; the command is killed while the memory or the disk is on its way, and is repeated
    command = site.frontend.begin("move", "host", "vm", GUEST, OLD, "live=yes")
    end_at = time.monotonic() + patience(_SECONDS)
    while site.lab[OLD].run_any(["test", "-e", disk_of(GUEST)]).exit_status != 0:
        assert time.monotonic() < end_at and command.poll() is None
        time.sleep(0.2)
    command.send_signal(signal.SIGKILL)
    command.communicate()
    counted = max(site.count(OLD, GUEST), site.count(NEW, GUEST))
    # the links of an arriving machine are its host's, although the machine is recorded on the other one
    site.done("sync", "host", "vlan", OLD, NEW)
    print(site.done("move", "host", "vm", GUEST, OLD, "live=yes"))
    assert site.wait_for_count(OLD, GUEST, beyond=counted) > counted
    assert site.domain_state(NEW, GUEST) == "absent"
    assert (taps(site.lab[OLD]), taps(site.lab[NEW])) == ([f"trunk0.{VLAN}"],) * 2
    site.done("stop", "host", "vm", *GUESTS)
    for host in (OLD, NEW):
        assert taps(site.lab[host]) == [] and vlans(site.lab[host]) == []


def _frames_reach_the_cluster(site: LabSite) -> None:
    """Allowed frames of both guests reach the other; a forged address of the moved one reaches nobody."""
    everybody = network_site.ports(site, *GUESTS)
    assert {port.host for port in everybody} == {NEW}
    exchange = Exchange(site, [NEW])
    exchange.begin(1)
    for port in everybody:
        exchange.send(port, [*network_site.allowed(port).values(), *network_site.forbidden(port).values()])
    received = network_site.guests_among(exchange.received(), everybody)
    assert received == {
        mark: network_site.expected_audience(port, everybody)
        for port in everybody
        for mark in network_site.allowed(port)
    }


def taps(machine: LabMachine) -> list[str]:
    """The device below each macvtap of the host."""
    links = json.loads(machine.run(["ip", "-json", "link", "show", "type", "macvtap"]).text or "[]")
    return [str(tap["link"]) for tap in links]


def vlans(machine: LabMachine) -> list[str]:
    """The host's tagged devices of clusters."""
    links = json.loads(machine.run(["ip", "-json", "link", "show", "type", "vlan"]).text or "[]")
    return [str(link["ifname"]) for link in links]
