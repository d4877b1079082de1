"""Network files of hosts with RPM packages, read by NetworkManager itself in a fresh root with a network of its own."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rocks.install.graph.profile import Profile
from rocks.install.graph.shell import files_text, shell_script
from rocks.install.graph.tags import read_node
from rocks.install.graph_files import shell_functions
from rocks.network.host_network_files import file_permissions, network_files, removal_text
from rocks.network.host_network_plan import HostDevice
from tests.packages.fresh_roots import CACHE, Root, make_repository, make_root
from tests.unit.install.graph.hosts import context

BRIDGED = HostDevice("peth0", "52:54:00:00:00:01", "eth0", "10.1.255.254/16", "10.1.1.1", 4000)
ALONE = HostDevice("eth1", "52:54:00:00:00:02", "", "10.2.0.2/24", "", 1500)
WITHOUT_ADDRESS = HostDevice("eth2", "52:54:00:00:00:03", "", "", "", 1500)
REMOVED = HostDevice("eth3", "52:54:00:00:00:04", "", "10.3.0.2/24", "", 1500)
DEVICES = (BRIDGED, ALONE, WITHOUT_ADDRESS, REMOVED)

_NODE = b"<kickstart><post>&network_script;</post></kickstart>"
# NetworkManager asks for no udev where /sys is read-only, as in a container; .link files are udev's
_BOOT = """\
set -eu
mount -o remount,bind,ro /sys
ip link set lo up
while read -r name mac; do
  ip link add "$name" address "$mac" type veth peer name "far$name" mtu 9000
  ip link set "far$name" up
done
mkdir -p /run/dbus
dbus-daemon --system --fork
printf '[main]\\nno-auto-default=*\\n' >/etc/NetworkManager/conf.d/test.conf
NetworkManager
nm-online --quiet --wait-for-startup --timeout=60
nmcli --get-values FILENAME connection show >&2
ip -json -details address
ip -json -4 route
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """Debian with NetworkManager, without a network."""
    if os.geteuid() != 0:
        pytest.skip("a root folder is made and entered by root")
    for program in ("mmdebstrap", "apt-ftparchive"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: tools/setup packages")
    CACHE.mkdir(parents=True, exist_ok=True)
    packages = ("network-manager", "dbus", "iproute2")
    made = Root(make_root(tmp_path / "root", make_repository(tmp_path / "repository", [], packages)))
    try:
        made.done("apt-get", "update", "-q")
        made.install(*packages)
        yield made
    finally:
        made.close()
        shutil.rmtree(tmp_path / "root", ignore_errors=True)


def _profile(devices: tuple[HostDevice, ...]) -> bytes:
    """A profile that is the files of these devices."""
    files = [(path, text, file_permissions(path)) for path, text in network_files(devices, "rpm").items()]
    lines = f"{files_text(files)}\n{removal_text(devices, 'rpm')}"
    node = read_node("n", "n.xml", _NODE, context(network_script=lines))
    return shell_script(Profile("h1", (node,)), shell_functions(), "rpm").encode()


def test_network_manager_makes_the_devices_and_not_one_that_was_removed(root: Root) -> None:
    root.done("bash", standard_input=_profile(DEVICES))
    assert "removed /etc/NetworkManager/system-connections/rocks-eth3.nmconnection" in root.done(
        "bash", standard_input=_profile(DEVICES[:-1])
    )
    adapters = "".join(f"{one.adapter} {one.mac}\n" for one in DEVICES).encode()
    booted = root.run("bash", "-c", _BOOT, standard_input=adapters)
    assert booted.exit_status == 0, booted.error_text
    ours = {path for path in network_files(DEVICES[:-1], "rpm") if path.endswith(".nmconnection")}
    assert ours <= set(booted.error_text.splitlines()), booted.error_text

    addresses, routes = (json.loads(line) for line in booted.text.splitlines())
    found = {one["ifname"]: one for one in addresses}
    assert _addresses(found["eth0"]) == [("10.1.255.254", 16)]
    assert (found["eth0"]["mtu"], found["eth0"]["address"]) == (4000, BRIDGED.mac)
    assert found["eth0"]["linkinfo"]["info_kind"] == "bridge"
    assert (found["peth0"]["master"], found["peth0"]["mtu"], _addresses(found["peth0"])) == ("eth0", 4000, [])
    assert _addresses(found["eth1"]) == [("10.2.0.2", 24)]
    assert _addresses(found["eth2"]) == _addresses(found["eth3"]) == []
    default = next(route for route in routes if route["dst"] == "default")
    assert (default["gateway"], default["dev"]) == ("10.1.1.1", "eth0")


def _addresses(device: dict[str, Any]) -> list[tuple[str, int]]:
    return [(one["local"], one["prefixlen"]) for one in device["addr_info"] if one["family"] == "inet"]
