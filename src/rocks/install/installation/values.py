"""Values for the lines of `main`: what kickstart and preseed files say of a host's network and disk. Pure.

Other installers than that of this roll get a disk only when the attributes name it (`install_disk` path=/dev/X) and
permit to overwrite it; otherwise they ask.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.install.installation.disks import read_disks, read_partitions
from rocks.install.installation.plan import check_arguments, name_servers
from rocks.network.host_network_plan import plan_network

if TYPE_CHECKING:
    from rocks.install.installation.disks import Partition
    from rocks.install.profile_values import Value
    from rocks.inventory.records import Host

MAX_PARTITIONS_OF_OTHERS = 8
_DEVICES = "/dev/"


def installer_values(host: Host, packaging: str) -> dict[str, Value]:
    """`install_network`, `install_drive`, `install_part_1` to `install_part_8`, `install_bootloader`.

    A value that the host does not have is a StateError; a missing partition is ''.
    """
    parts: dict[str, Value] = dict.fromkeys(
        (f"install_part_{number}" for number in range(1, MAX_PARTITIONS_OF_OTHERS + 1)), ""
    )
    try:
        drive = _drive(host)
        for number, text in enumerate(_parts(host, drive), 1):
            parts[f"install_part_{number}"] = text
        arguments = check_arguments(host.attribute("install_kernel_arguments"))
        loader = f"--location=mbr --boot-drive={drive}" + (f' --append="{arguments}"' if arguments else "")
        disks: dict[str, Value] = {"install_drive": drive, "install_bootloader": loader}
    except (UserError, StateError) as error:
        reason = StateError(str(error))
        disks = {"install_drive": reason, "install_bootloader": reason}
    return {**parts, **disks, "install_network": _network(host, packaging)}


def _drive(host: Host) -> str:
    """The one disk that is overwritten, as `sda`."""
    choices = read_disks(host.attribute("install_disk"))
    if (
        len(choices) != 1
        or not choices[0].value.startswith(_DEVICES)
        or not host.is_true("install_overwrite")
    ):
        raise StateError(
            f"an installer that is not this roll's overwrites no disk of host {host.name}, unless install_disk is "
            "path=/dev/X and install_overwrite is yes"
        )
    return choices[0].value.removeprefix(_DEVICES)


def _parts(host: Host, drive: str) -> list[str]:
    partitions = read_partitions(host.attribute("install_partitions"))
    if len(partitions) > MAX_PARTITIONS_OF_OTHERS or any(one.file_system == "none" for one in partitions):
        raise StateError(
            f"only the installer of this roll makes the partitions of host {host.name}: others take at most "
            f"{MAX_PARTITIONS_OF_OTHERS}, and none without a file system"
        )
    return [_part(one, drive) for one in partitions]


def _part(partition: Partition, drive: str) -> str:
    place = partition.mount_point or "swap"
    kind = f" --fstype={partition.file_system}" if partition.mount_point else ""
    size = f" --size={partition.size_mib or 1024}"
    grow = " --grow" if partition.size_mib is None else ""
    return f"{place}{kind}{size}{grow} --ondisk={drive}"


def _network(host: Host, packaging: str) -> Value:
    """The first device with an address; DHCP where there is none."""
    try:
        devices = plan_network(host).devices
        device = next((one for one in devices if one.address), None)
        servers = ",".join(name_servers(host.attributes))
    except UserError as error:
        return StateError(str(error))
    if device is None:
        return f"--bootproto=dhcp --hostname={host.name}"
    address = ipaddress.IPv4Interface(device.address)
    options = [f"--bootproto=static --ip={address.ip} --netmask={address.netmask}"]
    options += [f"--gateway={device.gateway}"] if device.gateway else []
    options += [f"--nameserver={servers}"] if servers else []
    # a bond has the MAC addresses of its adapters; the profile sets it up
    mac = device.mac or next((one.mac for one in devices if one.channel == device.adapter), "")
    options += [f"--device={mac} --activate"] if packaging == "rpm" else []
    return " ".join([*options, f"--hostname={host.name}"])
