"""What virtual functions may be asked for, and which of an adapter's can be given away; pure."""

from __future__ import annotations

import re
from typing import Dict, Mapping, NamedTuple, Optional, Tuple, Union

from rocks.errors import BusyError, StateError, ToolError, UserError
from rocks.wire.agent import VfSpec
from rocks.wire.facts import VfFact

NO_MAC = "00:00:00:00:00:00"
"""The address of a function that nobody has; its driver then makes one up."""

MAX_VFS = 256
"""More than any adapter gives; a bound for what is worth asking for."""

_NAME = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._-]{1,15}\Z")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
_MEANING = {"mac": "MAC address", "vlan": "VLAN", "spoofchk": "check of source addresses", "trust": "trust"}

Settings = Dict[str, Union[str, int]]
"""Settings of a function, under the names that netlink has for them."""


class Adapter(NamedTuple):
    """A network adapter as the kernel has it: `most` functions can be made, `vfs` are there.

    `has_iommu`: what its functions do to memory can be confined, so that a guest may have one.
    """

    device: str
    is_up: bool
    most: int
    has_iommu: bool
    vfs: Tuple[VfFact, ...]


def check_device(device: str) -> None:
    """UserError unless it can be a network device's name."""
    if not _NAME.match(device):
        raise UserError(
            f"{device[:40]!r} is no name of a network device: at most 15 letters, digits, '.', '_' and '-'"
        )


def check_vf_spec(spec: VfSpec) -> None:
    """UserError unless such a function can exist at all."""
    check_device(spec.device)
    if not 0 <= spec.number < spec.count <= MAX_VFS:
        raise UserError(f"function {spec.number} of {spec.device} is not one of {spec.count}")
    if not _MAC.match(spec.mac) or spec.mac == NO_MAC or int(spec.mac[1], 16) & 1:
        raise UserError(f"{spec.mac[:40]!r} is no MAC address that a guest can have")
    if not 0 <= spec.vlan <= 4094:
        raise UserError(f"VLAN {spec.vlan} of function {spec.number} of {spec.device} is beyond 4094")


def check_adapter(device: str, adapter: Optional[Adapter]) -> Adapter:
    """The adapter, when its functions can be given to guests. StateError says what is missing."""
    problem = problem_of(device, adapter)
    if problem:
        raise StateError(problem)
    assert adapter is not None
    return adapter


def problem_of(device: str, adapter: Optional[Adapter]) -> str:
    """Why an adapter can give no function to a guest; empty when it can."""
    if adapter is None:
        return (
            f"this host has no network adapter {device} for the requested virtual functions; look at `ip link` there, "
            "and at what `rocks list host sriov` says it should have"
        )
    if adapter.most == 0:
        return (
            f"the adapter {device} of this host has no virtual functions: it, or its driver, knows no SR-IOV"
        )
    if not adapter.has_iommu:
        return (
            f"this host has no IOMMU in use, so no function of {device} can be given to a guest: switch VT-d or AMD-Vi "
            "on in its firmware, and boot its kernel with intel_iommu=on or amd_iommu=on"
        )
    if not adapter.is_up:
        return f"the network adapter {device} of this host is down: `ip link set {device} up`"
    return ""


def check_count(adapter: Adapter, count: int) -> None:
    """StateError unless the adapter can be changed to so many functions now."""
    if count > adapter.most:
        raise StateError(
            f"the adapter {adapter.device} of this host gives {adapter.most} virtual functions at most, not {count}: "
            "have the database say so, by rocks set host sriov"
        )
    used = [vf for vf in adapter.vfs if vf.use != "free"]
    if used:
        first = used[0]
        raise BusyError(
            f"the adapter {adapter.device} of this host has {len(adapter.vfs)} virtual functions, and {count} "
            f"are wanted: that can be changed only while none is in use, and number {first.number} is, by {first.user}"
        )


def vf_of(adapter: Adapter, number: int) -> VfFact:
    """The function of that number. BusyError when it has gone meanwhile."""
    found = next((vf for vf in adapter.vfs if vf.number == number), None)
    if found is None:
        raise BusyError(f"the adapter {adapter.device} of this host has no function {number} now; try again")
    return found


def check_unused(spec: VfSpec, adapter: Adapter) -> None:
    """BusyError when the function is in somebody's hands, or its MAC address in another function that is."""
    for vf in adapter.vfs:
        if vf.use == "free":
            continue
        if vf.number == spec.number:
            raise BusyError(
                f"function {spec.number} of {spec.device} on this host is in use, by {vf.user}: end that, or "
                "take the function from it, and try again"
            )
        if vf.mac == spec.mac:
            raise BusyError(
                f"the MAC address {spec.mac} is in function {vf.number} of {spec.device} on this host, "
                f"which is in use, by {vf.user}; end that first"
            )


def settings_of(spec: VfSpec) -> Settings:
    """What the function is to have."""
    return {
        "mac": spec.mac,
        "vlan": spec.vlan,
        "spoofchk": int(spec.checks_source),
        "trust": int(spec.is_trusted),
    }


def free_settings() -> Settings:
    """What a function has that is nobody's."""
    return {"mac": NO_MAC, "vlan": 0, "spoofchk": 1, "trust": 0}


def settings_that_differ(vf: VfFact, requested: Mapping[str, Union[str, int]]) -> Settings:
    """Those of the settings that the function has not; what its driver does not tell is as a new function's."""
    known = {
        "mac": vf.mac,
        "vlan": vf.vlan,
        "spoofchk": _number(vf.checks_source, 0),
        "trust": _number(vf.is_trusted, 0),
    }
    return {name: value for name, value in requested.items() if known[name] != value}


def setting_rejected(device: str, number: int, setting: str, reason: str) -> ToolError:
    """The error for a setting that the adapter does not take."""
    remedy = ""
    if setting == "spoofchk":
        remedy = "; without that check its guest could send in the name of others: option sriov-nospoofchk"
    return ToolError(
        f"the adapter {device} of this host did not set the {_MEANING[setting]} of its function {number}: "
        f"{reason}{remedy}"
    )


def _number(known: Optional[bool], otherwise: int) -> int:
    return otherwise if known is None else int(known)
