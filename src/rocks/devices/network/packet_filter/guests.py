"""No guest runs unfiltered: what its domain's document says it may send, set on its devices and read back."""

from __future__ import annotations

from typing import Dict, Tuple

from rocks.devices.change import Change
from rocks.devices.libvirt.domain_xml import DomainDocument
from rocks.devices.libvirt.interface_xml import GuestInterface, SenderLimits
from rocks.devices.network.packet_filter.driver import FilterDriver, GuestDevice
from rocks.devices.network.packet_filter.programs import Rule, Sender, rules_for
from rocks.errors import StateError

_UNKNOWN = SenderLimits()
"""An interface that a plug-in has added: nothing is known of it but its MAC address."""


def ensure_filtered(filters: FilterDriver, document: DomainDocument) -> Change:
    """Filter each interface that has a device on the host, of a domain whose document is the live one.

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
            f"{document.name} cannot be filtered: libvirt names no device for its interface {interface.mac}"
        )
    return GuestDevice(interface.device, interface.is_macvtap)


def _rules(
    filters: FilterDriver, interface: GuestInterface, senders: Dict[str, SenderLimits]
) -> Tuple[Rule, ...]:
    words = senders.get(interface.mac, _UNKNOWN)
    foreign = filters.addresses() if words.is_shared and not words.ipv4 else ()
    return rules_for(Sender(interface.mac, words.is_shared, words.ipv4, words.ipv6, foreign))
