"""Domains through libvirt, which only modules of this folder import."""

from __future__ import annotations

import contextlib
import os
from contextlib import contextmanager
from typing import Any, Callable, Container, Dict, Iterator, Mapping, NamedTuple, Optional, Set, Tuple

import libvirt  # noqa: TID251 - of this folder

from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import HostError, RocksError, StateError, ToolError
from rocks.fleet.wire.facts import ConsoleFact, DomainFact, DomainState
from rocks.machine.host.libvirt.device_xml import backup_xml, host_cpu_of
from rocks.machine.host.libvirt.domain_xml import LEASE_NAMESPACE, DomainDocument, parse_domain
from rocks.machine.host.libvirt.driver import LiveWay, NothingFrozenError, Versions

# Errors of libvirt as ours; nothing is printed by libvirt itself.

# libvirt would print every error on standard error besides raising it
libvirt.registerErrorHandler(lambda context, error: None, None)


@contextmanager
def libvirt_errors(what: str, but: Tuple[int, ...] = ()) -> Iterator[None]:
    """Turn libvirtError into ToolError; an error with a code in `but` ends the block without an error."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() not in but:
            raise ToolError(f"libvirt on this host did not {what}: {message_of(error)}") from None


def message_of(error: libvirt.libvirtError) -> str:
    """libvirt's text of an error, in one line."""
    return (error.get_error_message() or str(error)).strip().replace("\n", " ")


# What libvirt knows of a domain, as a `DomainFact`.

_STATES: Dict[int, DomainState] = {
    libvirt.VIR_DOMAIN_NOSTATE: "blocked",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "blocked",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_SHUTOFF: "shutoff",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "paused",
}
GONE = (libvirt.VIR_ERR_NO_DOMAIN,)
_STARTING = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)
_STARTING_SECONDS = 15.0
_POLL_SECONDS = 0.05


class Flags(NamedTuple):
    """The names of the domains that have each."""

    autostart: Container[str]
    persistent: Container[str]
    saved: Container[str]


def _state_now(domain: Any) -> int:
    """libvirt's number of the state; paused during a start in progress."""
    return int(domain.state()[0])


def fact_of(domain: Any, flags: Flags, read_state: Callable[[Any], int]) -> Optional[DomainFact]:
    """`read_state` reads libvirt's number of the state. None for a domain that was undefined meanwhile."""
    name = domain.name()
    with libvirt_errors(f"report the state of {name}", but=GONE):
        state = _STATES[read_state(domain)]
        document = parse_domain(domain.XMLDesc())
        return DomainFact(
            name=name,
            uuid=document.uuid,
            state=state,
            token=document.token,
            memory_mb=document.memory_mb,
            cpus=document.cpus,
            autostart=name in flags.autostart,
            persistent=name in flags.persistent,
            has_managed_save=name in flags.saved,
            disks=document.disks,
            listeners=document.listeners,
            machine_type=document.machine_type,
        )
    return None


def _settled_state(domain: Any) -> int:
    """libvirt's number of the state; waits for the end of a start in progress.

    During a start libvirt 9.0 reports the state paused, although the domain must not be resumed.
    """
    deadline = Deadline(_STARTING_SECONDS)
    state, reason = domain.state()
    while (state, reason) == _STARTING and not deadline.passed():
        wait_seconds(_POLL_SECONDS)
        state, reason = domain.state()
    return int(state)


# The guest agent of a domain freezes and thaws file systems.

AGENT_SECONDS = 20
"""How long a guest agent may take to freeze or thaw its file systems: it writes all their data first."""

_AGENT_ANSWERED = "unable to execute QEMU agent command"
"""In libvirt's internal errors that pass on an error which the guest agent has answered: no code of their own."""


