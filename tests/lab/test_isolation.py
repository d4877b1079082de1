"""No frame of one cluster reaches another, whatever a guest sends, and a reboot of a host changes nothing of that.

Two clusters on two hosts have the same private addresses; their frontends share a public network, one by a macvtap on
the host's device, one by its bridge. Frames go by the guests' own taps; the trunk is captured.
"""

from lab.machines.sample_cluster import VLAN
from tests.lab import network_site
from tests.lab.lab_site import LabSite
from tests.lab.network_site import (
    AUTOSTARTED,
    OTHER_VLAN,
    PLACES,
    Exchange,
    Port,
    allowed,
    expected_audience,
    forbidden,
)

SUBJECTS = ("src/rocks/agent", "src/rocks/network/host")


def test_two_clusters_with_the_same_addresses(site: LabSite) -> None:
    """All kinds of frames from all guests; then a host loses its power and comes back with an autostarted guest."""
    network_site.set_up(site)
    site.done("start", "host", "vm", *PLACES)
    everybody = network_site.ports(site, *PLACES)
    assert len(everybody) == 6
    _exchange_all(site, everybody, 1)
    _no_guest_reaches_a_host(site, next(port for port in everybody if port.vm == AUTOSTARTED))
    _reboot(site)
    again = network_site.ports(site, "vc1", AUTOSTARTED)
    _exchange_all(site, again, 2)
    _last_one_takes_the_device_with_it(site)


def _exchange_all(site: LabSite, everybody: list[Port], number: int) -> None:
    exchange = Exchange(site)
    exchange.begin(number)
    for port in everybody:
        exchange.send(port, [*allowed(port).values(), *forbidden(port).values()])
    received = network_site.guests_among(exchange.received(), everybody)
    expected = {mark: expected_audience(port, everybody) for port in everybody for mark in allowed(port)}
    assert received == {mark: audience for mark, audience in expected.items() if audience}
    vlans = {mark: {port.vlan} for port in everybody for mark in allowed(port)}
    assert exchange.captured() == vlans
    rows = network_site.rows(site, *sorted({port.vm for port in everybody}))
    for port in everybody:
        # the host that is not switched off in between goes on counting
        times = number if port.host == "vmh1" else 1
        assert rows[port.name]["dropped"] == times * len(forbidden(port)), rows[port.name]
        assert {f"tagged={4 * times}", f"mac={times}"} <= set(rows[port.name]["why"].split(","))
    _print_table(everybody, received)


def _print_table(everybody: list[Port], received: dict[str, set[tuple[str, str]]]) -> None:
    """The isolation table: what each kind of frame reached."""
    names = {(port.host, port.device): port.name for port in everybody}
    for port in everybody:
        for mark in (*allowed(port), *forbidden(port)):
            reached = sorted(names[place] for place in received.get(mark, ()))
            print(f"{mark:48} {', '.join(reached) or '-'}")


def _no_guest_reaches_a_host(site: LabSite, sender: Port) -> None:
    """Not even by the MAC address of the device that carries the VLAN, with the host's own address in the packet."""
    host = site.lab["vmh1"]
    host.start_program("receive", ["socat", "-u", "UDP-RECV:9999", "OPEN:/root/datagrams,creat,append"])
    host.wait_for(["ss", "-lun"], ":9999", 20)
    Exchange(site).send(sender, [network_site.to_the_host(site, sender, "vmh1")] * 3)
    address = host.description.address
    site.lab["vmh2"].shell(f"echo by-storage | socat -u - UDP-SENDTO:{address}:9999")
    host.wait_for(["cat", "/root/datagrams"], "by-storage", 20)
    assert host.read_file("/root/datagrams") == b"by-storage\n"


def _reboot(site: LabSite) -> None:
    """While the host is off the listing reports it; then devices are back before libvirt starts the guest by itself."""
    host = site.lab["vmh2"]
    host.kill()
    answers = (site.rocks("list", "host", "vm", "network", *PLACES) for _ in range(5))
    half = next(answer for answer in answers if "Error: vmh1: " not in answer.error_text)
    assert half.exit_status == 3 and "Error: vmh2: " in half.error_text
    assert "unknown" in half.text and "up" in half.text
    host.boot()
    host.wait_for(["virsh", "domstate", AUTOSTARTED], "running", 150)
    for vlan in (VLAN, OTHER_VLAN):
        assert f"alias rocks:{vlan}" in host.run(["ip", "link", "show", f"trunk0.{vlan}"]).text
    times = [
        int(host.run(["systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", unit]).text)
        for unit in ("rocks-links.service", "libvirtd.service")
    ]
    assert 0 < times[0] < times[1]


def _last_one_takes_the_device_with_it(site: LabSite) -> None:
    host, device = site.lab["vmh2"], f"trunk0.{OTHER_VLAN}"
    vlans = site.done("report", "host", "vlan", "vmh2")
    assert "type vlan id 100" in vlans and "type vlan id 200" in vlans
    host.shell(
        "ip link add link trunk0 name trunk0.300 type vlan id 300\nip link set trunk0.300 alias rocks:300 up"
    )
    assert site.done("sync", "host", "vlan", "vmh2") == "vmh2: trunk0.300 removed: no machine requires it\n"
    assert device in host.run(["ip", "link", "show", device]).text
    site.done("stop", "host", "vm", "vc2")
    for gone in (device, "trunk0.300"):
        assert host.run_any(["ip", "link", "show", gone]).exit_status != 0, gone
    assert "id 200" not in site.done("report", "host", "vlan", "vmh2")
    assert site.done("sync", "host", "vlan", "vmh2") == ""
