"""Operations of the frontend on the domains of a physical host, and the request that has its agent perform them."""

from __future__ import annotations

from typing import Literal, Optional, Tuple, Union

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.codec import tagged
from rocks.fleet.wire.errors import AgentError
from rocks.fleet.wire.facts import Fence
from rocks.fleet.wire.infiniband import PartitionSpec
from rocks.fleet.wire.network import LinkKind, LinkSpec
from rocks.fleet.wire.request import Request

__all__ = ["LinkKind", "LinkSpec"]

DiskFormat = Literal["raw", "qcow2", "qed"]
StopAction = Literal["poweroff", "shutdown", "reset", "reboot"]
ENDING_ACTIONS: Tuple[StopAction, ...] = ("poweroff", "shutdown")
"""After these the domain and its lease are gone, unlike after a restart in place."""

RELEASE_SECONDS = 20.0
"""How long a guest has to release a device that is detached."""

BASE_FOLDER = "library"
"""The folder below an image directory with the copies of the site's images."""

SEED_SUFFIX = ".seed"
"""The end of the path of a `SeedSpec`."""


@dataclass(frozen=True)
class BaseImage:
    """A host's copy of an image of the site's library, from which disks are made; no guest has it.

    It lies in the folder `BASE_FOLDER` of the image directory, under its digest (`rocks.core.image_blocks`).
    """

    directory: str
    digest: str
    size_bytes: int
    used_bytes: int


def base_path(base: BaseImage) -> str:
    """The file of the copy."""
    return f"{base.directory.rstrip('/')}/{BASE_FOLDER}/{base.digest}.img"


@dataclass(frozen=True)
class SeedSpec:
    """The second, small disk of a machine, for cloud-init; written anew at each start.

    `content` is the disk: compressed by zlib, in base64. `directory` and `machine` are as of a `DiskSpec`.
    """

    path: str
    directory: str
    machine: str
    content: str


@dataclass(frozen=True)
class DiskSpec:
    """A disk that must exist: a device, or an image that is made when absent and never overwritten.

    `machine` is the UUID of the virtual machine that the disk must belong to; empty: not checked. `directory` is the
    image directory above the file; empty: its folder. `is_mapped`: the device of an image that image storage has
    mapped. `is_cdrom`: a medium that is only read; it is never made and belongs to no machine. With `base`, a missing
    image is made as a copy of it, not empty; a medium must be that copy itself. `target` is its device and bus in the
    guest, for messages. A file of root's that nobody is known to own is the machine's if it was made after the second
    `put_after`, counted from 1970; 0: it never is.
    """

    path: str
    format: DiskFormat
    size_gb: int
    is_block: bool
    machine: str = ""
    directory: str = ""
    is_mapped: bool = False
    is_cdrom: bool = False
    base: Optional[BaseImage] = None
    target: str = ""
    put_after: int = 0


@dataclass(frozen=True)
class VfSpec:
    """Virtual function `number`, from 0, of the network adapter `device`, with the settings for a guest.

    `count` VFs are made where there are none yet. `vlan` 0 leaves frames untagged. With `checks_source` the adapter
    drops frames with another source than `mac`. A trusted guest may receive more than its own frames.
    """

    device: str
    count: int
    number: int
    mac: str
    vlan: int = 0
    checks_source: bool = True
    is_trusted: bool = False


@tagged
@dataclass(frozen=True)
class StartDomain:
    """The spec of a machine that is to run under this lease: the host plans its start (`machine.plans`).

    The XML has an interface of type `hostdev` for the MAC address of each VF; the host inserts the PCI address of
    the VF. `partition` is for the domain's InfiniBand VF, if it has one. The host must have `cpus` CPUs. Besides
    `memory_reserve_mb` and other domains it must have the memory `memory_mb`, or that of the document if it is more;
    None: it is not asked. `needs_filters`: its kernel must filter packets. `continues`: an earlier start under this
    lease was interrupted, so a paused domain is completed. With `restores` the domain goes on from its managed save,
    with the XML that it was saved with; nothing is made. `host` is the host's name in the database, for messages.
    """

    name: str
    token: int
    xml: str
    disks: Tuple[DiskSpec, ...] = ()
    links: Tuple[LinkSpec, ...] = ()
    autostart: bool = False
    partition: Optional[PartitionSpec] = None
    vfs: Tuple[VfSpec, ...] = ()
    cpus: int = 0
    memory_mb: int = 0
    memory_reserve_mb: Optional[int] = None
    needs_filters: bool = False
    seed: Optional[SeedSpec] = None
    continues: bool = False
    restores: bool = False
    host: str = ""


@tagged
@dataclass(frozen=True)
class StopDomain:
    """Stop the domain and undefine it (`poweroff`, `shutdown`), or restart it in place (`reset`, `reboot`).

    `shutdown` waits `deadline_seconds` for the guest, then powers it off. `links` that nothing else uses are
    removed. StateError for a saved domain, unless `discards_save`.
    """

    name: str
    token: Optional[int] = None
    action: StopAction = "poweroff"
    deadline_seconds: int = 0
    links: Tuple[LinkSpec, ...] = ()
    discards_save: bool = False

    @property
    def ends_domain(self) -> bool:
        """Whether the domain and its lease end."""
        return self.action in ENDING_ACTIONS


