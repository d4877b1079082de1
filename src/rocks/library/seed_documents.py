"""What cloud-init reads of a machine: its name, addresses, keys, and the machines of its cluster. Pure.

The documents are JSON, which is YAML; no text of people is put together by hand. Source: cloud-init's NoCloud, network
configuration version 2.

It is NoCloud on a small disk, made at each start: the CD drive is the user's, and a metadata service would
have to recognise guests. The disk is on a SCSI bus, because Linux names disks of virtio by their PCI
addresses, and a disk that is added later must keep its name. Names, keys and routes are set up once for each
instance, which is the machine's UUID and the number of its disk.
"""

from __future__ import annotations

import json
from dataclasses import field
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, Any

from rocks.core.dataclasses import dataclass
from rocks.core.errors import RocksError, StateError
from rocks.core.public_keys import read_keys
from rocks.inventory.mac_pool import full_mac
from rocks.library.guest_images import (
    ADDRESS_ATTRIBUTE,
    INSTANCE_ATTRIBUTE,
    KEYS_ATTRIBUTE,
    VC_OUT_ATTRIBUTE,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rocks.inventory.records import Interface, VirtualMachine

VOLUME = "cidata"
_VC_OUT = "vc-out.xml"
_TMPFILES = "/etc/tmpfiles.d/machinefile.conf"
_DEFAULT_ROUTE = "0.0.0.0/0"
_LOCAL_HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
_MAX_SERVERS = 3
"""Name servers that a resolver asks (resolv.conf(5))."""


@dataclass(frozen=True)
class GuestCluster:
    """A virtual cluster as its machines see it: the frontend, if there is one, and its computes in their order."""

    frontend: VirtualMachine | None = None
    computes: Sequence[VirtualMachine] = ()
    gateway: str = ""
    """Default gateway of the frontend."""
    private_key: str = field(default="", repr=False)
    """For the frontend alone: with it root logs in to the computes. A file of OpenSSH; empty: the cluster has none."""
    public_key: str = ""


def seed_documents(vm: VirtualMachine, cluster: GuestCluster, connected: Collection[str]) -> dict[str, str]:
    """File → content of the machine's seed. `connected` are the MAC addresses of the interfaces that it has.

    StateError for an attribute or address of the database that is not valid.
    """
    try:
        network, servers = _network(vm, cluster, connected), _servers(vm, cluster)
        keys = read_keys(vm.host.attribute(KEYS_ATTRIBUTE))
        hosts = _LOCAL_HOSTS + "".join(f"{line}\n" for line in _host_lines(vm, cluster))
    except (RocksError, ValueError) as error:
        raise StateError(f"{vm.name} is not started: its network or keys are not valid: {error}") from None
    is_frontend = cluster.frontend is not None and cluster.frontend.name == vm.name
    is_router = is_frontend and bool(cluster.computes)
    vc_out = vm.host.attribute(VC_OUT_ATTRIBUTE)
    user: dict[str, Any] = {
        "hostname": vm.name,
        "fqdn": vm.name,
        "preserve_hostname": False,
        "manage_etc_hosts": False,
        "disable_root": False,
        "ssh_pwauth": False,
        "ssh_genkeytypes": ["ed25519"],
        "ssh_authorized_keys": [
            *keys,
            *[cluster.public_key] * (bool(cluster.public_key) and not is_frontend),
        ],
    }
    if is_router:
        user["runcmd"] = [
            ["systemctl", "restart", "systemd-sysctl.service"],
            ["systemctl", "enable", "--now", "nftables.service"],
            *[["systemd-tmpfiles", "--create", _TMPFILES]] * bool(vc_out),
        ]
    user["write_files"] = _files(vm, cluster, hosts, servers, vc_out, is_router)
    return {
        "meta-data": _json({"instance-id": _instance(vm), "local-hostname": vm.name}),
        "network-config": _json(network),
        "user-data": f"#cloud-config\n{_json(user)}",
        **({_VC_OUT: vc_out} if vc_out else {}),
    }


def _files(
    vm: VirtualMachine,
    cluster: GuestCluster,
    hosts: str,
    servers: Sequence[str],
    vc_out: str,
    is_router: bool,
) -> list[dict[str, str]]:
    """What cloud-init writes; `is_router`: the machine is the frontend of computes."""
    files = [_file("/etc/hosts", hosts)]
    if cluster.private_key and is_router:
        files += _key_files(cluster)
    if servers:
        files.append(_file("/etc/resolv.conf", "".join(f"nameserver {server}\n" for server in servers)))
    if vc_out:
        files.append(_file(f"/root/{_VC_OUT}", vc_out, "0600"))
        files += _machine_files(cluster) if is_router else []
    return files + (_router_files(vm) if is_router else [])


def plan_addresses(frontend: IPv4Interface, count: int) -> list[str]:
    """Addresses for the computes of a cluster, from the lowest of the frontend's network on, without its own.

    StateError when the network has fewer.
    """
    found: list[str] = []
    for address in frontend.network.hosts():
        if len(found) == count:
            break
        if address != frontend.ip:
            found.append(str(address))
    if len(found) < count:
        raise StateError(
            f"the network {frontend.network} has no addresses for {count} computes and their frontend; give fewer"
        )
    return found


def private_address(frontend: VirtualMachine | None) -> IPv4Interface | None:
    """The frontend's address on the VLAN of its cluster, or None."""
    for interface in frontend.host.interfaces if frontend is not None else ():
        if interface.vlan and interface.ip and interface.netmask:
            return IPv4Interface(f"{interface.ip}/{interface.netmask}")
    return None


def address_warning(vm: VirtualMachine, cluster: GuestCluster) -> str:
    """A line about a compute with the address of another, or with none where other computes have one; else ''."""
    private, others = private_address(cluster.frontend), _others(vm, cluster)
    if private is None or private_address(vm) is not None:
        return ""
    if inside := vm.host.attribute(ADDRESS_ATTRIBUTE):
        return (
            f"{vm.name} and {others[inside]} have the address {inside} in their cluster"
            if inside in others
            else ""
        )
    if not others.keys() - {"", str(private.ip)}:
        return ""
    free = next((str(one) for one in private.network.hosts() if str(one) not in others), "ADDRESS")
    return (
        f"{vm.name} has no address in its cluster, where other computes have one, and asks by DHCP; it gets one with "
        f"its next fresh disk: rocks set host attr {vm.name} {ADDRESS_ATTRIBUTE} {free}, then "
        f"rocks reinstall host vm {vm.name} force=yes"
    )


def _others(vm: VirtualMachine, cluster: GuestCluster) -> dict[str, str]:
    """Address in the cluster → the other machine that has it; '' → one that has none."""
    private = private_address(cluster.frontend)
    others = (one for one in cluster.computes if one.name != vm.name and private_address(one) is None)
    found = {one.host.attribute(ADDRESS_ATTRIBUTE): one.name for one in others}
    return found if private is None else {**found, str(private.ip): "the frontend"}


def _instance(vm: VirtualMachine) -> str:
    """The machine's UUID, and the number of its fresh disk: its image may have been made of its own earlier disk."""
    number = vm.host.attribute(INSTANCE_ATTRIBUTE)
    return f"{vm.uuid}-{number}" if number else vm.uuid


def _network(vm: VirtualMachine, cluster: GuestCluster, connected: Collection[str]) -> dict[str, Any]:
    """Every MAC address in it must exist in the guest; cloud-init 22.4 sets up no network at all otherwise."""
    ethernets: dict[str, Any] = {}
    for interface in vm.host.interfaces:
        if interface.mac in connected and interface.mac:
            name = f"eth{len(ethernets)}"
            ethernets[name] = {
                "match": {"macaddress": full_mac(interface.mac).lower()},
                "set-name": name,
                **_addresses(vm, interface, cluster),
            }
    return {"version": 2, "ethernets": ethernets}


def _addresses(vm: VirtualMachine, interface: Interface, cluster: GuestCluster) -> dict[str, Any]:
    found: dict[str, Any] = {"mtu": interface.mtu_bytes} if interface.mtu_bytes else {}
    own, gateway = _address(vm, interface, cluster)
    if own is None:
        return {**found, "dhcp4": True, "optional": True}
    found["addresses"] = [str(own)]
    if gateway and IPv4Address(gateway) in own.network:
        found["routes"] = [{"to": _DEFAULT_ROUTE, "via": gateway}]
    return found


def _address(
    vm: VirtualMachine, interface: Interface, cluster: GuestCluster
) -> tuple[IPv4Interface | None, str]:
    """(the interface's address, the gateway that may be on its network)."""
    if interface.ip and interface.netmask:
        is_frontend = cluster.frontend is not None and cluster.frontend.name == vm.name
        return IPv4Interface(f"{interface.ip}/{interface.netmask}"), cluster.gateway if is_frontend else ""
    inside = vm.host.attribute(ADDRESS_ATTRIBUTE)
    private = private_address(cluster.frontend)
    if private is None or not inside or not interface.vlan or interface.vlan not in _vlans(cluster):
        return None, ""
    return IPv4Interface(f"{inside}/{private.network.prefixlen}"), str(private.ip)


def _vlans(cluster: GuestCluster) -> set[int]:
    assert cluster.frontend is not None
    return {interface.vlan for interface in cluster.frontend.host.interfaces if interface.vlan}


def _servers(vm: VirtualMachine, cluster: GuestCluster) -> list[str]:
    source = cluster.frontend or vm
    texts = source.host.attribute("Kickstart_PublicDNSServers").split(",")
    return [str(IPv4Address(text.strip())) for text in texts if text.strip()][:_MAX_SERVERS]


def _host_lines(vm: VirtualMachine, cluster: GuestCluster) -> list[str]:
    """The cluster's machines by their names of the site, and as computes of Rocks are named within a cluster."""
    if cluster.frontend is None:
        own = next((interface.ip for interface in vm.host.interfaces if interface.ip), None)
        return [f"{own} {vm.name}"] if own else []
    private = private_address(cluster.frontend)
    lines = [] if private is None else [f"{private.ip} {cluster.frontend.name} frontend"]
    for number, compute in enumerate(cluster.computes):
        address = compute.host.attribute(ADDRESS_ATTRIBUTE)
        if address:
            # in vc-out.xml, computes have the shorter name
            short = f" compute-{number}" if compute.host.attribute(VC_OUT_ATTRIBUTE) else ""
            lines.append(f"{IPv4Address(address)} {compute.name} compute-0-{number}{short}")
    return lines


def _machine_files(cluster: GuestCluster) -> list[dict[str, str]]:
    """Each compute as often as it has CPUs, as mpirun reads it; /tmp is emptied at each boot, and gets it again."""
    lines = (
        (compute.host.cpus or 1) * f"compute-{number}\n" for number, compute in enumerate(cluster.computes)
    )
    return [
        _file("/root/machinefile", "".join(lines)),
        _file(_TMPFILES, "C /tmp/machinefile 0644 root root - /root/machinefile\n"),
    ]


def _router_files(frontend: VirtualMachine) -> list[dict[str, str]]:
    """The frontend is the way out for its computes: their packets leave with its address."""
    private = private_address(frontend)
    rules = (
        "flush ruleset\n"
        "table ip nat {\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat;\n"
        f"    ip saddr {private.network} ip daddr != {private.network} masquerade\n"
        "  }\n"
        "}\n"
        if private is not None
        else ""
    )
    return [
        _file("/etc/sysctl.d/90-cluster-router.conf", "net.ipv4.ip_forward = 1\n"),
        _file("/etc/nftables.conf", rules),
    ]


def _key_files(cluster: GuestCluster) -> list[dict[str, str]]:
    """Root's default key. Computes are on a VLAN of their own: their host keys are accepted when first seen."""
    names = [f"{compute.name} compute-0-{number}" for number, compute in enumerate(cluster.computes)]
    config = f"Host {' '.join([*names, 'compute-*'])}\n  StrictHostKeyChecking accept-new\n"
    return [
        _file("/root/.ssh/id_ed25519", cluster.private_key, "0600"),
        _file("/root/.ssh/id_ed25519.pub", f"{cluster.public_key}\n"),
        _file("/etc/ssh/ssh_config.d/50-cluster.conf", config),
    ]


def _file(path: str, content: str, mode: str = "0644") -> dict[str, str]:
    return {"path": path, "permissions": mode, "owner": "root:root", "content": content}


def _json(value: Mapping[str, Any]) -> str:
    """Printable text only, as YAML wants it; the keys, names and addresses have been checked."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
