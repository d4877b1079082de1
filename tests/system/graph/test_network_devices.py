"""The files of network devices, read by systemd-networkd itself in a network of the test's own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rocks.cluster.host_network import HostDevice
from rocks.process import run_checked
from rocks.render.host_network import network_files

_NETWORKD = Path("/lib/systemd/systemd-networkd")
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
/lib/systemd/systemd-networkd >"$3" 2>&1 &
for _ in $(seq 300); do
  ! ip -4 route show default | grep -q . || break
  sleep 0.1
done
kill $!
ip -json -details address
ip -json route
"""


@pytest.mark.parametrize(
    "device",
    [
        HostDevice("peth0", MAC, "eth0", "10.1.255.254/16", "10.1.1.1", 4000),
        HostDevice("eth0", MAC, "", "10.1.255.254/16", "10.1.1.1", 4000),
    ],
    ids=["bridge", "adapter"],
)
def test_networkd_makes_the_devices(device: HostDevice, tmp_path: Path) -> None:
    if os.geteuid() != 0 or not _NETWORKD.exists():
        pytest.skip("devices are made by root, with systemd-networkd")
    tmp_path.chmod(0o755)
    folder = tmp_path / "network"
    folder.mkdir(mode=0o755)
    for path, text in network_files([device], "deb").items():
        (folder / Path(path).name).write_text(text)
    script = ["sh", "-c", _SCRIPT, "sh", str(folder), device.adapter, str(tmp_path / "log")]
    output = run_checked(
        ["unshare", "--net", "--mount", "--propagation", "private", *script], deadline_seconds=90
    ).text
    addresses, routes = (json.loads(line) for line in output.splitlines())
    found = {one["ifname"]: one for one in addresses}
    log = (tmp_path / "log").read_text()
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
