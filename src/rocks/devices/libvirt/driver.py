"""The single steps that change a domain, as a shape: libvirt behind `domains.py`, memory behind `fake/domains.py`."""

from __future__ import annotations

from typing import Optional, Protocol, Tuple

from rocks.devices.libvirt.domain_xml import DomainDocument
from rocks.wire.facts import ConsoleFact, DomainFact


class DomainDriver(Protocol):
    """What both can do. One object may serve several threads.

    Every method raises ToolError when it is refused, and StateError for a domain that does not exist where it
    needs one.
    """

    def facts(self) -> Tuple[DomainFact, ...]:
        """All domains by name."""

    def find(self, name: str) -> Optional[DomainFact]:
        """The fact of one domain, None when there is none of that name."""

    def console(self, name: str) -> ConsoleFact:
        """Where the consoles of a running domain are."""

    def define(self, xml: str) -> None:
        """Make a domain known, stopped; one of the same name and UUID is replaced."""

    def set_autostart(self, name: str, autostart: bool) -> None:
        """Whether the domain is started when the host boots."""

    def document(self, name: str) -> DomainDocument:
        """The domain's document; of one that runs, with the names of its devices on this host."""

    def start_paused(self, name: str) -> None:
        """Start a defined domain, from its managed save when it has one; its guest does not run yet."""

    def destroy(self, name: str) -> None:
        """Take the power away; nothing is done to a domain that does not run or exist."""

    def undefine(self, name: str) -> None:
        """Forget a stopped domain, but not its firmware variables; nothing is done to one that does not exist."""

    def erase(self, name: str) -> None:
        """Forget a stopped domain with its firmware variables, managed save and notes of snapshots."""

    def drop_managed_save(self, name: str) -> None:
        """Throw the saved memory of a stopped domain away."""

    def suspend(self, name: str) -> None:
        """Halt a running guest."""

    def resume(self, name: str) -> None:
        """Let a paused guest go on, also one that put itself to sleep."""

    def press_power_button(self, name: str) -> None:
        """Ask the guest by ACPI to shut itself down."""

    def reset(self, name: str) -> None:
        """As the reset button of a machine."""

    def reboot(self, name: str) -> None:
        """Ask the guest by ACPI to shut itself down, and start it again when it has."""

    def close(self) -> None:
        """End the connection."""
