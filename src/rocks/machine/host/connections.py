"""How the guests of this host are connected, according to libvirt and the kernel."""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional

from rocks.core.errors import RocksError, StateError
from rocks.fleet.wire.domain_states import ACTIVE_STATES
from rocks.fleet.wire.network import DropCount, InterfaceFact, NetworkFacts, NetworkRequest
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.domain_xml import DomainDocument, vf_addresses
from rocks.machine.host.libvirt.interface_xml import GuestInterface
from rocks.network.host.packet_filter.driver import Drops, GuestDevice
from rocks.network.host.rules import Link


def read_network(host: Host, request: NetworkRequest) -> NetworkFacts:
    """All interfaces of the running domains of this system; an interface unknown to the kernel is omitted."""
    documents = _documents(host)
    connected = [
        (document, interface, GuestDevice(interface.device, interface.is_macvtap))
        for document in documents
        for interface in document.interfaces
        if interface.device is not None
    ]
    if not connected and not any(vf_addresses(document) for document in documents):
        return NetworkFacts(())
    links = {link.name: link for link in host.links().list()}
    drops = host.filters().read([device for _, _, device in connected]) if connected else {}
    facts = [_fact(*found, links, drops.get(found[2].name, ())) for found in connected]
    facts += [fact for document in documents for fact in _vfs(host, document, links)]
    return NetworkFacts(tuple(fact for fact in facts if fact is not None))


def _documents(host: Host) -> List[DomainDocument]:
    documents = []
    for fact in host.domains().facts():
        if fact.state in ACTIVE_STATES and fact.token is not None:
            try:
                documents.append(host.domains().document(fact.name))
            except StateError:
                continue  # the domain has ended since
    return documents


def _fact(
    document: DomainDocument,
    interface: GuestInterface,
    device: GuestDevice,
    links: Dict[str, Link],
    drops: Drops,
) -> Optional[InterfaceFact]:
    link = links.get(device.name)
    if link is None:
        return None
    below = links.get(interface.source or "")
    # a frame from the guest is sent by a macvtap, but received by a tap
    received, sent = link.received_bytes, link.sent_bytes
    return InterfaceFact(
        domain=document.name,
        mac=interface.mac,
        device=device.name,
        source=interface.source or "",
        vlan=below.vlan if below is not None else None,
        is_up=link.is_up and (below is None or below.is_up),
        has_carrier=link.has_carrier and (below is None or below.has_carrier),
        received_bytes=received if device.is_macvtap else sent,
        sent_bytes=sent if device.is_macvtap else received,
        filter="on" if drops else "missing" if document.is_filtered else "off",
        drops=tuple(DropCount(reason, frames) for reason, frames in drops),
    )


def _vfs(host: Host, document: DomainDocument, links: Dict[str, Link]) -> Iterator[InterfaceFact]:
    """The virtual functions of the machine, from the host's record."""
    addresses = vf_addresses(document)
    try:
        assigned = host.assigned_vfs.read(document.name) if addresses else None
    except RocksError:
        return  # the next start or stop of the machine reports the damaged record
    for vf in assigned.functions if assigned is not None else ():
        address, adapter = addresses.get(vf.mac.lower()), links.get(vf.device)
        if address is not None:
            yield InterfaceFact(
                domain=document.name,
                mac=vf.mac,
                device=address,
                source=vf.device,
                vlan=vf.vlan or None,
                is_up=adapter is not None and adapter.is_up,
                has_carrier=adapter is not None and adapter.has_carrier,
                received_bytes=None,
                sent_bytes=None,
                filter="adapter" if vf.checks_source else "off",
                drops=(),
            )
