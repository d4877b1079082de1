"""The network between sites: a host's profile, its files read by systemd-networkd, and frames between two hosts."""

import base64
import os
import re
from pathlib import Path

import pytest

from rocks.core.errors import StateError
from rocks.core.process import run_checked
from rocks.install.graph_files import Library
from rocks.install.host_profiles import write_profile
from tests.golden.profile.cases import on_site, vm_host
from tests.system.graph.machine import Machine
from tests.system.machines.site import OLD, MachineSite
from tests.system.pragma.conftest import TREE

NETWORKD = Path("/lib/systemd/systemd-networkd")
HERE, THERE, FURTHER = "203.0.113.7", "198.51.100.9", "192.0.2.1"
KEY, OTHER_KEY, THIRD_KEY = (base64.b64encode(byte * 32).decode() for byte in (b"a", b"b", b"c"))
HOSTS = f"{HERE}={KEY} {THERE}={OTHER_KEY} {FURTHER}={THIRD_KEY}"

_BOOT = """\
set -eu
boot() {
  mount -t sysfs -o ro sys /sys
  mount --bind "$1/etc/systemd/network" /etc/systemd/network
  mount --bind "$1/etc/machine-id" /etc/machine-id # devices have their MAC addresses of it
  mount -t tmpfs -o mode=755 run /run
  mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
  chown -R systemd-network: /run/systemd/netif
  nft -f "$1/etc/rocks/ent.nft"
  /lib/systemd/systemd-networkd >"$1/log" 2>&1 &
  networkd=$!
}
"""
# the kernel may lack WireGuard: a veth device has its name, and carries what it would
_TWO_HOSTS = """\
join() {
  rm "$1/etc/systemd/network/20-ent-wg.netdev"
  boot "$1"
  for _ in $(seq 300); do
    ! ip link show master ent 2>/dev/null | grep -q ent-vxlan || break
    sleep 0.1
  done
  ip address add "$2" dev ent
}
export -f boot join
mkfifo "$1/here" "$1/moved"
unshare --net --mount bash -c 'echo >"$1/here"; read -r <"$1/moved"; join "$2" 10.102.0.2/24
  cd "$2/stubs"; exec python3 -m http.server --bind :: 80 >/dev/null 2>&1' bash "$@" &
other=$!
read -r <"$1/here"
ip link add ent-wg mtu 1420 type veth peer name ent-wg mtu 1420 netns $other
echo >"$1/moved"
join "$1" 10.102.0.1/24
for _ in $(seq 300); do
  ! exec 3<>/dev/tcp/10.102.0.2/80 || break
  sleep 0.1
done 2>/dev/null
printf 'GET /page HTTP/1.0\r\n\r\n' >&3
tail -c 100000 <&3 | wc -c
bridge fdb show dev ent-vxlan
asks() { timeout 3 bash -c 'exec 4<>"/dev/tcp/$1/80"' bash "$1"; }
nft flush table inet rocks_ent # a host may be another's
! asks "$3" || echo "service in spite of the rules"
nsenter --target $other --net nft flush table inet rocks_ent
for _ in $(seq 20); do
  ! asks "$3" || { echo "service without the rules"; break; }
done
kill $other $networkd
"""

_PARSED = """\
boot "$1"
for _ in $(seq 300); do
  ! grep '^ent-wg: netdev' "$1/log" || break
  sleep 0.1
done
kill $networkd
"""


