"""Attributes of images of disks, their places and pools. Pure."""

from __future__ import annotations

from rocks.inventory.attributes.known.form import Known
from rocks.storage.limits import DEFAULT_GRACE_HOURS, DEFAULT_TRANSFERS, LONGEST_GRACE_HOURS, MAX_TRANSFERS

STORAGE = {
    "vm_image_directory": Known(
        "global", "image folder", "", "folder for disk images; without it a host's largest partition"
    ),
    "vm_image_directories": Known(
        "host",
        "image folders",
        "",
        "further folders of the host below which disks and CD images of its virtual machines may be, separated by "
        "commas",
    ),
    "vm_disk_devices": Known(
        "host",
        "device patterns",
        "",
        "block devices of the host that its virtual machines may have, as patterns separated by commas: "
        "/dev/mapper/guests-*",
    ),
    "vm_image_erase": Known(
        "host",
        ("discard", "overwrite"),
        "discard",
        "what becomes of the blocks of a removed disk image: discard frees them, overwrite writes zeros first",
    ),
    "image_library": Known(
        "global", "folder", "/export/rocks/images", "folder of the frontend for the images of rocks add image"
    ),
    "img_storage_nas": Known(
        "appliance",
        "yes or no",
        "",
        "true: the host is a NAS for disk images; unset, hosts of the appliance nas are",
    ),
    "img_storage_vm": Known(
        "appliance", "yes or no", "", "true: the host runs virtual machines whose images are on a NAS"
    ),
    "img_sync": Known(
        "host",
        "yes or no",
        "",
        "true: images are copied to the host; false, for a virtual machine: its image stays on the NAS",
    ),
    "img_persistent": Known(
        "host",
        "yes or no",
        "yes",
        "no: the changes of the virtual machine are discarded when its image is unmapped",
    ),
    "img_zpools": Known(
        "host", "pools", "", "pools of a NAS, separated by commas; rocks set host vm nas chooses one"
    ),
    "img_zpool_disks": Known(
        "host",
        "disks of a NAS",
        "",
        "disks of a NAS, separated by blanks, from which its profile makes the first pool of img_zpools if it is "
        "missing: one, or an even number, each two of which become a mirror; rest: all disks but its system's",
    ),
    "img_grace_hours": Known(
        "host",
        range(LONGEST_GRACE_HOURS + 1),
        str(DEFAULT_GRACE_HOURS),
        "hours for which a removed image of the NAS can be restored; 0: it is destroyed at once",
    ),
    "vm_container_zpool": Known("host", "pool", "tank", "pool of a host for copies of images"),
    "vm_container_zpool_disks": Known(
        "host",
        "disks of a host",
        "",
        "one disk or two, separated by blanks, from which the host's profile makes vm_container_zpool",
    ),
    "img_storage_part_zfs_mirror": Known(
        "host",
        "yes or no",
        "",
        "true: the host's profile makes a missing vm_container_zpool; two disks become a mirror",
    ),
    "imgstorage-network": Known(
        "global", "zone", "", "zone of the network for images; unset, that of the network private"
    ),
    "imgstorage-pool": Known(
        "host",
        "pool",
        "",
        "pool for copies of images instead of vm_container_zpool, also in the daemons' configuration",
    ),
    "imgstorage-workers": Known(
        "host",
        range(1, MAX_TRANSFERS + 1),
        str(DEFAULT_TRANSFERS),
        f"concurrent transfers of a NAS, from 1 to {MAX_TRANSFERS}",
    ),
    "RABBITMQ_Server": Known(
        "global",
        "host or address",
        "",
        "host of the message broker of images; unset, the frontend, where rocks sync broker sets it up",
    ),
}
