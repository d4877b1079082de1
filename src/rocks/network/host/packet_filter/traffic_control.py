"""Packet filters on the devices of guests, by netlink (tc); `tests/fakes` implements the same Protocol in memory.

A frame from a guest is egress on a macvtap (Linux 6.1, drivers/net/tap.c: dev_queue_xmit), but ingress on a tap that is
a port of a bridge (tun.c: netif_rx). In both cases it passes a hook of the device's clsact qdisc before it reaches
the host or the wire.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from rocks.core.errors import IncoherentError, StateError
from rocks.fleet.host.change import CHANGED, UNCHANGED, Change
from rocks.network.host.netlink import IPRoute, NetlinkError, netlink
from rocks.network.host.packet_filter.driver import Drops, GuestDevice
from rocks.network.host.packet_filter.messages import (
    ADD_FILTER,
    ADD_QDISC,
    DELETE_FILTER,
    DELETE_QDISC,
    GET_FILTERS,
    RECEIVED_BY_DEVICE,
    SENT_BY_DEVICE,
    FilterFound,
    FilterMessage,
    deletion_message,
    dump_message,
    filter_message,
    parse_filter,
    qdisc_message,
)
from rocks.network.host.packet_filter.programs import Rule

_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_CREATE, _ONLY_NEW = 0x400, 0x200
_FIRST_KERNEL_PRIORITY = 0xC000  # automatic priorities start there
_LOOPBACK = 1
_NOTHING = Rule("probe", bytes((6, 0, 0, 0, 0, 0, 0, 0)))


class Filters:
    """The packet filters of this process' network namespace. What is not documented here is in `FilterDriver`."""

    def ensure(self, device: GuestDevice, rules: Sequence[Rule]) -> Change:
        with _netlink(device.name) as route:
            number, hook = _number(route, device), _hook(device)
            if [found.rule for found in _found(route, number, hook)] == list(rules):
                return UNCHANGED
            _ensure_qdisc(route, number)
            for place, rule in enumerate(rules, start=1):
                _request(route, filter_message(number, hook, place, rule), ADD_FILTER, _CREATE)
            for surplus in _found(route, number, hook):
                if not 1 <= surplus.number <= len(rules):
                    _request(route, deletion_message(number, hook, surplus.number), DELETE_FILTER)
            if [found.rule for found in _found(route, number, hook)] != list(rules):
                raise IncoherentError(
                    f"the packet filter of {device.name} was set, but the kernel reports another one"
                )
            return CHANGED

    def read(self, devices: Sequence[GuestDevice]) -> Dict[str, Drops]:
        answers: Dict[str, Drops] = {}
        with _netlink("guests' devices") as route:
            for device in devices:
                number = next(iter(route.link_lookup(ifname=device.name)), None)
                if number is not None:
                    found = _found(route, number, _hook(device))
                    answers[device.name] = tuple((f.rule.reason, f.packets) for f in found if f.rule)
        return answers

    def works(self) -> bool:
        """As `FilterDriver.works`: adds a filter that matches nothing to the loopback device and removes it."""
        with IPRoute() as route:
            try:
                made_qdisc = _ensure_qdisc(route, _LOOPBACK)
                try:
                    _request(
                        route,
                        filter_message(_LOOPBACK, SENT_BY_DEVICE, _FIRST_KERNEL_PRIORITY - 1, _NOTHING),
                        ADD_FILTER,
                        _CREATE,
                    )
                    _request(
                        route,
                        deletion_message(_LOOPBACK, SENT_BY_DEVICE, _FIRST_KERNEL_PRIORITY - 1),
                        DELETE_FILTER,
                    )
                finally:
                    if made_qdisc:
                        _request(route, qdisc_message(_LOOPBACK), DELETE_QDISC)
            except NetlinkError:
                return False
        return True

    def addresses(self) -> Tuple[str, ...]:
        with _netlink("addresses") as route:
            found = [message.get_attr("IFA_LOCAL") for message in route.get_addr(family=2)]
        return tuple(sorted({str(address) for address in found if address} - {"127.0.0.1"}))


def _ensure_qdisc(route: Any, number: int) -> bool:
    """Create the clsact qdisc; False when it existed."""
    try:
        _request(route, qdisc_message(number), ADD_QDISC, _CREATE | _ONLY_NEW)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        return False
    return True


def _found(route: Any, number: int, hook: int) -> List[FilterFound]:
    try:
        messages = route.nlm_request(dump_message(number, hook), GET_FILTERS, _REQUEST | _DUMP)
        found = [parse_filter(message) for message in messages]
    except NetlinkError as error:
        if error.code in (errno.EINVAL, errno.ENOENT):  # no clsact qdisc
            return []
        raise
    return sorted((f for f in found if f is not None), key=lambda f: f.number)


def _request(route: Any, message: Any, kind: int, flags: int = 0) -> None:
    tuple(route.nlm_request(message, kind, _REQUEST | _ACK | flags))


def _number(route: Any, device: GuestDevice) -> int:
    found = route.link_lookup(ifname=device.name)
    if not found:
        raise StateError(f"this host has no network device {device.name}")
    return int(found[0])


def _hook(device: GuestDevice) -> int:
    return SENT_BY_DEVICE if device.is_macvtap else RECEIVED_BY_DEVICE


@contextmanager
def _netlink(device: str) -> Iterator[Any]:
    with netlink(f"filter {device}") as route:
        route.marshal.msg_map = {**route.marshal.msg_map, ADD_FILTER: FilterMessage}
        yield route
