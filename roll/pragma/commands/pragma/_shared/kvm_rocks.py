"""The driver of this site: a cluster is added, started, stopped and removed by our own commands.

What is allocated is one transaction: a killed or refused boot leaves nothing of it but images in the library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rocks.core.errors import BusyError, RocksError, StateError, UserError
from rocks.core.values import BYTES_PER_GB

from .contextualisation import KEYS, vc_out_texts
from .drivers import (
    DEFAULT_MEMORY_MB,
    OFF,
    Allocated,
    BootRequest,
    Machine,
    UnknownClusterError,
    check_memory,
    read_key,
)
from .free_hosts import START_LOCK, ask_hosts, free_hosts, plan_computes, virtual_frontends
from .interfaces import add_interfaces, read_interfaces
from .repository import Images, library_images, read_request
from .site import free_address, rows
from .vc_in import DescriptionError, VolumeDisk

if TYPE_CHECKING:
    from pathlib import Path

    from rocks.commands import Command

    from .site import Row, Settings
    from .vc_in import Node, VcIn

_ATTRIBUTE, _REQUEST = "vm_vc_out", "pragma_request"
_LOCK = "pragma request {}"
_ADDRESS_LOCK = "pragma address"
_LOCK_SECONDS, _LIST_SECONDS = 600.0, 20.0
"""How long a boot waits for another one, and a question for a boot of the same request."""

_HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_UNMAP_SECONDS = 1800
"""How long a shutdown waits until NASes have what its machines have written."""

_DISK_GB = 36


class _ImagesRemainError(BusyError):
    """Images are not written back in time."""

    exit_status = 8


class KvmRocks:
    """This site."""

    continuation = "rocks start cluster"

    def __init__(self, command: Command, settings: Settings) -> None:
        self._command, self._settings = command, settings

    def allocate(self, request: BootRequest) -> Allocated:
        """Add the cluster by our commands, in one transaction. UserError or StateError when it cannot be.

        A second boot of a request waits for the first one, and finds its cluster.
        """
        command, settings = self._command, self._settings
        if request.name:
            command.db.lock(_LOCK.format(request.name), _LOCK_SECONDS)
            if known := self._requested(request.name):
                return self._known(known[0], request)
        if request.key:
            read_key(request.key)
        added = read_interfaces(request.interfaces, settings.interfaces)
        described, file = read_request(settings, request)
        check_memory(request, described, file)
        # what does not fit is refused before its images are added, which takes long
        self._place(request, self._ask_hosts(request))
        images = library_images(command, settings, request.vc, described, file)
        asked = self._ask_hosts(request)  # no other boot waits for a host that hangs
        # no other boot chooses until the address has a host; a refused command ends, and its lock with it
        command.db.lock(_ADDRESS_LOCK, _LOCK_SECONDS)
        placed = self._place(request, asked)  # another boot may have taken CPUs meanwhile
        name, fqdn, address = _free_place(command, settings)
        command.db.lock(START_LOCK.format(name), _LOCK_SECONDS)
        _add_cluster(command, request, described, images, (name, address), list(placed))
        names = (name, *(f"vm-{name}-{number}" for number in range(len(placed))))
        cpus = _set_machines(command, names, request, described, file, placed)
        add_interfaces(command, names, added)
        _warn_without_keys(command, name)
        _set_vc_out(command, fqdn, names, cpus)
        if request.name:
            command.command("set.host.attr", [name, f"attr={_REQUEST}", f"value={request.name}"])
        command.db.commit()
        # those of the commands, too: the machines' start may take half an hour
        command.db.unlock_others([_LOCK.format(request.name), START_LOCK.format(name)])
        return Allocated(name, fqdn, address, names[1:], described)

    def _ask_hosts(self, request: BootRequest) -> dict[str, tuple[str, int]]:
        return ask_hosts(self._command) if request.cpus else {}

    def _place(self, request: BootRequest, asked: Mapping[str, tuple[str, int]]) -> dict[str, int]:
        """Host → CPUs of its compute. StateError when too few CPUs are free, or a named host runs no machines."""
        if not request.cpus and not request.hosts:
            return {}
        free = free_hosts(self._command, self._settings.reserved_cpus, request.hosts, asked)
        return dict(plan_computes(free, request.cpus))

    def requested(self, name: str) -> list[str]:
        """The frontend with the name of the request. BusyError while a boot of it may still add one.

        So nobody takes a cluster for removed that a boot adds, whose caller no longer waits for it.
        """
        if not (found := self._requested(name)):
            self._command.db.lock(_LOCK.format(name), _LIST_SECONDS)
            found = self._requested(name)
            self._command.db.unlock(_LOCK.format(name))
        return found

    def _requested(self, name: str) -> list[str]:
        frontends = virtual_frontends(rows(self._command, "list.cluster"))
        found = rows(self._command, "list.host.attr", frontends) if frontends else []
        return [str(row["owner"]) for row in found if (row["attr"], row["value"]) == (_REQUEST, name)]

    def _known(self, name: str, request: BootRequest) -> Allocated:
        """A cluster that was allocated before. StateError where its description cannot be read any more, and for
        machines on other hosts than those of the request: its caller may have others by now."""
        try:
            described, _ = read_request(self._settings, request)
        except (UserError, StateError) as error:
            raise StateError(
                f"{name}, the cluster of this request, is not started again: {error}; "
                f"or start it without its description: rocks start cluster {name}"
            ) from None
        self._command.db.lock(START_LOCK.format(name), _LOCK_SECONDS)
        machines = self.status([name])
        address = next((machine.address for machine in machines if machine.address), "")
        computes = tuple(machine.compute for machine in machines if machine.compute)
        rows_of = rows(self._command, "list.host.vm", [name, *computes])
        found = {str(row["host"]) for row in rows_of if row["cpus"]}  # others are further interfaces
        if request.hosts and (others := sorted(found - set(request.hosts))):
            raise StateError(
                f"{name}, the cluster of this request, is not started again: it has machines on {', '.join(others)}, "
                f"and hosts= has others; rocks pragma shutdown {name}, then rocks pragma clean {name}"
            )
        return Allocated(name, name, address, computes, described)

    def start(self, cluster: Allocated, with_computes: bool) -> None:
        """Start what is off; a failure is printed, and sets the command's exit status."""
        _noted(self._command, "start.cluster", [cluster.name, *["computes=no"] * (not with_computes)])
        # nobody is kept from stopping machines whose guest is waited for
        self._command.db.commit()
        self._command.db.unlock_others([START_LOCK.format(cluster.name)])

    def status(self, names: Sequence[str] = ()) -> list[Machine]:
        """The virtual machines; a physical frontend has those of no cluster."""
        try:
            found = rows(self._command, "list.cluster", [*names, "status=yes"])
        except UserError as error:
            if not all(_HOST_NAME.fullmatch(name) for name in names):
                raise  # a selector
            try:
                rows(self._command, "list.host", names)
            except UserError:
                raise UnknownClusterError(str(error)) from None
            raise  # a machine that is no frontend
        virtual = virtual_frontends(found)
        listed = rows(self._command, "list.host.interface", virtual) if virtual else []
        addresses = {str(row["owner"]): str(row["ip"]) for row in listed if row["subnet"] == "public"}
        return [
            Machine(
                str(row["owner"]),
                str(row["client nodes"] or ""),
                str(row["status"]),
                "" if row["client nodes"] else addresses.get(str(row["owner"]), ""),
            )
            for row in found
            if row["owner"] in virtual
        ]

    def shutdown(self, name: str) -> None:
        """The guests are asked to; what runs after 60 seconds is powered off. Waits until the images are unmapped.

        What fails is printed, and sets the command's exit status: 8 when only images are not written back.
        """
        command = self._command
        command.addText(_noted(command, "stop.cluster", [name, "action=shutdown"]))
        if command.exit_status or command.is_dry:
            return
        listed = rows(command, "list.cluster")
        others = set(virtual_frontends(listed)) - {name}
        elsewhere = {row["client nodes"] for row in listed if row["owner"] in others and row["client nodes"]}
        # what still runs is of another cluster that is on this VLAN, too: its images stay where they are
        machines = [
            one.compute or one.cluster
            for one in self.status([name])
            if one.compute not in elsewhere or one.state in OFF
        ]
        try:
            _noted(command, "stop.host.vm", [*machines, "terminate=yes", f"timeout={_UNMAP_SECONDS}"])
        except RocksError as error:  # that of all of them
            raise _ImagesRemainError(str(error)) from None
        if command.exit_status:
            command.exit_status = _ImagesRemainError.exit_status

    def check_own(self, name: str, verb: str) -> None:
        """StateError for a cluster that other commands have added; as `Driver.check_own`."""
        attributes = rows(self._command, "list.host.attr", [name])
        if not any(row["attr"] == _ATTRIBUTE for row in attributes):
            raise StateError(f"{name} was not booted by pragma; rocks {verb} cluster {name}")

    def clean(self, name: str) -> None:
        """Remove machines, disks, address and VLAN."""
        self._command.addText(self._command.command("remove.cluster", [name, "disks=remove"]))