def freeze(domain: Any) -> Optional[str]:
    """As `DomainDriver.freeze`."""
    try:
        # without it libvirt 9.0 waits for the answer of a hung agent without end
        domain.agentSetResponseTimeout(AGENT_SECONDS)
        count = domain.fsFreeze()
    except libvirt.libvirtError as error:
        if _is_refusal(error):
            kind = NothingFrozenError if _froze_nothing(error) else StateError
            raise kind(message_of(error)) from None
        return message_of(error)
    return None if count else "the guest agent has found no file system that can be frozen"


def thaw(domain: Any) -> Optional[int]:
    """As `DomainDriver.thaw`."""
    try:
        domain.agentSetResponseTimeout(AGENT_SECONDS)
        return int(domain.fsThaw())
    except libvirt.libvirtError:
        return None


def _is_refusal(error: libvirt.libvirtError) -> bool:
    """Whether the guest agent was not asked (the guest is paused), or has answered with an error."""
    code = error.get_error_code()
    return code == libvirt.VIR_ERR_OPERATION_INVALID or (
        code == libvirt.VIR_ERR_INTERNAL_ERROR and _AGENT_ANSWERED in message_of(error)
    )


def _froze_nothing(error: libvirt.libvirtError) -> bool:
    """Whether the guest agent was not asked, or has answered that it does not have the command (qemu-ga's texts).

    One whose file systems are frozen already calls the command disabled, too.
    """
    lacks_command = ("has been disabled", "has not been found", "not currently supported")
    if "frozen state" in message_of(error):
        return False
    return error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID or any(
        text in message_of(error) for text in lacks_command
    )


# The live migration of a domain: its flags and parameters for libvirt.

LIVE_DOWNTIME_MILLISECONDS = 100
"""How long a machine may stand still at the end of a live migration.

It is paused while QEMU sends the rest of its memory, by QEMU's default for at most 300 ms. In addition, the last
messages of both libvirts pass through the frontend several times.
"""


def migrate(domain: Any, name: str, way: LiveWay) -> None:
    """As `DomainDriver.move_live`; `domain` is that of the name."""
    target = None
    try:
        with libvirt_errors(f"reach libvirt of the new host of {name}"):
            target = libvirt.open(f"qemu+unix:///system?socket={way.libvirt_socket}")
        flags = (
            libvirt.VIR_MIGRATE_PERSIST_DEST
            | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
            | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
        )
        if not way.pauses_first:
            flags |= libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_AUTO_CONVERGE
        if way.stays_paused:
            flags |= libvirt.VIR_MIGRATE_PAUSED
        parameters: Dict[str, Any] = {
            libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{way.memory_socket}",
            libvirt.VIR_MIGRATE_PARAM_DEST_XML: way.xml,
            libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: way.xml,
        }
        if way.disks:
            flags |= libvirt.VIR_MIGRATE_NON_SHARED_DISK
            parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = list(way.disks)
            parameters[libvirt.VIR_MIGRATE_PARAM_DISKS_URI] = f"unix://{way.disks_socket}"
        with libvirt_errors(f"move {name}"):
            domain.migrateSetMaxDowntime(LIVE_DOWNTIME_MILLISECONDS)
            domain.migrate3(target, parameters, flags)
    finally:
        if target is not None:
            with contextlib.suppress(libvirt.libvirtError):
                target.close()


# `start.py`, `stop.py` and what other folders do with a domain are built on these methods; `tests/fakes` implements the
# same Protocol in memory.

DEFAULT_URI = "qemu:///system"
_ERASE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
_NO_DEVICE = (libvirt.VIR_ERR_DEVICE_MISSING,)
_NOT_RUNNING = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)

_DISK_FAILED = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR)
_SCHEMA_UNREADABLE = "Unable to parse RNG"
_SCHEMA_SECONDS = 10.0
"""libxml2 makes its table of XML Schema's types at the first validation of libvirtd, without a lock: a thread that
validates meanwhile finds types missing, and libvirt says that its schema cannot be parsed. A moment later it can."""

