"""The files of network devices, read by systemd-networkd itself in a network of the test's own."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rocks.cluster.host_network import HostDevice
from rocks.graph.profile import Profile
from rocks.graph.shell import shell_script
from rocks.graph.tags import read_node
from rocks.graph_files import shell_functions
from rocks.process import run_checked
from rocks.render.host_network import network_files, removal_text
from tests.unit.graph.hosts import context

_NETWORKD = Path("/lib/systemd/systemd-networkd")
_NODE = b"<kickstart><post>&network_script;</post></kickstart>"
MAC = "52:54:00:00:00:01"
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
for _ in $(seq 300); do
  ! { ip -4 route show default | grep -q . && grep -Eqs '^ADMIN_STATE=(configured|unmanaged)$' "$state"; } || break
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
        (files / Path(path).name).write_text(text)
    (folder / "first").write_text(first)
    arguments = [str(files), devices[0].adapter, str(folder / "log"), str(folder / "first")]
    program = ["unshare", "--net", "--mount", "--propagation", "private", "bash", "-c", _SCRIPT, "bash"]
    output = run_checked([*program, *arguments], deadline_seconds=90).text
    addresses, routes = (json.loads(line) for line in output.splitlines()[-2:])
    return addresses, routes, (folder / "log").read_text()


@pytest.mark.parametrize(
    "device",
    [
        HostDevice("peth0", MAC, "eth0", "10.1.255.254/16", "10.1.1.1", 4000),
        HostDevice("eth0", MAC, "", "10.1.255.254/16", "10.1.1.1", 4000),
    ],
    ids=["bridge", "adapter"],
)
def test_networkd_makes_the_devices(device: HostDevice, tmp_path: Path) -> None:
    addresses, routes, log = _booted(tmp_path, [device])
    found = {one["ifname"]: one for one in addresses}
    assert "10-" not in "\n".join(
        line for line in log.splitlines() if "Unknown" in line or "ignoring" in line
    ), log
    assert [(a["local"], a["prefixlen"]) for a in found["eth0"]["addr_info"]] == [("10.1.255.254", 16)], log
    assert (found["eth0"]["mtu"], found["eth0"]["address"]) == (4000, MAC)
    assert found["eth0"]["operstate"] == "UP"
    default = next(route for route in routes if route["dst"] == "default")
    assert (default["gateway"], default["dev"]) == ("10.1.1.1", "eth0")
    if device.bridge:
        assert found["eth0"]["linkinfo"]["info_kind"] == "bridge"
        assert found["peth0"]["master"] == "eth0"
        assert not found["peth0"]["addr_info"]


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
