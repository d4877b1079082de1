"""Boots a cluster of the repository: chooses hosts and address, adds the cluster by our commands, starts it.

Everything until the line "Allocated cluster" is one transaction: a killed or refused boot leaves nothing of it but
images in the library. From then on the cluster is whole, and `rocks start cluster` or `rocks pragma clean` go on.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.clock import monotonic_seconds, wait_seconds
from rocks.core.errors import HostError, StateError, UserError
from rocks.core.units import BYTES_PER_GB

from .contextualisation import vc_out_texts
from .placement import FreeHost, plan_computes
from .repository import Images, cluster_images, read_cluster
from .site import free_address, rows
from .vc_in import Node, VcIn

if TYPE_CHECKING:
    from collections.abc import Callable

    from rocks.commands import Command

    from .site import Row, Settings

MAX_CPUS = 100_000
DEFAULT_MEMORY_MB = 2048
_ATTRIBUTE = "vm_vc_out"
_DISK_GB = 36
OFF = ("nostate", "shutoff", "crashed")
_SSH_PORT = 22
_SSH_SECONDS = 1800
_PAUSE_SECONDS = 1.0


class BootRequest(NamedTuple):
    """What a user asks for; memory in MB, None for what vc-in.xml states, `key` None for the keys of the site."""

    vc: str
    cpus: int
    frontend_memory_mb: int | None = None
    compute_memory_mb: int | None = None
    key: str | None = None


class Allocated(NamedTuple):
    """A new cluster: its name, that of the name service, its public address, its computes, and its description."""

    name: str
    fqdn: str
    address: str
    computes: tuple[str, ...]
    described: VcIn


def allocate(command: Command, settings: Settings, request: BootRequest) -> Allocated:
    """Add the cluster to the site. UserError or StateError, and nothing of it is there, when it cannot be."""
    described, file = read_cluster(settings, request.vc)
    if request.cpus and described.compute is None:
        raise UserError(f"{request.vc} is a frontend alone; give 0 CPUs")
    placed = (
        dict(plan_computes(_free_hosts(command, settings.reserved_cpus), request.cpus))
        if request.cpus
        else {}
    )
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
    images = cluster_images(command, settings, request.vc, described, file)
    _add_cluster(command, request, described, images, (name, address), list(placed))
    names = (name, *(f"vm-{name}-{number}" for number in range(len(placed))))
    rows_of = {
        str(row["owner"]): row
        for row in rows(command, "list.host.vm", [*names, "showdisks=yes"])
        if row["cpus"]
    }
    # add cluster has an order of its own for the hosts
    cpus = [placed[str(rows_of[compute]["host"])] for compute in names[1:]]
    _set_sizes(command, names, request, described, cpus)
    _set_disks(command, names, described, rows_of)
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
    command.db.commit()
    return Allocated(name, fqdn, address, names[1:], described)


def start(command: Command, cluster: Allocated, progress: Callable[[str], None], is_waited_for: bool) -> None:
    """Start the frontend, wait as vc-in.xml states, start the computes. HostError for a frontend without SSH.

    A start that fails has printed why, and sets the exit status of the command; nothing is waited for then.
    """
    wait = cluster.described.wait
    if cluster.computes and wait is not None:
        command.command("start.cluster", [cluster.name, "computes=no"])
        if command.exit_status:
            return
        if wait.kind == "ssh":
            remedy = f"the computes are not started: rocks start cluster {cluster.name}"
            wait_for_ssh(command, cluster.address, wait.seconds, progress, remedy)
        elif not command.is_dry:
            progress(f"the computes start {wait.seconds} seconds after {cluster.name}")
            wait_seconds(wait.seconds)
    command.command("start.cluster", [cluster.name])
    if is_waited_for and not command.exit_status:
        remedy = "the cluster runs: rocks pragma list cluster"
        wait_for_ssh(command, cluster.address, _SSH_SECONDS, progress, remedy)


def wait_for_ssh(
    command: Command, address: str, seconds: int, progress: Callable[[str], None], remedy: str
) -> None:
    """Wait until a server of SSH answers with its banner. HostError, with the remedy, when none has within the time."""
    if command.is_dry:
        return
    progress(f"waiting for SSH at {address}")
    end = monotonic_seconds() + seconds
    while not _answers(address):
        if monotonic_seconds() >= end:
            raise HostError(f"{address} does not answer by SSH after {seconds} seconds; {remedy}")
        wait_seconds(_PAUSE_SECONDS)


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, _SSH_PORT), _PAUSE_SECONDS) as connection:
            connection.settimeout(5.0)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _free_hosts(command: Command, reserved: int) -> list[FreeHost]:
    """The hosts of virtual machines, with the CPUs that none uses. All machines of a silent host count as running.

    They are those of `add cluster`: hosts with the attribute kvm, the physical frontend only without another.
    """
    used: dict[str, int] = {}
    machines = rows(command, "list.host.vm", ["status=yes"])
    for row in machines:
        if row["cpus"] is not None and row["status"] not in OFF:  # others are further interfaces
            host = str(row["running-host"] or row["host"])
            used[host] = used.get(host, 0) + int(str(row["running-cpus"] or row["cpus"]))
    virtual = {row["owner"] for row in machines}
    listed = [row for row in rows(command, "list.host") if row["owner"] not in virtual]
    containers = {
        str(row["owner"])
        for row in rows(command, "list.host.attr", [str(row["owner"]) for row in listed])
        if row["attr"] == "kvm" and command.str2bool(str(row["value"]))
    }
    frontends = {str(row["owner"]) for row in rows(command, "list.cluster") if row["type"] == "physical"}
    containers = containers - frontends or containers
    return [
        FreeHost(
            str(row["owner"]),
            int(str(row["cpus"] or 0)) - reserved - used.get(str(row["owner"]), 0),
            int(str(row["rack"] or 0)),
            int(str(row["rank"] or 0)),
        )
        for row in listed
        if row["owner"] in containers
    ]


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
    command.command("add.cluster", [*arguments, *[f"key={request.key}"] * bool(request.key)])


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


def _disk(specification: str, node: Node) -> str:
    """`file:PATH.vda,vda,virtio` as the disk of the node is in the guest."""
    return f"{specification.split(',')[0]},{node.device},{node.bus}"


def _disk_gb(size_bytes: int) -> int:
    return max(_DISK_GB, -(-size_bytes // BYTES_PER_GB))
