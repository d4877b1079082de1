"""Operations on virtual functions as a Protocol: `vfs.py` implements it by the kernel, `tests/fakes` in memory."""

from __future__ import annotations

import re
from typing import Dict, Mapping, NamedTuple, Optional, Protocol, Tuple, Union

from rocks.core.errors import BusyError, StateError, ToolError, UserError
from rocks.fleet.host.change import Change
from rocks.fleet.wire.facts import AdapterFact, VfFact
from rocks.fleet.wire.requests import VfSpec
from rocks.network.host.rules import check_device_name
from rocks.network.limits import MAX_VLAN_ID


class PlacedVf(NamedTuple):
    """A configured VF: its PCI address, as 0000:01:10.0, and whether it was changed."""

    address: str
    change: Change


class VfDriver(Protocol):
    """Virtual functions (VFs) of the host's network adapters."""

    def read(self, device: str) -> AdapterFact:
        """The adapter and its VFs; a missing adapter has a problem and no VFs. Read only."""

    def ensure_count(self, device: str, count: int) -> Change:
        """Create VFs up to this number.

        StateError when the adapter is missing, down, without SR-IOV, without IOMMU, or supports fewer; BusyError when
        a VF is in use, because the kernel changes their number by removing all of them first.
        """

    def ensure(self, spec: VfSpec) -> PlacedVf:
        """Configure the VF, and clear its MAC address from other free VFs.

        StateError as `ensure_count`; BusyError when the VF does not exist or is in use; ToolError when the adapter
        rejects a setting; UserError for an invalid number or address.
        """

    def ensure_free(self, spec: VfSpec) -> Change:
        """Reset the settings of the VF if it exists; the caller knows its owner. BusyError while it is in use.

        Its MAC address does not identify the owner: when the guest ends, libvirt 9.0 sets a MAC address of the host
        and the guest's VLAN.
        """


# Which VFs may be requested, and which VFs of an adapter can be assigned; pure.


MAX_VFS = 256
"""Upper bound of a request, more than any adapter supports."""

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")


class Adapter(NamedTuple):
    """A network adapter. `most`: how many VFs it supports.

    `has_iommu`: DMA of its VFs is confined, so that they may be assigned to guests.
    """

    device: str
    is_up: bool
    most: int
    has_iommu: bool
    vfs: Tuple[VfFact, ...]


def check_vf_spec(spec: VfSpec) -> None:
    """UserError unless the spec is valid."""
    check_device_name(spec.device)
    if not 0 <= spec.number < spec.count <= MAX_VFS:
        raise UserError(f"virtual function {spec.number} of {spec.device} is not below {spec.count}")
    if not _MAC.match(spec.mac) or spec.mac == NO_MAC or int(spec.mac[1], 16) & 1:
        raise UserError(f"{spec.mac[:40]!r} is not a unicast MAC address")
    if not 0 <= spec.vlan <= MAX_VLAN_ID:
        raise UserError(
            f"VLAN {spec.vlan} of function {spec.number} of {spec.device} is beyond {MAX_VLAN_ID}"
        )


def check_adapter(device: str, adapter: Optional[Adapter]) -> Adapter:
    """The adapter, if its VFs can be assigned. StateError with the problem otherwise."""
    problem = problem_of(device, adapter)
    if problem:
        raise StateError(problem)
    assert adapter is not None
    return adapter


def problem_of(device: str, adapter: Optional[Adapter]) -> str:
    """Why VFs of the adapter cannot be assigned; empty when they can."""
    if adapter is None:
        return (
            f"this host has no network adapter {device} for the requested virtual functions; compare `ip link` there "
            "with `rocks list host sriov`"
        )
    if adapter.most == 0:
        return (
            f"the adapter {device} of this host has no virtual functions: the adapter or driver lacks SR-IOV"
        )
    if not adapter.has_iommu:
        return (
            f"this host has no IOMMU in use, so no function of {device} can be assigned to a guest; switch VT-d or "
            "AMD-Vi on in its firmware, and boot its kernel with intel_iommu=on or amd_iommu=on"
        )
    if not adapter.is_up:
        return f"the network adapter {device} of this host is down: `ip link set {device} up`"
    return ""


def check_count(adapter: Adapter, count: int) -> None:
    """StateError or BusyError unless the number of VFs can be changed now."""
    if count > adapter.most:
        raise StateError(
            f"the adapter {adapter.device} of this host has at most {adapter.most} virtual functions, not {count}; "
            "correct the number with rocks set host sriov"
        )
    used = [vf for vf in adapter.vfs if vf.use != "free"]
    if used:
        first = used[0]
        raise BusyError(
            f"the adapter {adapter.device} of this host has {len(adapter.vfs)} virtual functions, and {count} "
            f"are requested; the number can be changed only while none is in use, but {first.number} is, "
            f"by {first.user}"
        )


def vf_of(adapter: Adapter, number: int) -> VfFact:
    """The VF of that number. BusyError when it was removed meanwhile."""
    found = next((vf for vf in adapter.vfs if vf.number == number), None)
    if found is None:
        raise BusyError(
            f"the adapter {adapter.device} of this host has no virtual function {number} now; try again"
        )
    return found


def check_unused(spec: VfSpec, adapter: Adapter) -> None:
    """BusyError when the VF is in use, or a VF in use has its MAC address."""
    for vf in adapter.vfs:
        if vf.use == "free":
            continue
        if vf.number == spec.number:
            raise BusyError(
                f"virtual function {spec.number} of {spec.device} on this host is in use, by {vf.user}; release it and "
                "try again"
            )
        if vf.mac == spec.mac:
            raise BusyError(
                f"virtual function {vf.number} of {spec.device} on this host has the MAC address {spec.mac} and is in "
                f"use, by {vf.user}; release it first"
            )


# The settings of a VF that a guest gets, and of one that is released; pure.


NO_MAC = "00:00:00:00:00:00"
"""The address of a released VF; its driver then generates one."""

_MEANING = {"mac": "MAC address", "vlan": "VLAN", "spoofchk": "check of source addresses", "trust": "trust"}

Settings = Dict[str, Union[str, int]]
"""Settings of a VF by their names in pyroute2."""


def settings_of(spec: VfSpec) -> Settings:
    """The settings that the spec requests."""
    return {
        "mac": spec.mac,
        "vlan": spec.vlan,
        "spoofchk": int(spec.checks_source),
        "trust": int(spec.is_trusted),
    }


def free_settings() -> Settings:
    """The settings of a released VF."""
    return {"mac": NO_MAC, "vlan": 0, "spoofchk": 1, "trust": 0}


def settings_that_differ(vf: VfFact, requested: Mapping[str, Union[str, int]]) -> Settings:
    """Requested settings that differ; a setting that the driver does not report counts as 0."""
    known = {
        "mac": vf.mac,
        "vlan": vf.vlan,
        "spoofchk": _number(vf.checks_source, 0),
        "trust": _number(vf.is_trusted, 0),
    }
    return {name: value for name, value in requested.items() if known[name] != value}


def setting_rejected(device: str, number: int, setting: str, reason: str) -> ToolError:
    """The error for a setting that the adapter rejects."""
    remedy = ""
    if setting == "spoofchk":
        remedy = "; without this check the guest could forge source addresses: option sriov-nospoofchk"
    return ToolError(
        f"the adapter {device} of this host did not set the {_MEANING[setting]} of its virtual function {number}: "
        f"{reason}{remedy}"
    )


def _number(known: Optional[bool], otherwise: int) -> int:
    return otherwise if known is None else int(known)