@tagged
@dataclass(frozen=True)
class PauseDomain:
    """Suspend the guest in memory."""

    name: str
    token: Optional[int] = None


@tagged
@dataclass(frozen=True)
class ResumeDomain:
    """Resume a paused guest."""

    name: str
    token: Optional[int] = None


@tagged
@dataclass(frozen=True)
class SaveDomain:
    """Save memory and devices of a running domain to its managed save; the domain and its lease stay, and it is off.

    `memory_mb`, the most that its records let it have, bounds the wait. A domain that is saved already stays so.
    """

    name: str
    token: int
    memory_mb: int


@tagged
@dataclass(frozen=True)
class ChangeDomain:
    """Change a domain that runs, without a restart; one that is off has nothing to do, unless it gets a disk.

    `xml` is the document of a start now, under the lease. With `cpus` and `memory` the domain gets the CPUs and the
    memory of `xml`, up to its maximum; with `interfaces` those of `xml` are attached, and others detached. `disks` of
    `xml` are attached, those with the paths `detached` are detached. What needs a restart becomes a note. `links` are
    all links of the domain. The memory is checked as at a start, `host` is as of `StartDomain`.
    """

    name: str
    token: int
    xml: str
    cpus: bool = False
    memory: bool = False
    interfaces: bool = False
    disks: Tuple[DiskSpec, ...] = ()
    detached: Tuple[str, ...] = ()
    links: Tuple[LinkSpec, ...] = ()
    memory_reserve_mb: Optional[int] = None
    host: str = ""


@tagged
@dataclass(frozen=True)
class GrowDisk:
    """Grow a disk of a machine to the size of `disk`; a running guest is notified.

    An image grows with or without the guest. A device must have grown already: only the guest is notified. An image
    that does not exist yet is not made.
    """

    name: str
    disk: DiskSpec
    token: Optional[int] = None


@tagged
@dataclass(frozen=True)
class MakeSnapshot:
    """Copy the images of a machine, all as they are at one moment, to `copies`, which are beside them.

    The disks of a machine that runs are copied while it runs; its file systems are frozen for the moment, if its guest
    agent answers. Copies that exist are complete.
    """

    name: str
    disks: Tuple[DiskSpec, ...]
    copies: Tuple[str, ...]
    token: Optional[int] = None


@tagged
@dataclass(frozen=True)
class RestoreSnapshot:
    """Replace the images of a machine that is off by `copies`, which stay."""

    name: str
    disks: Tuple[DiskSpec, ...]
    copies: Tuple[str, ...]


@tagged
@dataclass(frozen=True)
class FreezeGuest:
    """Freeze the file systems of a guest by its guest agent, until `ThawGuest`, or for 90 seconds.

    StateError when they are not frozen.
    """

    name: str
    token: int


@tagged
@dataclass(frozen=True)
class ThawGuest:
    """Thaw them. StateError when they were not frozen all the time until then."""

    name: str
    token: int


@tagged
@dataclass(frozen=True)
class EndArrival:
    """End an interrupted migration to this host, and its lease, unless the domain has arrived (unchanged then).

    It has when it runs, or libvirt has made it permanent: whatever ended or paused it afterwards, it is kept.
    `autostart`: whether a domain that has arrived starts when the host boots. `images` are the devices of its images
    on a NAS: it arrives paused then, and without it their placeholders are removed.
    """

    name: str
    token: int
    autostart: bool = False
    images: Tuple[str, ...] = ()


@tagged
@dataclass(frozen=True)
class EndDeparture:
    """Wait for the end of a migration from this host: what the host reports afterwards is final.

    With `resumes` it has failed, and the guest goes on here; `autostart` as before the migration. StateError when the
    domain is neither paused nor running then.
    """

    name: str
    token: int
    resumes: bool = False
    autostart: bool = False


Operation = Union[
    StartDomain,
    StopDomain,
    PauseDomain,
    ResumeDomain,
    ChangeDomain,
    GrowDisk,
    MakeSnapshot,
    RestoreSnapshot,
    SaveDomain,
    EndArrival,
    EndDeparture,
    FreezeGuest,
    ThawGuest,
]


@dataclass(frozen=True)
class OperationOutcome:
    """The result of one operation. `changed` is False when there was nothing to do; `notes` are for the operator.

    `steps`, in a dry run only: what the host would do.
    """

    name: str
    changed: bool
    notes: Tuple[str, ...] = ()
    error: Optional[AgentError] = None
    steps: Tuple[str, ...] = ()


@dataclass(frozen=True)
class PerformReply:
    """One outcome for each operation, in their order; `fenced` names the domains whose fences are in force."""

    outcomes: Tuple[OperationOutcome, ...]
    fenced: Tuple[str, ...] = ()


@dataclass(frozen=True)
class PerformRequest(Request[PerformReply]):
    """Do these operations: those of one name in order. A failure does not stop those of other names.

    Before that, starts under leases of epochs before `epoch` are refused for good, and the fences are put up. With
    `assumed_disks` nothing is done: the steps are planned, as if these disks were there (a dry run).
    """

    operations: Tuple[Operation, ...]
    fences: Tuple[Fence, ...] = ()
    epoch: int = 0
    assumed_disks: Optional[Tuple[str, ...]] = None
