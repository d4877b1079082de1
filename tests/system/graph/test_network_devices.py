"""The files of network devices, read by systemd-networkd itself in a network of the test's own."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rocks.core.process import run_checked
from rocks.install.graph.profile import Profile
from rocks.install.graph.shell import shell_script
from rocks.install.graph.tags import read_node
from rocks.install.graph_files import shell_functions
from rocks.install.host_profiles import network_values
from rocks.inventory.records import Host
from rocks.network.host_network_files import network_files, removal_text
from rocks.network.host_network_plan import BondOption, DeviceRoute, HostDevice, plan_network
from rocks.network.route_rules import ResolvedRoute, Route
from tests.patience import patience
from tests.unit.install.graph.hosts import context
from tests.unit.machines import PRIVATE, container, interface

_NETWORKD = Path("/lib/systemd/systemd-networkd")
_BUS = Path("/usr/bin/dbus-daemon")
_NODE = b"<kickstart><post>&network_script;</post></kickstart>"
MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"
ROUTES = (
    DeviceRoute("10.2.0.0/16", "10.1.1.2"),
    DeviceRoute("224.0.0.0/24", ""),
    DeviceRoute("255.255.255.255/32", ""),
)
ADDRESS = ("10.1.255.254/16", "10.1.1.1", 4000, ROUTES)
MODE = (BondOption("mode", "active-backup"), BondOption("miimon", "100"), BondOption("primary", "eth1"))
# networkd asks for no udev where /sys is read-only, as in a container; a veth device has no MAC address of its own, by
# which udev would name it
_SCRIPT = """\
set -eu
mount -t sysfs -o ro sys /sys
mount --bind "$1" /etc/systemd/network
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
chown -R systemd-network: /run/systemd/netif
ip link add "$2" address 52:54:00:00:00:01 mtu 4000 type veth peer name far mtu 9000
ip link set far up
ip link add eth1 address 52:54:00:00:00:02 type veth peer name far1
ip link set far1 up
state=/run/systemd/netif/links/$(cat /sys/class/net/eth1/ifindex)
bash "$4"
/lib/systemd/systemd-networkd >"$3" 2>&1 &
for _ in $(seq "$5"); do
  ! { [ "$(ip -4 route | wc -l)" -ge "$6" ] && grep -Eqs '^ADMIN_STATE=(configured|unmanaged)$' "$state"; } || break
  sleep 0.1
done
kill $!
ip -json -details address
ip -json route
"""


def _booted(
    folder: Path, devices: Sequence[HostDevice], first: str = ""
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    """Addresses and routes of a boot with the files of the devices, and what systemd-networkd wrote; `first` is a
    script that runs before it.
    """
    if os.geteuid() != 0 or not _NETWORKD.exists():
        pytest.skip("devices are made by root, with systemd-networkd")
    folder.chmod(0o755)
    files = folder / "network"
    files.mkdir(mode=0o755)
    for path, text in network_files(devices, "deb").items():
        if path.startswith("/etc/systemd/system/"):
            continue  # for systemd, and none is here
        place = files / Path(path).relative_to("/etc/systemd/network")
        place.parent.mkdir(mode=0o755, exist_ok=True)
        place.write_text(text)
    (folder / "first").write_text(first)
    adapter = next(one.adapter for one in devices if one.bond is None)
    tenths = "300" if devices[0].bond is None or _can_bond() else "20"
    lines = str(2 + len(devices[0].routes))
    arguments = [str(files), adapter, str(folder / "log"), str(folder / "first"), tenths, lines]
    program = ["unshare", "--net", "--mount", "--propagation", "private", "bash", "-c", _SCRIPT, "bash"]
    output = run_checked([*program, *arguments], deadline_seconds=90).text
    addresses, routes = (json.loads(line) for line in output.splitlines()[-2:])
    return addresses, routes, (folder / "log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "devices",
    [
        [HostDevice("peth0", MAC, "eth0", *ADDRESS)],
        [HostDevice("eth0", MAC, "", *ADDRESS)],
        [
            HostDevice("bond0", "", "", *ADDRESS, bond=MODE),
            HostDevice("eth0", MAC, "", "", "", 4000, channel="bond0"),
            HostDevice("eth1", OTHER, "", "", "", 4000, channel="bond0"),
        ],
        [
            HostDevice("pbond0", "", "bond0", *ADDRESS, bond=MODE),
            HostDevice("eth0", MAC, "", "", "", 4000, channel="pbond0"),
        ],
    ],
    ids=["bridge", "adapter", "bond", "bridge over a bond"],
)
def test_networkd_makes_the_devices(devices: list[HostDevice], tmp_path: Path) -> None:
    device = devices[0]
    addresses, routes, log = _booted(tmp_path, devices)
    found = {one["ifname"]: one for one in addresses}
    assert "10-" not in "\n".join(
        line for line in log.splitlines() if "Unknown" in line or "ignoring" in line
    ), log
    if device.bond is not None and not _can_bond():
        assert "Enumeration completed" in log
        pytest.skip("networkd takes the files, but this kernel has no driver for bonds")
    top = found[device.name]
    assert [(a["local"], a["prefixlen"]) for a in top["addr_info"]] == [("10.1.255.254", 16)], log
    assert top["mtu"] == 4000 and top["operstate"] == "UP"
    assert top["address"] == device.mac or not device.mac
    assert {
        (one["dst"], one.get("gateway"), one["dev"]) for one in routes if one["dst"] != "10.1.0.0/16"
    } == {
        ("default", "10.1.1.1", device.name),
        ("10.2.0.0/16", "10.1.1.2", device.name),
        ("224.0.0.0/24", None, device.name),
        ("255.255.255.255", None, device.name),
    }, log
    if device.bridge:
        assert top["linkinfo"]["info_kind"] == "bridge"
        assert found[device.adapter]["master"] == device.bridge
        assert not found[device.adapter]["addr_info"]
    for member in devices[1:]:
        assert found[member.adapter]["master"] == device.adapter
        assert found[device.adapter]["linkinfo"]["info_data"]["mode"] == "active-backup"


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_device_that_was_removed_gets_no_address_at_the_next_boot(is_removed: bool, tmp_path: Path) -> None:
    present = HostDevice("eth0", MAC, "", "10.1.255.254/16", "10.1.1.1", 1500)
    other = HostDevice("eth1", "52:54:00:00:00:02", "", "10.2.255.254/16", "", 1500)
    text = shell_script(
        Profile(
            "h1",
            (read_node("n", "n.xml", _NODE, context(network_script=removal_text([present], "deb"))),),
        ),
        shell_functions(),
        "deb",
    )
    addresses, _, log = _booted(tmp_path, [present, other], text if is_removed else "")
    found = {one["ifname"]: [a["local"] for a in one["addr_info"]] for one in addresses}
    assert found["eth0"] == ["10.1.255.254"], log
    assert found["eth1"] == ([] if is_removed else ["10.2.255.254"]), log


# networkctl speaks to networkd over the system bus
_CHANGES = """\
set -eu
mount -t sysfs -o ro sys /sys
mount --bind "$1" /etc/systemd/network
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp /run/systemd/system /run/dbus
chown -R systemd-network: /run/systemd/netif
dbus-daemon --system --nofork --nopidfile >/dev/null 2>&1 &
bus=$!
ip link add eth0 address 52:54:00:00:00:01 type veth peer name far1
ip link set far1 up
while [ ! -S /run/dbus/system_bus_socket ]; do sleep 0.1; done
/lib/systemd/systemd-networkd >/dev/null 2>&1 &
daemon=$!
for _ in $(seq 300); do
  ! ip -4 route show default | grep -q . || break
  sleep 0.1