_TARGETS = "devices/disk/target"
_BACKUP_JOB: int = libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP
_ABORT_SECONDS = 60.0
_PICTURE_PIECE_BYTES = 65536


class Domains:
    """libvirt on this machine. What is not documented here is in `DomainDriver`."""

    def __init__(self, uri: Optional[str] = None) -> None:
        """Connect; `uri` None takes `ROCKS_LIBVIRT_URI` of the environment, else the system's own libvirt.

        HostError when libvirt does not answer.
        """
        where = uri or os.environ.get("ROCKS_LIBVIRT_URI", DEFAULT_URI)
        try:
            self._connection = libvirt.open(where)
        except libvirt.libvirtError as error:
            raise HostError(
                f"libvirt on this host does not answer at {where}: {message_of(error)}; is libvirtd running?"
            ) from None

    def facts(self) -> Tuple[DomainFact, ...]:
        """All domains by name, by two libvirt calls for each domain and four for all."""
        return self._facts(_settled_state)

    def facts_for_start(self, name: str) -> Tuple[DomainFact, ...]:
        return self._facts(
            lambda domain: _settled_state(domain) if domain.name() == name else _state_now(domain)
        )

    def _facts(self, read_state: Callable[[Any], int]) -> Tuple[DomainFact, ...]:
        with libvirt_errors("list its domains"):
            domains = self._connection.listAllDomains()
            flags = Flags(
                self._names(libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART),
                self._names(libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT),
                self._names(libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE),
            )
        facts = (fact_of(domain, flags, read_state) for domain in domains)
        return tuple(sorted((fact for fact in facts if fact is not None), key=lambda fact: fact.name))

    def versions(self) -> Versions:
        numbers = []
        for ask in (self._connection.getVersion, self._connection.getLibVersion, libvirt.getVersion):
            try:
                numbers.append(ask())
            except libvirt.libvirtError:  # there is no QEMU, or it does not run
                numbers.append(0)
        return Versions(*map(_version_text, numbers))

    def find(self, name: str) -> Optional[DomainFact]:
        """The fact of one domain, None when there is none of that name."""
        domain = self._lookup(name)
        if domain is None:
            return None
        with libvirt_errors(f"report the state of {name}", but=GONE):
            is_persistent = bool(domain.isPersistent())
            return fact_of(
                domain,
                Flags(
                    (name,) if is_persistent and domain.autostart() else (),
                    (name,) if is_persistent else (),
                    (name,) if domain.hasManagedSaveImage() else (),
                ),
                _settled_state,
            )
        return None

    def console(self, name: str) -> ConsoleFact:
        with libvirt_errors(f"report the console of {name}"):
            return parse_domain(self._existing(name).XMLDesc()).console

    def screenshot(self, name: str, max_bytes: int) -> bytes:
        picture = bytearray()
        with libvirt_errors(f"take a picture of the screen of {name}"):
            stream = self._connection.newStream(0)
            self._existing(name).screenshot(stream, 0)
            while len(picture) <= max_bytes:
                data = stream.recv(_PICTURE_PIECE_BYTES)
                if not data:
                    stream.finish()
                    return bytes(picture)
                picture += data
            stream.abort()
        return bytes(picture)

    def define(self, xml: str) -> None:
        with libvirt_errors("define the domain"):
            deadline = Deadline(_SCHEMA_SECONDS)
            while True:
                try:
                    self._connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
                    return
                except libvirt.libvirtError as error:
                    if _SCHEMA_UNREADABLE not in message_of(error) or deadline.passed():
                        raise
                wait_seconds(_POLL_SECONDS)

    def set_autostart(self, name: str, autostart: bool) -> None:
        with libvirt_errors(f"set the autostart of {name}"):
            self._existing(name).setAutostart(autostart)

    def document(self, name: str) -> DomainDocument:
        with libvirt_errors(f"report the XML of {name}"):
            return parse_domain(self._existing(name).XMLDesc())

    def start_paused(self, name: str) -> None:
        with libvirt_errors(f"start {name}"):
            self._existing(name).createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)

    def destroy(self, name: str) -> None:
        domain = self._lookup(name)
        with libvirt_errors(f"stop {name}", but=_NOT_RUNNING):
            if domain is not None:
                domain.destroy()

    def undefine(self, name: str) -> None:
        self._undefine(name, libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)

    def erase(self, name: str) -> None:
        self._undefine(name, _ERASE)

    def save(self, name: str) -> None:
        with libvirt_errors(f"save {name}"):
            self._existing(name).managedSave()

    def check_managed_save(self, name: str) -> None:
        with libvirt_errors(f"read the managed save of {name}"):
            self._existing(name).managedSaveGetXMLDesc()

    def drop_managed_save(self, name: str) -> None:
        with libvirt_errors(f"discard the managed save of {name}"):
            self._existing(name).managedSaveRemove()

    def suspend(self, name: str) -> None:
        with libvirt_errors(f"pause {name}"):
            self._existing(name).suspend()

    def resume(self, name: str) -> None:
        with libvirt_errors(f"resume {name}"):
            domain = self._existing(name)
            if domain.state()[0] == libvirt.VIR_DOMAIN_PMSUSPENDED:
                domain.pMWakeup()
            else:
                domain.resume()

    def is_stopped_by_disk(self, name: str) -> bool:
        domain = self._lookup(name)
        with libvirt_errors(f"report the state of {name}", but=GONE):
            return domain is not None and tuple(domain.state()) == _DISK_FAILED
        return False

    def press_power_button(self, name: str) -> None:
        with libvirt_errors(f"shut {name} down"):
            self._existing(name).shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)

    def reset(self, name: str) -> None:
        with libvirt_errors(f"reset {name}"):
            self._existing(name).reset()

    def reboot(self, name: str) -> None:
        with libvirt_errors(f"reboot {name}"):
            self._existing(name).reboot(libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN)

    def attach(self, name: str, device: str) -> None:
        with libvirt_errors(f"attach a device to {name}"):
            domain = self._existing(name)
            domain.attachDeviceFlags(device, _affected(domain))

    def detach(self, name: str, device: str) -> None:
        with libvirt_errors(f"detach a device from {name}", but=_NO_DEVICE):
            self._existing(name).detachDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def forget_device(self, name: str, device: str) -> None:
        with libvirt_errors(f"remove a device from the definition of {name}", but=_NO_DEVICE):
            domain = self._existing(name)
            if domain.isPersistent():
                domain.detachDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_CONFIG)

    def update(self, name: str, device: str) -> None:
        domain = self._existing(name)
        with libvirt_errors(f"change a device in the definition of {name}", but=_NO_DEVICE):
            if domain.isPersistent():
                domain.updateDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        with libvirt_errors(f"change a device of {name}"):
            domain.updateDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def set_cpus(self, name: str, cpus: int) -> None:
        with libvirt_errors(f"set the number of CPUs of {name}"):
            domain = self._existing(name)
            domain.setVcpusFlags(cpus, _affected(domain))

    def set_lease(self, name: str, lease: str) -> None:
        with libvirt_errors(f"set the lease of {name}"):
            domain = self._existing(name)
            kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
            domain.setMetadata(kind, lease, "rocks", LEASE_NAMESPACE, _affected(domain))

    def disk_bytes(self, name: str, path: str) -> int:
        with libvirt_errors(f"report the disk {path} of {name}"):
            return int(self._existing(name).blockInfo(path)[0])

    def resize_disk(self, name: str, path: str, size_bytes: int) -> None:
        with libvirt_errors(f"resize the disk {path} of {name}"):
            self._existing(name).blockResize(path, size_bytes, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def has_agent(self, name: str) -> bool:
        return self.document(name).has_agent

    def freeze(self, name: str) -> Optional[str]:
        return freeze(self._existing(name))

    def thaw(self, name: str) -> Optional[int]:
        try:
            domain = self._existing(name)
        except RocksError:
            return None
        return thaw(domain)

    def begin_backup(self, name: str, files: Mapping[str, Tuple[str, str]]) -> None:
        with libvirt_errors(f"copy the disks of {name}"):
            domain = self._existing(name)
            present = [
                target.get("dev", "") for target in parse_domain(domain.XMLDesc()).root.iterfind(_TARGETS)
            ]
            domain.backupBegin(backup_xml(files, [disk for disk in present if disk not in files]), None)

    def backup_runs(self, name: str) -> bool:
        with libvirt_errors(f"report the copies of the disks of {name}"):
            statistics = self._existing(name).jobStats()
            return bool(statistics.get("type") and statistics.get("operation") == _BACKUP_JOB)
        return False

    def backup_succeeded(self, name: str) -> bool:
        with libvirt_errors(f"report the copies of the disks of {name}"):
            statistics = self._existing(name).jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
            return bool(statistics.get("type") == libvirt.VIR_DOMAIN_JOB_COMPLETED)
        return False

    def end_backup(self, name: str) -> None:
        deadline = Deadline(_ABORT_SECONDS)
        while self.backup_runs(name) and not deadline.passed():
            with contextlib.suppress(libvirt.libvirtError):
                self._existing(name).abortJob()
            wait_seconds(_POLL_SECONDS)

    def moving_document(self, name: str) -> DomainDocument:
        flags = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
        with libvirt_errors(f"report the XML of {name}"):
            return parse_domain(self._existing(name).XMLDesc(flags))

    def host_cpu(self) -> str:
        with libvirt_errors("report the CPU of this host"):
            return host_cpu_of(self._connection.getCapabilities())

    def cpu_fits(self, document: DomainDocument, cpu: str) -> bool:
        kind = document.root.find("os/type")
        arch, machine = (None, None) if kind is None else (kind.get("arch"), kind.get("machine"))
        with libvirt_errors("compare its CPU with that of a machine"):
            found = self._connection.compareHypervisorCPU(
                document.emulator, arch, machine, document.root.get("type"), cpu
            )
        return bool(found in (libvirt.VIR_CPU_COMPARE_IDENTICAL, libvirt.VIR_CPU_COMPARE_SUPERSET))

    def move_live(self, name: str, way: LiveWay) -> None:
        migrate(self._existing(name), name, way)

    def moved_bytes(self, name: str) -> Tuple[int, int]:
        domain = self._lookup(name)
        with libvirt_errors(f"report how {name} moves", but=_NOT_RUNNING):
            if domain is not None:
                statistics = domain.jobStats(0)
                return int(statistics.get("data_processed", 0)), int(statistics.get("data_remaining", 0))
        return 0, 0

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _undefine(self, name: str, flags: int) -> None:
        domain = self._lookup(name)
        with libvirt_errors(f"undefine {name}", but=GONE):
            if domain is not None and domain.isPersistent():
                domain.undefineFlags(flags)

    def _names(self, flag: int) -> Set[str]:
        return {domain.name() for domain in self._connection.listAllDomains(flag)}

    def _lookup(self, name: str) -> Any:
        with libvirt_errors(f"look for {name}", but=GONE):
            return self._connection.lookupByName(name)
        return None

    def _existing(self, name: str) -> Any:
        domain = self._lookup(name)
        if domain is None:
            raise StateError(f"there is no domain {name} on this host")
        return domain


def _affected(domain: Any) -> int:
    """The running domain, and its definition where it has one."""
    flags: int = libvirt.VIR_DOMAIN_AFFECT_LIVE
    return flags | libvirt.VIR_DOMAIN_AFFECT_CONFIG if domain.isPersistent() else flags


def _version_text(number: int) -> str:
    """libvirt's number of a version, a million for the first part and a thousand for the second; 0: not known."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}" if number else ""
