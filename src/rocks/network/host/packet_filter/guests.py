"""Packet filters of a guest: rules from the domain's metadata are set on its devices and read back."""

from __future__ import annotations

from typing import Dict, Tuple

from rocks.core.errors import StateError
from rocks.fleet.host.change import Change
from rocks.machine.host.libvirt.domain_xml import DomainDocument
from rocks.machine.host.libvirt.interface_xml import GuestInterface, SenderLimits
from rocks.network.host.packet_filter.driver import FilterDriver, GuestDevice
from rocks.network.host.packet_filter.programs import Rule, Sender, rules_for

_UNKNOWN = SenderLimits()
"""For an interface that a plugin added: only its MAC address is known."""


def ensure_filtered(filters: FilterDriver, document: DomainDocument) -> Change:
    """Filter each interface with a host device; `document` is the live XML of the domain.

    StateError for an interface without a device; other errors as `FilterDriver.ensure`.
    """
    senders = document.senders
    changes = [
        filters.ensure(_device(document, interface), _rules(filters, interface, senders))
        for interface in document.interfaces
    ]
    return Change(any(change.changed for change in changes))


def _device(document: DomainDocument, interface: GuestInterface) -> GuestDevice:
    if interface.device is None:
        raise StateError(
            f"{document.name} cannot be filtered: libvirt reports no device of its interface {interface.mac}"
        )
    return GuestDevice(interface.device, interface.is_macvtap)


def _rules(
    filters: FilterDriver, interface: GuestInterface, senders: Dict[str, SenderLimits]
) -> Tuple[Rule, ...]:
    limits = senders.get(interface.mac, _UNKNOWN)
    foreign = filters.addresses() if limits.is_shared and not limits.ipv4 else ()
    return rules_for(Sender(interface.mac, limits.is_shared, limits.ipv4, limits.ipv6, foreign))
