"""The settings of a VF that a guest gets, and of one that is released; pure."""

from __future__ import annotations

from typing import Dict, Mapping, Optional, Union

from rocks.core.errors import ToolError
from rocks.fleet.wire.facts import VfFact
from rocks.fleet.wire.requests import VfSpec

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
