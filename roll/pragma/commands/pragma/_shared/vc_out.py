"""Writes vc-out.xml, from which a machine gets its network, names and keys. Pure.

One file satisfies readers of both generations (vc-out-parser and dynip of the first, vc-out-parser of the second):
flat attributes and an element for each network are both there. A reader takes a file with /vc/compute/private for
that of a compute, so computes in a frontend's file have their networks inside `node`.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface

from lxml import etree

from rocks.core.dataclasses import dataclass
from rocks.core.errors import UserError
from rocks.core.terminal import one_line

PRIVATE, PUBLIC = "private", "public"


@dataclass(frozen=True)
class Interface:
    """An interface of a machine: the name of its network, its MAC address, its address with the netmask, the MTU."""

    network: str
    mac: str
    address: IPv4Interface
    mtu: int = 1500


@dataclass(frozen=True)
class Frontend:
    """The frontend: its public name, default gateway, and interfaces, of which private and public must be there."""

    fqdn: str
    gateway: str
    interfaces: tuple[Interface, ...]

    @property
    def name(self) -> str:
        """The first label of its name."""
        return self.fqdn.partition(".")[0]


@dataclass(frozen=True)
class Compute:
    """A compute by its name inside the cluster (compute-0); its gateway is the frontend."""

    name: str
    cpus: int
    gateway: str
    interfaces: tuple[Interface, ...]


@dataclass(frozen=True)
class Common:
    """What all files of a cluster have: name servers, the domain of private names, and public keys, one a line."""

    name_servers: tuple[str, ...]
    key: str
    search: str = "local"
    domain: str = ""


@dataclass(frozen=True)
class FrontendFile:
    """The file of a frontend."""

    frontend: Frontend
    computes: tuple[Compute, ...]
    common: Common


@dataclass(frozen=True)
class ComputeFile:
    """The file of a compute. It has no number of CPUs, which only the frontend needs."""

    frontend_fqdn: str
    compute: Compute
    common: Common


def frontend_text(file: FrontendFile) -> str:
    """The file of a frontend. UserError for one without private or public interface, or text that XML cannot have."""
    root = etree.Element("vc")
    own = file.frontend
    _of_network(own.interfaces, PRIVATE)
    _of_network(own.interfaces, PUBLIC)
    frontend = _add(root, "frontend", fqdn=own.fqdn, name=own.name, gw=own.gateway)
    for interface in own.interfaces:
        more = {"fqdn": own.fqdn, "gw": own.gateway, "name": own.name} if interface.network == PUBLIC else {}
        _add_interface(frontend, interface, more)
    computes = _add(root, "compute", count=str(len(file.computes)))
    for compute in file.computes:
        private = _of_network(compute.interfaces, PRIVATE)
        node = _add(
            computes,
            "node",
            name=compute.name,
            mac=private.mac,
            ip=str(private.address.ip),
            cpus=str(compute.cpus),
            gw=compute.gateway,
        )
        for interface in compute.interfaces:
            _add_interface(node, interface, {})
    return _finished(root, file.common)


def compute_text(file: ComputeFile) -> str:
    """The file of a compute. UserError as `frontend_text`."""
    root = etree.Element("vc")
    _add(_add(root, "frontend", fqdn=file.frontend_fqdn), PUBLIC, fqdn=file.frontend_fqdn)
    own = file.compute
    _of_network(own.interfaces, PRIVATE)
    compute = _add(root, "compute", name=own.name, gw=own.gateway)
    for interface in own.interfaces:
        more = {"fqdn": own.name, "gw": own.gateway} if interface.network == PRIVATE else {}
        _add_interface(compute, interface, more)
    return _finished(root, file.common)


def cloud_frontend_text(fqdn: str, nodes: Sequence[tuple[str, int]], key: str) -> str:
    """The file of a frontend in a cloud, with (address, CPUs) of each compute; its own addresses come by DHCP."""
    root = etree.Element("vc")
    name = fqdn.partition(".")[0]
    frontend = _add(root, "frontend", fqdn=fqdn, name=name)
    _add(frontend, PUBLIC, fqdn=fqdn, name=name)
    _add(frontend, PRIVATE)
    computes = _add(root, "compute", count=str(len(nodes)))
    for number, (address, cpus) in enumerate(nodes):
        node = _add(computes, "node", name=f"compute-{number}", ip=address, cpus=str(cpus))
        _add(node, PRIVATE, ip=address)
    return _finished(root, Common((), key))


def cloud_compute_text(frontend_fqdn: str, name: str, key: str) -> str:
    """The file of a compute in a cloud: names and keys."""
    root = etree.Element("vc")
    _add(_add(root, "frontend", fqdn=frontend_fqdn), PUBLIC, fqdn=frontend_fqdn)
    _add(_add(root, "compute", name=name), PRIVATE, fqdn=name)
    return _finished(root, Common((), key))


def _of_network(interfaces: tuple[Interface, ...], network: str) -> Interface:
    found = next((one for one in interfaces if one.network == network), None)
    if found is None:
        raise UserError(f"the machine has no interface on the network {network}")
    return found


def _add_interface(parent: etree._Element, interface: Interface, more: dict[str, str]) -> None:
    network = interface.address.network
    _add(
        parent,
        interface.network,
        subnet=str(network.network_address),
        netmask=str(network.netmask),
        mtu=str(interface.mtu),
        ip=str(interface.address.ip),
        mac=interface.mac,
        **more,
    )


def _add(parent: etree._Element, tag: str, **attributes: str) -> etree._Element:
    try:
        return etree.SubElement(parent, tag, attributes)
    except ValueError as error:
        raise UserError(f"{one_line(tag)} cannot be in vc-out.xml: {error}") from None


def _finished(root: etree._Element, common: Common) -> str:
    network = _add(root, "network")
    _add(network, "dns", ip=",".join(common.name_servers), search=common.search, domain=common.domain)
    etree.indent(root)
    key = _add(root, "key")
    try:
        key.text = common.key
    except ValueError as error:
        raise UserError(f"the key cannot be in vc-out.xml: {error}") from None
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True).decode() + "\n"