def _profile(folder: Path, address: str, hosts: str = HOSTS) -> str:
    base = folder / "base"
    (base / "nodes").mkdir(parents=True, exist_ok=True)
    (base / "nodes/client.xml").write_text("<kickstart/>")
    for name in ("nodes/ent.xml", "graphs/default/pragma.xml"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text((TREE.parent / name).read_text())
    return write_profile(on_site(vm_host(ent_address=address, ent_hosts=hosts), "client"), Library(base))


def _machine(folder: Path, address: str, key: str) -> Machine:
    folder.mkdir()
    made = Machine(folder)
    made.path("/etc/rocks/sec_attr").mkdir(parents=True)
    made.path("/etc/rocks/sec_attr/ent_key").write_text(f"{key}\n")
    made.path("/etc/machine-id").write_text(f"{key.encode()[:16].hex()}\n")
    (folder / "stubs/units/systemd-networkd.service.enabled").touch()
    made.done(_profile(folder, address))
    return made


@pytest.mark.skipif(os.geteuid() != 0, reason="profiles are for root")
def test_a_profile_has_the_devices_after_the_next_boot(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    text = _profile(tmp_path, HERE)
    first = machine.done(text)
    assert "wg genkey | rocks set host sec_attr vmc-0-0 ent_key" in first
    assert "systemd-networkd.service is not enabled" in first
    machine.path("/etc/rocks/sec_attr").mkdir()
    machine.path("/etc/rocks/sec_attr/ent_key").write_text(f"{KEY}\n")
    (tmp_path / "stubs/units/systemd-networkd.service.enabled").touch()
    assert "the devices of the network ent take effect at the next boot" in machine.done(text)
    key = machine.path("/etc/systemd/network/ent.key")
    assert key.stat().st_mode & 0o777 == 0o640 and key.group() == "systemd-network"
    assert "profile ends: no changes" in machine.done(text)
    wireguard = machine.path("/etc/systemd/network/20-ent-wg.netdev").read_text()
    assert KEY not in wireguard
    assert (
        f"[WireGuardPeer]\nPublicKey={OTHER_KEY}\nEndpoint={THERE}:51820\nAllowedIPs=fd65:6e74::{THERE}/128\n"
        in wireguard
    )


@pytest.mark.parametrize(
    ("hosts", "error"),
    [
        (f"{HERE}=short", f"has {HERE}=short, which is not ADDRESS=PUBLIC_KEY"),
        (f"{HERE}={KEY} 999={OTHER_KEY}", f"has 999={OTHER_KEY}, which is not ADDRESS=PUBLIC_KEY"),
        (f"192.0.2.256={KEY}", f"has 192.0.2.256={KEY}, which is not ADDRESS=PUBLIC_KEY"),
        (f"{HERE}={KEY} {THERE}={OTHER_KEY} {HERE}={THIRD_KEY}", f"has {HERE} twice"),
        (f"{HERE}={KEY} {THERE}={KEY}", f"has {KEY} twice"),
        (f"{THERE}={OTHER_KEY}", f"lacks this host, whose ent_address is {HERE}: add {HERE}=PUBLIC_KEY"),
    ],
)
def test_a_list_of_hosts_that_is_not_valid_is_named(tmp_path: Path, hosts: str, error: str) -> None:
    with pytest.raises(StateError, match=re.escape(f"the attribute ent_hosts {error}")):
        _profile(tmp_path, HERE, hosts)


def test_a_host_without_an_address_has_no_such_network(tmp_path: Path) -> None:
    assert "20-ent" not in _profile(tmp_path, "", HOSTS)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not NETWORKD.exists(), reason="devices are for root, with networkd")
def test_networkd_takes_the_keys(tmp_path: Path) -> None:
    machine = _machine(tmp_path / "a", HERE, KEY)
    output = _run(_PARSED, machine)
    assert "netdev ready" in output or "could not be created: Operation not supported" in output
    assert not _faults(machine)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not NETWORKD.exists(), reason="devices are for root, with networkd")
def test_machines_of_two_hosts_are_in_one_network(tmp_path: Path) -> None:
    machines = [_machine(tmp_path / "a", HERE, KEY), _machine(tmp_path / "b", THERE, OTHER_KEY)]
    (machines[1].folder / "stubs/page").write_bytes(b"x" * 100_000)
    output = _run(_TWO_HOSTS, *machines, f"fd65:6e74::{THERE}")
    assert output.startswith("100000\n")
    assert output.count("00:00:00:00:00:00 dst fd65:6e74::") == 2
    assert "service without the rules" in output and "in spite of the rules" not in output
    assert not [fault for one in machines for fault in _faults(one)]


def _run(script: str, *arguments: Machine | str) -> str:
    """What a script prints, in a network and mounts of its own."""
    program = ["unshare", "--net", "--mount", "--pid", "--fork", "--propagation", "private", "--mount-proc"]
    texts = [one if isinstance(one, str) else str(one.folder) for one in arguments]
    return run_checked([*program, "bash", "-c", _BOOT + script, "bash", *texts], deadline_seconds=90).text


def _faults(machine: Machine) -> list[str]:
    """What networkd says of our files, but that it reads them."""
    lines = (machine.folder / "log").read_text().splitlines()
    return [
        line for line in lines if ("20-ent" in line and "Configuring with" not in line) or "ent.key" in line
    ]


@pytest.mark.slow
def test_guests_are_ports_of_the_bridge(machines: MachineSite) -> None:
    machines.run("add network ent 10.102.0.0 255.255.255.0 mtu=1350")
    machines.run("set attr pragma_additional_interfaces ent:eth2")
    machines.run(f"add host interface {OLD} ent subnet=ent")
    assert "ent" not in machines.run(f"report host network {OLD}")  # which the roll's node sets up
    machines.hosts[OLD].links.add("ent", "bridge")
    machines.run(f"pragma boot alone 0 add-iface=ent hosts={OLD}")
    assert 'bridge="ent"' in machines.run("report host vm config dock")
