"""How the commands of the roll reach an engine: seven calls, which each driver has.

`kvm_rocks` is this site, by our own commands. `executables` is a folder of programs, as the first generation had them.
`cloud` is an account of a cloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rocks.core import dry_run
from rocks.core.errors import StateError, UserError
from rocks.core.public_keys import LARGEST_KEYS_BYTES
from rocks.core.terminal import one_line

from .documents import read_file, reason_of
from .site import CLOUDS, DRIVER, KVM_ROCKS
from .vc_in import DescriptionError

if TYPE_CHECKING:
    from rocks.commands import Command

    from .site import Settings
    from .vc_in import VcIn

DEFAULT_MEMORY_MB, LEAST_MEMORY_MB, LARGEST_MEMORY_MB = 2048, 32, 64 * 1024**2
"""Of a machine of the site (`rocks set host vm`)."""
OFF = ("nostate", "shutoff", "crashed")


class UnknownClusterError(UserError):
    """There is nothing of that name."""

    exit_status = 4


class BootRequest(NamedTuple):
    """What a user asks for; memory in MB, None for what vc-in.xml states, `key` None for the keys of the site.

    `interfaces` is the text of add-iface; `name` that of the request, by which a repetition of it is known. `hosts` are
    those on which all machines run, none where the site chooses.
    """

    vc: str
    cpus: int
    frontend_memory_mb: int | None = None
    compute_memory_mb: int | None = None
    key: str | None = None
    interfaces: str = ""
    name: str = ""
    hosts: tuple[str, ...] = ()


class Allocated(NamedTuple):
    """A new cluster: its name, that of the name service, its public address, its computes, and its description."""

    name: str
    fqdn: str
    address: str
    computes: tuple[str, ...]
    described: VcIn


class Machine(NamedTuple):
    """A machine of a cluster; `compute` and `address` are empty for a frontend and for a compute, respectively."""

    cluster: str
    compute: str
    state: str
    address: str


class Driver(Protocol):
    """An engine that runs clusters. All errors are those of `rocks.core.errors`."""

    continuation: str
    """The command, before a cluster's name, after a start that failed: it continues the start, or ends the cluster."""

    def allocate(self, request: BootRequest) -> Allocated:
        """Add a cluster that does not run, completely or not at all; or find that of a request with this name.

        UserError from a driver that knows no requests.
        """

    def requested(self, name: str) -> list[str]:
        """The cluster of the request with this name, if there is one."""

    def start(self, cluster: Allocated, with_computes: bool) -> None:
        """Start the machines that are off; without computes, the frontend alone."""

    def status(self, names: Sequence[str] = ()) -> list[Machine]:
        """The machines of these clusters, or of all: a frontend, then its computes. UnknownClusterError."""

    def shutdown(self, name: str) -> None:
        """Stop the machines of a cluster; one that is off stays so."""

    def check_own(self, name: str, verb: str) -> None:
        """StateError for a cluster that was not booted by this driver: `rocks VERB cluster` is for those."""

    def clean(self, name: str) -> None:
        """Remove a cluster that is shut down, with its disks; address and network become free."""


def driver_of(command: Command, settings: Settings) -> Driver:
    """The driver of the site's attribute. StateError for one that is not known."""
    from .cloud import Cloud
    from .executables import Executables
    from .kvm_rocks import KvmRocks

    if settings.driver == KVM_ROCKS:
        return KvmRocks(command, settings)
    if settings.driver in CLOUDS:
        return Cloud(command, settings)
    if settings.driver.startswith("/") and Path(settings.driver).is_dir():
        return Executables(command, settings)
    raise StateError(
        f"the attribute {DRIVER} is {one_line(settings.driver)[:100]!r}, neither {KVM_ROCKS}, a cloud "
        f"({', '.join(CLOUDS)}) nor a folder of programs; rocks set attr {DRIVER} {KVM_ROCKS}"
    )


def check_cluster(command: Command, driver: Driver, args: Sequence[str]) -> list[Machine]:
    """The machines of the one cluster that is named. Aborts for none, and for a selector of several."""
    listed = driver.status(args) if len(args) == 1 else []
    if len(args) != 1 or {machine.cluster for machine in listed} != set(args):
        given = f", not {one_line(args[0])[:80]}" if len(args) == 1 else ""
        command.abort(f"must supply the name of one cluster{given}; rocks pragma list cluster lists all")
    return listed


def check_supported(request: BootRequest, engine: str, memory_mb: int | None = None) -> None:
    """UserError for what only the driver of this site supports, and for `memory_mb`; StateError in a dry run."""
    if dry_run.is_on():
        raise StateError(f"a dry run cannot know what {engine} would do; boot without dry-run")
    found = {
        "request": request.name,
        "add-iface": request.interfaces,
        "hosts": request.hosts,
        "mem": memory_mb,
    }
    if given := " and ".join(name for name, value in found.items() if value):
        raise UserError(f"{engine} does not take {given}; boot without")


def check_memory(request: BootRequest, described: VcIn, file: Path) -> None:
    """DescriptionError for a memory that no machine of this site can have."""
    stated = {
        "frontend": request.frontend_memory_mb or described.frontend.memory_mb,
        "compute": request.compute_memory_mb or (described.compute and described.compute.memory_mb),
    }
    for kind, memory_mb in stated.items():
        if memory_mb and not LEAST_MEMORY_MB <= memory_mb <= LARGEST_MEMORY_MB:
            raise DescriptionError(
                f"{file}: {kind} has {memory_mb} MB of memory; give {LEAST_MEMORY_MB} to {LARGEST_MEMORY_MB} MB"
            )


def read_key(file: str | None) -> str:
    """Public keys, one a line. UserError for no file, one that is not plain or is too long, and a private key."""
    if file is None:
        raise UserError("the driver needs public SSH keys; give key=FILE")
    try:
        data = read_file(Path(file), LARGEST_KEYS_BYTES)
    except (OSError, ValueError) as error:
        raise UserError(
            f"the keys {one_line(file)[:100]} cannot be read: {reason_of(error)}; give another key=FILE"
        ) from None
    if len(data) > LARGEST_KEYS_BYTES:
        raise UserError(f"the keys {one_line(file)[:100]} are longer than {LARGEST_KEYS_BYTES} bytes")
    text = data.decode("utf-8", "replace")
    if "PRIVATE KEY" in text:
        raise UserError(f"{one_line(file)[:100]} is a private key; give the file of the public one")
    return text
