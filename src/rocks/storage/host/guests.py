"""What libvirt says of the guest of an image."""

from __future__ import annotations

import re
from typing import Callable, ContextManager, Literal, Optional

from rocks.machine.host.libvirt.driver import DomainDriver

GuestState = Literal["running", "saved", "off"]
"""`saved`: it is off, and its memory, which belongs to its disks, is in a managed save."""

_MACHINE = re.compile(r"(.+)-vol[0-9]*\Z")


def machine_of(zvol: str) -> Optional[str]:
    """The virtual machine of an image, by the volume's name."""
    match = _MACHINE.match(zvol)
    return None if match is None else match.group(1)


def guest_state(open_domains: Callable[[], ContextManager[DomainDriver]], machine: str) -> GuestState:
    """The state of a machine. HostError or ToolError when libvirt does not report it."""
    with open_domains() as domains:
        # libvirt reports state and managed save one after the other: a save may be made or used in between
        for _ in range(2):
            fact = domains.find(machine)
            if fact is None:
                return "off"
            if fact.state not in ("shutoff", "crashed"):
                return "running"
            if fact.has_managed_save:
                return "saved"
    return "off"
