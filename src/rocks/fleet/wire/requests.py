"""Requests of the frontend to the agent of a physical host: domains, disks, consoles, network devices, InfiniBand."""

from __future__ import annotations

from typing import Literal, Optional, Tuple, Union

from rocks.core.dataclasses import dataclass
from rocks.fleet.wire.codec import Request, tagged
from rocks.fleet.wire.errors import AgentError
from rocks.fleet.wire.facts import Fence

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


# Requests about the image files and block devices of a host: list, give to a machine, remove.


Erase = Literal["discard", "overwrite"]
"""What becomes of the blocks of a removed image: they are freed, or written with zeros first."""

UNREADABLE = "unreadable"
"""In the place of an owner's UUID: the mark of the image could not be read."""


@dataclass(frozen=True)
class ImageFact:
    """An image file, or a block device that was given to a machine.

    `machine` is the UUID of its owner, empty for nobody, `UNREADABLE` for an unknown one. `used_bytes` is what it
    occupies; `user` names the domain or process that has it, empty for none. `moment` is that of a snapshot's file, as
    `rocks.fleet.wire.snapshot_names` has it, empty for another one and where its file system could not store it.
    """

    path: str
    machine: str
    size_bytes: int
    used_bytes: int
    is_block: bool
    user: str = ""
    moment: str = ""


@dataclass(frozen=True)
class ImageFacts:
    """All images, by path. `problems`: folders that could not be read."""

    images: Tuple[ImageFact, ...]
    problems: Tuple[str, ...] = ()


@dataclass(frozen=True)
class ImagesRequest(Request[ImageFacts]):
    """List the files below these image directories, and the block devices that belong to machines."""

    directories: Tuple[str, ...]


@dataclass(frozen=True)
class ImageChange:
    """Whether something changed."""

    changed: bool


@dataclass(frozen=True)
class GiveImageRequest(Request[ImageChange]):
    """Make an unused image belong to the machine with this UUID; now it belongs to `owner` (empty: nobody)."""

    path: str
    directory: str
    is_block: bool
    machine: str
    owner: str = ""


@dataclass(frozen=True)
class RemoveImageRequest(Request[ImageChange]):
    """Remove an unused image that belongs to `owner` (empty: nobody). A block device is erased and becomes nobody's."""

    path: str
    directory: str
    is_block: bool
    owner: str
    erase: Erase = "discard"


# Requests about a machine's screen and serial console, and what it leaves on its host.


CONSOLE_LOG_FOLDER = "/var/log/libvirt/qemu"
"""virtlogd writes the consoles there. It starts another file after 2 MiB, and keeps three older ones (its defaults)."""

NVRAM_FOLDER = "/var/lib/libvirt/qemu/nvram"
"""libvirt's own folder for the variables of UEFI."""

LARGEST_PICTURE_BYTES = 11 * 1024 * 1024
"""As base64 it fits into a reply."""

PNG_BEGINNING = b"\x89PNG\r\n\x1a\n"
"""The first bytes of each PNG."""

MAX_LINES = 10_000


def console_log(machine: str) -> str:
    """The file with the serial console of the machine with this UUID; a machine of the same name has another."""
    return f"{CONSOLE_LOG_FOLDER}/{machine}.console.log"


def nvram_file(machine: str) -> str:
    """The file with the variables of UEFI of the machine with this UUID; a stop leaves it."""
    return f"{NVRAM_FOLDER}/{machine}_VARS.fd"


@dataclass(frozen=True)
class ScreenFact:
    """The picture on the screen: a PNG, in base64."""

    png: str


@dataclass(frozen=True)
class ScreenRequest(Request[ScreenFact]):
    """Take a picture of the screen of the running domain `name`. StateError when it is larger than a reply."""

    name: str


@dataclass(frozen=True)
class ConsoleLogFact:
    """The last lines of a console, without line ends, as the guest has sent them; none: nothing has been written."""

    lines: Tuple[str, ...]


@dataclass(frozen=True)
class ConsoleLogRequest(Request[ConsoleLogFact]):
    """The last `lines` lines of the console of the machine with this UUID, whether it runs or not."""

    machine: str
    lines: int


@dataclass(frozen=True)
class RemovedFiles:
    """How many files were removed."""

    files: int


@dataclass(frozen=True)
class ForgetMachinesRequest(Request[RemovedFiles]):
    """Remove what removed machines with these UUIDs have left: logs of consoles, and variables of UEFI."""

    machines: Tuple[str, ...]


# Requests about the network of a host: how guests are connected, and which devices it needs.


LinkKind = Literal["vlan", "local_bridge", "site_bridge", "site_device"]

