"""The CD in the drive of a virtual machine: a file or device of its host, or an ISO of the image library. Light."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import Code, RocksError, StateError, UserError
from rocks.core.names import printable
from rocks.core.values import check_text
from rocks.inventory.attributes.changes import remove_attribute, set_attribute
from rocks.inventory.disks.places import medium_of
from rocks.leases import lease as leases
from rocks.leases.lease import ensure_locked
from rocks.leases.plan import SAVED
from rocks.library.guest_images import (
    BOOT_PLACES,
    CD_ATTRIBUTE,
    CD_BOOT_ATTRIBUTE,
    EMPTY,
    Source,
    check_medium_name,
    medium_name,
    medium_on,
    with_medium,
)
from rocks.library.library_folder import find_library_image, lock_images
from rocks.machine import record as table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine
    from rocks.library.records import LibraryImage


LONGEST_PATH = 512


class Medium(NamedTuple):
    """What is inserted: the path of a file or device of the host, or an image of the library; neither: nothing."""

    path: str = ""
    image: str = ""


def read_medium(path: str | None, image: str | None) -> Medium:
    """The medium of the parameters `cdrom` and `image`. UserError for both, neither, or an invalid one."""
    if path and image:
        raise UserError("give either cdrom=, a path on the host, or image=, an ISO of the library, not both")
    if image:
        if image.lower() in EMPTY:
            return Medium()
        check_medium_name(image)
        return Medium(image=image)
    if not path:
        raise UserError("you need to specify the path to the cdrom, or image=NAME, or eject")
    if path.lower() in EMPTY:
        return Medium()
    if not path.startswith("/") or path.endswith("/") or ".." in path.split("/"):
        raise UserError(
            f'You must use an absolute path for the ISO, not "{printable(path)}"; image=NAME inserts an ISO of the '
            "library (rocks list image)"
        )
    check_text("the path for the ISO", path, LONGEST_PATH)
    return Medium(path)


def set_cdrom(database: Database, name: str, medium: Medium, boot: str | None = None) -> tuple[str, ...]:
    """Insert the medium into the drive of a virtual machine, from its next start; `boot` None: as it is. Returns notes.

    UserError for an invalid `boot`. StateError for a host that is not a virtual machine, for an image that is no ISO of
    the library, and when an attribute of all hosts or of an appliance inserts another one.
    """
    if boot is not None and boot not in BOOT_PLACES:
        raise UserError(f'boot must be {" or ".join(BOOT_PLACES)}, not "{printable(boot)}"')
    table.load_vms(database, [name])
    if medium.image:
        lock_images(database, [medium.image])  # it cannot be removed meanwhile
    ensure_locked(database, [name])
    if medium.image:
        _existing_iso(database, medium.image)
        set_attribute(database, "host", [name], CD_ATTRIBUTE, medium.image)
    else:
        remove_attribute(database, "host", [name], CD_ATTRIBUTE)
    if boot is not None:
        set_attribute(database, "host", [name], CD_BOOT_ATTRIBUTE, boot)
    table.update_vm(database, name, {"cdrom_path": medium.path})
    return (*_place_warning(_check_nothing_else(database, name, medium)), *_next_start(database, name))


def _place_warning(vm: VirtualMachine) -> tuple[str, ...]:
    """That the start will refuse the place of the CD. No error: the places in a dump are stated after its machines."""
    try:
        if vm.container is not None:
            medium_of(vm, vm.container, "will not start")
    except StateError as error:
        return (f"Warning: {error}",)
    return ()


def _next_start(database: Database, name: str) -> tuple[str, ...]:
    lease = leases.read_leases(database, [name]).get(name.lower())
    if lease is None or not lease.is_held:
        return ()
    if lease.state == SAVED:
        return (
            f"{name} is saved on {lease.host}: its drive changes when it is started anew, not when it continues",
        )
    return (f"{name} may be running on {lease.host}: its drive changes at its next start",)


def _check_nothing_else(database: Database, name: str, medium: Medium) -> VirtualMachine:
    """The machine. StateError when an attribute of a wider scope inserts another CD."""
    (vm,) = table.load_vms(database, [name])
    if medium_name(vm) != medium.image:
        raise StateError(
            f"{name} gets the CD {printable(medium_name(vm))} from the attribute {CD_ATTRIBUTE} of a wider scope "
            f"(rocks list host attr {name}); remove it there: rocks remove attr {CD_ATTRIBUTE}, or "
            f"rocks remove appliance attr {vm.host.appliance} {CD_ATTRIBUTE}",
            code=Code.MEDIUM_OVERRIDDEN,
        )
    return vm


def _existing_iso(database: Database, name: str) -> LibraryImage:
    """The ISO of this name. StateError when there is none, or when it is the image of a disk."""
    found = find_library_image(database, name)
    if found.format != "iso":
        raise StateError(
            f"the image {name} is that of a disk, and a drive takes ISOs (rocks list image); "
            f"rocks set host attr MACHINE vm_image {name} makes the first disk of a machine from it"
        )
    return found


def with_media(database: Database, machines: Iterable[VirtualMachine]) -> list[VirtualMachine]:
    """The machines as they would be started, with their ISOs. StateError as a start."""
    return [
        vm
        if not medium_name(vm) or vm.container is None
        else with_medium(vm, medium_on(vm, vm.container, medium_source(database, vm)))
        for vm in machines
    ]


def medium_source(database: Database, vm: VirtualMachine) -> Source:
    """The ISO in the machine's drive. StateError, with the remedies, when the library does not have it."""
    try:
        found = _existing_iso(database, medium_name(vm))
    except RocksError as error:
        raise StateError(
            f"{vm.name} is not started: the CD in its drive: {error}; without a CD: "
            f"rocks set host vm cdrom {vm.name} eject",
            code=error.code,
        ) from None
    return Source(found.name, found.size_bytes, found.used_bytes, found.digest)
