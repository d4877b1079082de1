"""The images and keys of a new virtual cluster, which `rocks add cluster` records with it."""

from __future__ import annotations

from ipaddress import IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.files import open_plain
from rocks.core.names import printable
from rocks.core.public_keys import LARGEST_KEYS_BYTES, read_new_keys
from rocks.inventory.attributes.records import insert_host_values
from rocks.inventory.boot_records import set_boot_action
from rocks.inventory.inventory_lock import LOCK_SECONDS
from rocks.library.guest_images import (
    ADDRESS_ATTRIBUTE,
    IMAGE_ATTRIBUTE,
    KEYS_ATTRIBUTE,
    check_disk_size,
    check_source_name,
)
from rocks.library.library_folder import find_source, lock_images
from rocks.library.seed_documents import plan_addresses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.library.guest_images import Source
    from rocks.machine.addition_plan import NewVm
    from rocks.network.interface_rules import Subnet

NO_IMAGE = "none"
_NETBOOT = "kvm_netboot"


class ClusterImages(NamedTuple):
    """The images of a cluster's frontend and computes, None for an empty disk, and the keys that may log in."""

    frontend: Source | None = None
    computes: Source | None = None
    keys: tuple[str, ...] = ()


def read_images(
    database: Database, image: str | None, compute_image: str | None, key_file: str | None
) -> ClusterImages:
    """The images of the parameters, which no other command removes until this one has ended.

    UserError or StateError for one that is not in the library, or no key.
    """
    if image is None:
        for name, value in (("compute-image", compute_image), ("key", key_file)):
            if value is not None:
                raise UserError(f"{name}= is for clusters that are made from an image; give image=NAME too")
        return ClusterImages()
    is_same = compute_image is None or compute_image.lower() == NO_IMAGE
    names = [image] if is_same else [image, str(compute_image)]
    for name in names:
        check_source_name(name)
    lock_images(database, names, LOCK_SECONDS)  # as long as for the names of the cluster
    frontend = find_source(database, image)
    computes: Source | None = frontend
    if compute_image is not None:
        is_none = compute_image.lower() == NO_IMAGE
        computes = None if is_none else find_source(database, compute_image)
    return ClusterImages(frontend, computes, () if key_file is None else _read_key_file(Path(key_file)))


def check_sizes(images: ClusterImages, new: Sequence[NewVm]) -> None:
    """StateError when a machine's disk is too small for its image."""
    for vm, source in _with_images(images, new):
        check_disk_size(vm.name, vm.disks[0], source.name, source.size_bytes)


def record_images(database: Database, images: ClusterImages, new: Sequence[NewVm], private: Subnet) -> None:
    """Give the stored machines their attributes; they boot from their disks. Statements: a constant number."""
    rows: list[tuple[str, str, str]] = []
    for vm, source in _with_images(images, new):
        rows += [(vm.name, IMAGE_ATTRIBUTE, source.name), (vm.name, _NETBOOT, "no")]
        if images.keys:
            rows.append((vm.name, KEYS_ATTRIBUTE, "\n".join(images.keys)))
    computes = new[1:] if images.computes is not None else ()
    address = IPv4Interface(f"{new[0].interfaces[0].ip}/{private.netmask}")
    for vm, inside in zip(computes, plan_addresses(address, len(computes)), strict=True):
        rows.append((vm.name, ADDRESS_ATTRIBUTE, inside))
    insert_host_values(database, rows)
    set_boot_action(database, [vm.name for vm, _ in _with_images(images, new)], "os")


def _with_images(images: ClusterImages, new: Sequence[NewVm]) -> list[tuple[NewVm, Source]]:
    """The machines that have an image, the frontend first."""
    sources = [images.frontend, *[images.computes] * (len(new) - 1)]
    return [(vm, source) for vm, source in zip(new, sources, strict=True) if source is not None]


def _read_key_file(path: Path) -> tuple[str, ...]:
    try:
        with open_plain(path) as file:
            text = file.read(LARGEST_KEYS_BYTES + 1).decode("utf-8")
        keys = read_new_keys(text)
    except OSError as error:
        raise UserError(f"the file of keys {printable(str(path))} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"the file of keys {path} is not text; give that of a public key, *.pub") from None
    except UserError as error:
        raise UserError(f"the file of keys {path} is not taken: {error}") from None
    if not keys:
        raise UserError(f"the file of keys {path} has no key")
    return keys