def _noted(command: Command, name: str, arguments: Sequence[str]) -> str:
    """The output of a command of the site; its notes are printed: what runs without a filter, or was powered off."""
    known = len(command.notes)
    try:
        return command.command(name, arguments)
    finally:
        new = command.notes[known:]
        del command.notes[known:]  # notify adds to them in a dry run
        for line in new:
            command.notify(line)


def _free_place(command: Command, settings: Settings) -> tuple[str, str, str]:
    """(name of the next cluster, that of the name service, its public address). StateError when none is free."""
    used = [str(row["ip"]) for row in rows(command, "list.host.interface") if row["ip"]]
    address, fqdn = free_address(settings.addresses, used)
    if "." not in fqdn:
        zones = {row["owner"]: row["dnszone"] for row in rows(command, "list.network")}
        fqdn = f"{fqdn}.{zones.get('public') or 'local'}"
    name = fqdn.partition(".")[0]
    if any(str(row["owner"]).lower() == name.lower() for row in rows(command, "list.host")):
        raise StateError(
            f"{address} has the name {name}, and there is a host {name} already; rocks list cluster"
        )
    return name, fqdn, address


def _add_cluster(
    command: Command,
    request: BootRequest,
    described: VcIn,
    images: Images,
    place: tuple[str, str],
    hosts: Sequence[str],
) -> None:
    name, address = place
    sizes = {str(row["owner"]): int(str(row["size"] or 0)) for row in rows(command, "list.image")}
    compute = described.compute
    arguments = [
        f"ip={address}",
        f"num-computes={len(hosts)}",
        f"fe-name={name}",
        "cluster-naming=yes",
        f"image={images.frontend}",
        f"disk-per-frontend={_disk_gb(sizes.get(images.frontend, 0))}",
    ]
    if hosts and compute is not None:
        arguments += [
            f"compute-image={images.compute}",
            f"disk-per-compute={_disk_gb(sizes.get(images.compute, 0))}",
            f"mem-per-compute={request.compute_memory_mb or compute.memory_mb or DEFAULT_MEMORY_MB}",
            f"container-hosts={' '.join(hosts)}",
        ]
    if request.hosts:  # the last one has the most CPUs left
        arguments.append(f"fe-container={[*request.hosts, *hosts][-1]}")
    command.command("add.cluster", [*arguments, *[f"key={request.key}"] * bool(request.key)])


