"""Operations on domains as a Protocol: `domains.py` implements it by libvirt, `tests/fakes` in memory."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Optional, Protocol, Tuple

from rocks.core.errors import StateError
from rocks.fleet.wire.facts import ConsoleFact, DomainFact, is_active_domain
from rocks.machine.host.libvirt.domain_xml import DomainDocument


class LiveWay(NamedTuple):
    """How a running domain moves: its XML on the new host, the sockets that lead there, and its disks to be copied.

    With `pauses_first` it is paused while all of its memory is sent; with `stays_paused` it is paused on the new host.
    """

    xml: str
    libvirt_socket: str
    memory_socket: str
    disks_socket: str
    disks: Tuple[str, ...]
    pauses_first: bool
    stays_paused: bool = False


class Versions(NamedTuple):
    """Versions as in `HostFacts`."""

    qemu: str
    libvirt: str
    libvirt_installed: str


class NothingFrozenError(StateError):
    """No file system of a guest was frozen: its agent was not asked, or does not have the command."""


class DomainDriver(Protocol):
    """Thread-safe.

    Every method raises ToolError when libvirt fails, and StateError when it needs a domain that does not exist.
    """

    def facts(self) -> Tuple[DomainFact, ...]:
        """All domains by name. Waits for the end of starts in progress, during which a domain seems paused."""

    def facts_for_start(self, name: str) -> Tuple[DomainFact, ...]:
        """As `facts`, for the start of the machine `name`: it does not wait for the starts of others."""

    def versions(self) -> Versions:
        """The versions of QEMU and libvirt."""

    def find(self, name: str) -> Optional[DomainFact]:
        """The fact of one domain, None when there is none of that name."""

    def console(self, name: str) -> ConsoleFact:
        """Where the consoles of a running domain are."""

    def screenshot(self, name: str, max_bytes: int) -> bytes:
        """A picture of the screen of a running domain, in the format that its QEMU makes: PNG since 7.1.

        No more is read than some bytes beyond `max_bytes`. ToolError for a domain without a screen.
        """

    def define(self, xml: str) -> None:
        """Define a domain; a definition of the same name and UUID is replaced."""

    def set_autostart(self, name: str, autostart: bool) -> None:
        """Set whether the domain starts when the host boots."""

    def document(self, name: str) -> DomainDocument:
        """The live XML of a running domain, with the names of its host devices; else the stored XML."""

    def start_paused(self, name: str) -> None:
        """Start a defined domain, paused; from its managed save if it has one."""

    def destroy(self, name: str) -> None:
        """Power the domain off; no error when it is not running or does not exist."""

    def undefine(self, name: str) -> None:
        """Undefine a stopped domain, keeping its NVRAM; no error when it does not exist."""

    def erase(self, name: str) -> None:
        """Undefine a stopped domain with its NVRAM, managed save and snapshot metadata."""

    def save(self, name: str) -> None:
        """Save memory and devices of an active domain, which is off afterwards; it runs on where that fails."""

    def check_managed_save(self, name: str) -> None:
        """ToolError for a managed save that is incomplete: a start would ignore it, and boot the guest."""

    def drop_managed_save(self, name: str) -> None:
        """Remove the managed save of a stopped domain."""

    def suspend(self, name: str) -> None:
        """Pause a running guest."""

    def resume(self, name: str) -> None:
        """Resume a paused guest, also one that suspended itself."""

    def is_stopped_by_disk(self, name: str) -> bool:
        """Whether QEMU has paused the guest because its disk failed an access, which `resume` repeats."""

    def press_power_button(self, name: str) -> None:
        """Send the ACPI power button event."""

    def reset(self, name: str) -> None:
        """Reset the machine without shutdown."""

    def reboot(self, name: str) -> None:
        """Reboot the guest by ACPI."""

    def attach(self, name: str, device: str) -> None:
        """Attach a device, as XML, to a running domain and to its definition."""

    def detach(self, name: str, device: str) -> None:
        """Request that the guest releases a device, as XML; it is in `document` until the guest has done so."""

    def forget_device(self, name: str, device: str) -> None:
        """Remove a device, as XML, from the definition of a running domain; no error when it is not there."""

    def update(self, name: str, device: str) -> None:
        """Change the settings of a device, as XML, of a running domain, and of its definition if it is there."""

    def set_cpus(self, name: str, cpus: int) -> None:
        """Set the number of CPUs of a running domain, up to its maximum."""

    def set_lease(self, name: str, lease: str) -> None:
        """Replace the lease in the metadata of a running domain and of its definition; XML without a namespace."""

    def disk_bytes(self, name: str, path: str) -> int:
        """The size of a disk of a running domain, as its guest sees it."""

    def resize_disk(self, name: str, path: str, size_bytes: int) -> None:
        """Grow the image of a running domain, or report to its guest that the device has grown."""

    def has_agent(self, name: str) -> bool:
        """Whether the guest agent of a running domain is connected to its channel; a hung one is, too."""

    def freeze(self, name: str) -> Optional[str]:
        """Have the guest agent freeze the file systems of a guest; None when it has frozen any, else why not.

        After `AGENT_SECONDS` without an answer it may freeze them later. NothingFrozenError when it was not asked, or
        does not have the command; StateError when it has answered with another error: some may be frozen.
        """

    def thaw(self, name: str) -> Optional[int]:
        """Thaw the file systems of a guest: how many were frozen; None when that is not known to be done."""

    def begin_backup(self, name: str, files: Mapping[str, Tuple[str, str]]) -> None:
        """Begin to copy disks of a running domain, as they are now: disk → (new file, its format)."""

    def backup_runs(self, name: str) -> bool:
        """Whether the disks of a domain are being copied."""

    def backup_succeeded(self, name: str) -> bool:
        """Whether the last copies of a running domain's disks are complete."""

    def end_backup(self, name: str) -> None:
        """End a backup that runs; no error when none does."""

    def close(self) -> None:
        """Close the connection."""

    def moving_document(self, name: str) -> DomainDocument:
        """The XML of a running domain for another host: without what libvirt has chosen for this one."""

    def host_cpu(self) -> str:
        """The CPU of this host, as an XML element of libvirt; empty when it does not describe one."""

    def cpu_fits(self, document: DomainDocument, cpu: str) -> bool:
        """Whether QEMU of this host can give the domain the CPU of this XML element."""

    def move_live(self, name: str, way: LiveWay) -> None:
        """Move a running domain; afterwards it runs there, and is not defined here any more.

        ToolError when libvirt did not move it: it runs on here, unless the other host was about to resume it.
        """

    def moved_bytes(self, name: str) -> Tuple[int, int]:
        """Bytes that were sent and that remain, of a domain that moves; zeros of another one."""


def is_active(domains: DomainDriver, name: str) -> bool:
    """Whether the domain has a QEMU process."""
    return is_active_domain(domains.find(name))


def other_spelling(domains: DomainDriver, name: str) -> Optional[str]:
    """The domain of this system whose name differs in case only, where there is none of that name; else None.

    The cluster database compares names without case, libvirt does not: a machine may have been renamed while its host
    was silent, or a restored database may have an earlier spelling.
    """
    if domains.find(name) is not None:
        return None
    same = [fact for fact in domains.facts() if fact.token is not None and fact.name.lower() == name.lower()]
    return same[0].name if same else None
