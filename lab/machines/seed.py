"""The identity of a machine: its name, addresses, keys and units, laid over its role's image at its first boot."""

from __future__ import annotations

import gzip
import stat
import uuid
from collections.abc import Mapping
from pathlib import Path

from lab.guest import archive
from lab.guest.archive import Entry
from lab.machines.roster import (
    FRONTEND_ADDRESS,
    PREFIX_LENGTH,
    STORAGE_DEVICE,
    STORAGE_MTU_BYTES,
    TRUNK_DEVICE,
    Description,
    Role,
)

_UNITS = "etc/systemd/system"
_MODULES = {
    Role.NAS: ("target_core_mod", "target_core_iblock", "target_core_file", "iscsi_target_mod"),
    Role.HOST: ("dm_snapshot", "iscsi_tcp", "igb", "vfio_pci"),
}
"""For adapters, what udev would load if the lab did not limit it to some subsystems; and what tests of devices use on a
machine without image storage. The machines' profiles load the others.
"""

_UNWANTED_UNITS = {
    Role.NAS: (
        *(
            "libvirtd.service",
            "libvirtd.socket",
            "libvirtd-admin.socket",
            "libvirtd-ro.socket",
            "virtlogd.socket",
        ),
        *("virtlogd-admin.socket", "iscsid.socket", "open-iscsi.service"),
    ),
    Role.HOST: (),
}


def seed_files(machine: Description, everybody: tuple[Description, ...]) -> dict[str, bytes]:
    """Name (without a leading slash) → content of the files that are this machine's own, keys left out."""
    hosts = "".join(f"{other.address} {' '.join(other.names)}\n" for other in everybody)
    texts = {
        "etc/hostname": f"{machine.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n{FRONTEND_ADDRESS} head\n{hosts}",
        "etc/iscsi/initiatorname.iscsi": f"InitiatorName={machine.initiator}\n",
        "etc/machine-id": f"{uuid.uuid5(uuid.NAMESPACE_DNS, f'{machine.name}.lab.rocks').hex}\n",
        "etc/modules-load.d/lab.conf": "".join(f"{module}\n" for module in _MODULES[machine.role]),
    }
    files = {name: text.encode() for name, text in (texts | _network_files(machine)).items()}
    files["etc/hostid"] = bytes.fromhex(machine.host_id)[::-1]  # little-endian, gethostid(3)
    return files


def write_seed(
    machine: Description,
    everybody: tuple[Description, ...],
    secrets: Mapping[str, bytes],
    base: Path,
    target: Path,
) -> None:
    """Write the machine's initramfs: the common one `base` with the machine's own files behind it.

    The kernel unpacks archives that follow each other into one folder. `secrets` are files that only root may read.
    """
    files = [archive.document(f"seed/{name}", data) for name, data in seed_files(machine, everybody).items()]
    files += [Entry(f"seed/{name}", stat.S_IFREG | 0o600, data) for name, data in secrets.items()]
    links = [
        Entry(f"seed/{_UNITS}/{unit}", stat.S_IFLNK | 0o777, b"/dev/null")
        for unit in _UNWANTED_UNITS[machine.role]
    ]
    entries = [*_folders([entry.name for entry in (*files, *links)]), *files, *links]
    own = gzip.compress(archive.write_archive(entries), compresslevel=1, mtime=0)
    target.write_bytes(base.read_bytes() + own)
    target.chmod(0o600)


def _network_files(machine: Description) -> dict[str, str]:
    texts = {
        "etc/systemd/network/10-storage.link": _link(machine.storage_mac, STORAGE_DEVICE),
        "etc/systemd/network/10-storage.network": (
            f"[Match]\nName={STORAGE_DEVICE}\n[Link]\nMTUBytes={STORAGE_MTU_BYTES}\n"
            f"[Network]\nAddress={machine.address}/{PREFIX_LENGTH}\nLinkLocalAddressing=no\nLLDP=no\n"
            "IgnoreCarrierLoss=yes\n"
        ),
    }
    if machine.role is Role.HOST:
        texts |= {
            "etc/systemd/network/10-trunk.link": _link(machine.trunk_mac, TRUNK_DEVICE),
            "etc/systemd/network/10-trunk.network": (
                f"[Match]\nName={TRUNK_DEVICE}\n[Network]\nLinkLocalAddressing=no\nLLDP=no\nIgnoreCarrierLoss=yes\n"
            ),
        }
    return texts


def _link(mac: str, name: str) -> str:
    return f"[Match]\nMACAddress={mac}\nType=ether\n[Link]\nName={name}\n"


def _folders(names: list[str]) -> list[Entry]:
    """All folders that lead to the names, each once and after the one it lies in."""
    found: dict[str, int] = {}
    for name in names:
        for parent in reversed(list(Path(name).parents)[:-1]):
            found.setdefault(str(parent), 0o755)
            if parent.name == ".ssh":
                found[str(parent)] = 0o700
    return [Entry(name, stat.S_IFDIR | mode) for name, mode in found.items()]