ISOLATION_SYSCTLS = (
    ("ipv6", "disable_ipv6", "1"),
    ("ipv4", "rp_filter", "1"),
    ("ipv4", "forwarding", "0"),
    ("ipv4", "arp_ignore", "8"),
    ("ipv4", "drop_unicast_in_l2_multicast", "1"),
)
"""Settings of a device that a host makes, below /proc/sys/net: it takes no part in the network of its guests."""

FilterState = Literal["on", "off", "missing", "adapter"]
"""`missing`: the domain's XML requires a filter, but its device has none. `adapter`: the adapter checks the source."""

LinkResult = Literal["made", "kept", "removed", "used", "failed"]
"""`used`: no machine is planned to need the device, but it is in use."""


@dataclass(frozen=True)
class LinkSpec:
    """A network device that guests connect to: an 802.1Q device over `parent`, or a bridge without uplink.

    The bridge has no parent. `mtu` None keeps the default of the kernel. A `site_bridge` or `site_device` belongs to
    the site: it must exist, be up, and be a bridge or no bridge, respectively; its VLAN is 0.
    """

    device: str
    kind: LinkKind
    parent: Optional[str]
    vlan: int
    mtu: Optional[int] = None


@dataclass(frozen=True)
class DropCount:
    """Frames of a guest that its host dropped, for this reason."""

    reason: str
    frames: int


@dataclass(frozen=True)
class InterfaceFact:
    """An interface of a running domain, by its MAC address; byte counts from the guest's point of view.

    `device` is the host's end, `source` the device that it is connected to. For a virtual function these are its PCI
    address and its adapter, and there are no byte and drop counts.
    """

    domain: str
    mac: str
    device: str
    source: str
    vlan: Optional[int]
    is_up: bool
    has_carrier: bool
    received_bytes: Optional[int]
    sent_bytes: Optional[int]
    filter: FilterState
    drops: Tuple[DropCount, ...]


@dataclass(frozen=True)
class NetworkFacts:
    """All interfaces of all running domains."""

    interfaces: Tuple[InterfaceFact, ...]


@dataclass(frozen=True)
class NetworkRequest(Request[NetworkFacts]):
    """Read how the guests of a host are connected."""


@dataclass(frozen=True)
class LinkPlan:
    """The network devices that a machine needs on its host."""

    name: str
    links: Tuple[LinkSpec, ...]


@dataclass(frozen=True)
class LinkOutcome:
    """The result for a network device; `error` where it failed."""

    device: str
    result: LinkResult
    error: Optional[AgentError] = None


@dataclass(frozen=True)
class SyncLinksReply:
    """One outcome for each planned device, and for each other device of this system."""

    outcomes: Tuple[LinkOutcome, ...]


@dataclass(frozen=True)
class SyncLinksRequest(Request[SyncLinksReply]):
    """Make these devices and remove the others of this system, now and after a reboot.

    The plans of the machines `retained` stay as the host recorded them: they run there, though placed elsewhere by now.
    """

    plans: Tuple[LinkPlan, ...]
    retained: Tuple[str, ...] = ()


# InfiniBand on a physical host: the settings of a machine's VF, and facts about the adapters.


KeyMembership = Literal["full", "limited"]
PkeyInterface = Literal["index_map", "vendor", "netlink"]
"""The kernel interface that configures a VF: mlx4's map of key indexes, files of mlx5's vendor driver, or netlink."""


@dataclass(frozen=True)
class PartitionSpec:
    """The settings of a machine's InfiniBand VF: the key of its cluster (low 15 bits), and its own GUIDs.

    `port_guid` is the GUID of its first port. With `manager_sees_machines` the subnet manager gives keys to the VF
    itself; otherwise the VF uses the keys of the physical port. GUIDs are 16 hexadecimal digits.
    """

    pkey: int
    membership: KeyMembership
    node_guid: str
    port_guid: str
    manager_sees_machines: bool = False


@dataclass(frozen=True)
class PortFact:
    """A physical port: the name of its adapter, its number, GUID and state, and the keys of its table."""

    device: str
    number: int
    guid: str
    state: str
    keys: Tuple[int, ...]


@dataclass(frozen=True)
class InfinibandVfFact:
    """A virtual function: its PCI address, adapter, number on the adapter, and configuring interface.

    `keys`: the keys that its guest sees, None where the host cannot read them; `machine`: the machine that it was
    assigned to.
    """

    address: str
    device: str
    number: int
    interface: PkeyInterface
    keys: Optional[Tuple[int, ...]]
    machine: str


@dataclass(frozen=True)
class InfinibandFacts:
    """Ports and VFs; `departures` lists deviations of the kernel's files from its documentation."""

    ports: Tuple[PortFact, ...]
    vfs: Tuple[InfinibandVfFact, ...]
    departures: Tuple[str, ...]


@dataclass(frozen=True)
class InfinibandRequest(Request[InfinibandFacts]):
    """Read the adapters. With `tried_vf`, that free VF is written, read back, and restored."""

    tried_vf: str = ""