done
pause=$2
shift 2
for script; do
  bash "$script"
  sleep "$pause"
  ip -json -4 route
  cat /run/rocks-reboot-needed 2>/dev/null || echo none
done
kill $daemon
wait $daemon || true
kill $bus
"""


@pytest.mark.slow
def test_routes_are_set_and_removed_at_once_and_addresses_wait_for_the_boot(tmp_path: Path) -> None:
    """The part of a profile, run where networkd has set up the device: its own program applies the routes."""
    if os.geteuid() != 0 or not _NETWORKD.exists() or not _BUS.exists():
        pytest.skip("devices are made by root, with systemd-networkd and a bus")
    tmp_path.chmod(0o755)
    folder = tmp_path / "network"
    folder.mkdir(mode=0o755)
    route = ResolvedRoute(Route("10.2.0.0", "255.255.0.0", "10.1.1.2"), "H")
    other = ResolvedRoute(Route("10.3.0.0", "255.255.0.0", subnet="private"), "G")
    first = _host()
    for path, text in network_files(plan_network(first).devices, "deb").items():
        (folder / Path(path).name).write_text(text)
    changes = [
        _host((route, other)),
        _host((other,)),
        _host((other,), "10.1.255.9"),
        _host((route,), "10.1.255.9"),
    ]
    scripts = []
    for number, host in enumerate([first, *changes]):
        scripts.append(tmp_path / f"script{number}")
        part = str(network_values(host, "deb")["network_script"])
        scripts[-1].write_text(
            f"{shell_functions()}\nset -euo pipefail\nexport ROCKS_HOST=x\nrocks_begin\n{part}\n"
        )
    output = run_checked(
        [
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--propagation",
            "private",
            "sh",
            "-c",
            _CHANGES,
            "sh",
        ]
        + [str(folder), f"{patience(1):.1f}", *map(str, scripts)],
        deadline_seconds=patience(90),
    ).text
    lines = [line for line in output.splitlines() if not line.startswith("x: ")]
    routes = [{one["dst"]: one.get("gateway") for one in json.loads(line)} for line in lines[::2]]
    as_installed = {"default": "10.1.1.1", "10.1.0.0/16": None}
    assert routes == [
        as_installed,
        {**as_installed, "10.2.0.0/16": "10.1.1.2", "10.3.0.0/16": None},
        {**as_installed, "10.3.0.0/16": None},
        {**as_installed, "10.3.0.0/16": None},
        {**as_installed, "10.3.0.0/16": None},
    ], output
    pending = "the network devices of x"
    assert lines[1::2] == ["none", "none", "none", pending, pending], output


def _host(routes: tuple[ResolvedRoute, ...] = (), ip: str = "10.1.255.254") -> Host:
    eth0 = interface("eth0", mac=MAC, ip=ip, **PRIVATE)
    host = container("x", [eth0], kvm="no", Kickstart_PrivateGateway="10.1.1.1")
    return replace(host, routes=routes)


def _can_bond() -> bool:
    made = run_checked(
        [
            "unshare",
            "--net",
            "sh",
            "-c",
            "ip link add bond9 type bond >/dev/null 2>&1 && echo yes || echo no",
        ],
        deadline_seconds=30,
    )
    return made.text.strip() == "yes"