def _set_machines(
    command: Command,
    names: Sequence[str],
    request: BootRequest,
    described: VcIn,
    file: Path,
    placed: Mapping[str, int],
) -> list[int]:
    """Give the machines what `add cluster` cannot; the CPUs of the computes. `placed`: host → CPUs of its compute."""
    rows_of = {
        str(row["owner"]): row
        for row in rows(command, "list.host.vm", [*names, "showdisks=yes"])
        if row["cpus"]
    }
    # add cluster has an order of its own for the hosts
    cpus = [placed[str(rows_of[compute]["host"])] for compute in names[1:]]
    _set_sizes(command, names, request, described, cpus)
    try:
        _set_disks(command, names, described, rows_of)
    except UserError as error:
        raise DescriptionError(f"{file} has a disk that this site does not take: {error}") from None
    _set_places(command, names, described)
    return cpus


def _warn_without_keys(command: Command, name: str) -> None:
    """The command of `rocks add cluster` is for a cluster that is not started at once."""
    if not any(row["attr"] == KEYS for row in rows(command, "list.host.attr", [name])):
        command.notify(
            f"Warning: nobody can log in: neither key= nor the attribute {KEYS} has keys; "
            f"rocks pragma shutdown {name}, rocks pragma clean {name}, then boot with key=FILE.pub"
        )


def _set_vc_out(command: Command, fqdn: str, names: Sequence[str], cpus: Sequence[int]) -> None:
    texts = vc_out_texts(
        fqdn,
        names,
        cpus,
        rows(command, "list.host.interface", names),
        rows(command, "list.network"),
        rows(command, "list.host.attr", names),
    )
    for machine, text in texts.items():
        command.command("set.host.attr", [machine, f"attr={_ATTRIBUTE}", f"value={text}"])


def _set_sizes(
    command: Command, names: Sequence[str], request: BootRequest, described: VcIn, cpus: Sequence[int]
) -> None:
    memory_mb = request.frontend_memory_mb or described.frontend.memory_mb or DEFAULT_MEMORY_MB
    command.command("set.host.vm", [names[0], f"mem={memory_mb}"])
    for count in sorted(set(cpus) - {1}):
        same = [name for name, own in zip(names[1:], cpus, strict=True) if own == count]
        command.command("set.host.cpus", [*same, str(count)])


def _set_disks(command: Command, names: Sequence[str], described: VcIn, rows_of: Mapping[str, Row]) -> None:
    """The disks have device and bus of vc-in.xml; `add cluster` gives vda on virtio."""
    for name in names:
        node = described.frontend if name == names[0] else described.compute
        if node is not None and (node.device, node.bus) != ("vda", "virtio"):
            command.command("set.host.vm", [name, f"disk={_disk(str(rows_of[name]['disk']), node)}"])


def _set_places(command: Command, names: Sequence[str], described: VcIn) -> None:
    """The disks made from volumes are on the NASes of these, as their clones."""
    for name in names:
        node = described.frontend if name == names[0] else described.compute
        if node is not None and isinstance(node.disk, VolumeDisk):
            command.command("set.host.vm.nas", [name, f"nas={node.disk.nas}", f"zpool={node.disk.pool}"])


def _disk(specification: str, node: Node) -> str:
    """`file:PATH.vda,vda,virtio` as the disk of the node is in the guest."""
    return f"{specification.split(',')[0]},{node.device},{node.bus}"


def _disk_gb(size_bytes: int) -> int:
    return max(_DISK_GB, -(-size_bytes // BYTES_PER_GB))
