"""What libvirt says of the guest of an image."""

from __future__ import annotations

import re
from typing import Callable, ContextManager, Literal, Optional, Protocol

from rocks.fleet.wire.facts import DomainFact

GuestState = Literal["running", "saved", "off"]
"""`saved`: it is off, and its memory, which belongs to its disks, is in a managed save."""

_MACHINE = re.compile(r"(.+)-vol[0-9]*\Z")


class Guests(Protocol):
    """The guests of this host, as libvirt has them: of `machine.host.libvirt.driver`, what image storage needs."""

    def find(self, name: str) -> Optional[DomainFact]:
        """The fact of one domain, None when there is none of that name."""

    def suspend(self, name: str) -> None:
        """Pause a running guest."""

    def resume(self, name: str) -> None:
        """Resume a paused guest, also one that suspended itself."""

    def is_stopped_by_disk(self, name: str) -> bool:
        """Whether QEMU has paused the guest because its disk failed an access, which `resume` repeats."""


OpenGuests = Callable[[], ContextManager[Guests]]


def machine_of(zvol: str) -> Optional[str]:
    """The virtual machine of an image, by the volume's name."""
    match = _MACHINE.match(zvol)
    return None if match is None else match.group(1)


def guest_state(open_domains: OpenGuests, machine: str) -> GuestState:
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
