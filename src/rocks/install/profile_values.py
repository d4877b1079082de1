"""Values that node files may use besides attributes, and attributes that are checked before a script contains them.
Pure.

A value is a text, or a StateError that explains why the host has no value. The error is raised only when a node file
uses the value.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import StateError, UserError
from rocks.storage.volumes.places import check_pool_name
from rocks.storage.volumes.settings import storage_roles
from rocks.storage.wire import names as queues

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.inventory.records import Host, Network

_DISK = re.compile(r"/dev/[A-Za-z0-9_.:+@/-]+", re.ASCII)
MAX_DISKS = 2
MAX_NAS_DISKS = 64
REST_DISKS = "rest"
"""All disks of a NAS but its system's; `rocks_pool` finds them there."""

_ROLE_ATTRIBUTES = {"img_storage_nas": queues.NAS, "img_storage_vm": queues.HOST}

DEFAULT_DISTRIBUTION, DEFAULT_ARCHITECTURE = "rocks-dist", "x86_64"
"""What an appliance and a host have that name no other."""

Value = str | StateError

_PACKAGES_PLACE = {"deb": "/Debian", "rpm": ""}


class ServedDistribution(NamedTuple):
    """The distribution that the frontend serves to a host; all fields are empty when it has built none for it.

    `server` is a name or address. `folder` is below the server's `/install/distro`: NAME/ARCH. `authority` is the
    certificate, as PEM, that signs the server's. `key` is the OpenPGP key, in ASCII, that signs the distribution, ''
    when the site signs none. `problem` says why a distribution that is there is not served.
    The frontend itself has its distribution in `own_folder`, and no other field.
    """

    server: str = ""
    folder: str = ""
    authority: str = ""
    problem: str = ""
    key: str = ""
    own_folder: str = ""


def effective_attributes(host: Host) -> dict[str, str]:
    """The attributes of a host with defaults for conditions: its storage roles and the kind of its packages."""
    roles = storage_roles(host.attributes)
    found = dict(host.attributes)
    for name, role in _ROLE_ATTRIBUTES.items():
        if not found.get(name):
            found[name] = "true" if role in roles else "false"
    found["packaging"] = host.attribute("packaging")
    return found


def pool_values(host: Host) -> dict[str, Value]:
    """Names of pools, and the disks of one pool; several names are separated by blanks."""
    own_pool = host.attribute("vm_container_zpool")
    return {
        "vm_container_zpool": _pools(host, "vm_container_zpool", [own_pool]),
        "img_zpools": _pools(host, "img_zpools", host.attribute("img_zpools").split(",")),
        "vm_container_zpool_layout": _layout(host, "vm_container_zpool_disks", MAX_DISKS),
        "img_zpool_layout": _layout(host, "img_zpool_disks", MAX_NAS_DISKS),
    }


def distribution_values(distribution: ServedDistribution, host: Host, packaging: str) -> dict[str, Value]:
    """Where the host finds its packages, and how it recognises the server; without a distribution no value is valid.

    Of the frontend, only the place on its own disk is.
    """
    packages = _PACKAGES_PLACE.get(packaging, "")
    if not distribution.server or distribution.problem:
        none = StateError(
            f"the frontend has no distribution for host {host.name}: rocks create distro, in the folder of "
            "rocks report distro"
        )
        values: dict[str, Value] = dict.fromkeys(
            ("distribution_url", "distribution_server", "site_authority", "distribution_key"), none
        )
        own = distribution.own_folder
        place: Value = f"{own}{packages}" if own else none
        return values | {"distribution_place": place, "distribution_problem": distribution.problem or none}
    return {
        "distribution_url": f"https://{distribution.server}/install/distro/{distribution.folder}{packages}",
        "distribution_place": StateError("only the frontend has its distribution on its own disk"),
        "distribution_server": distribution.server,
        "site_authority": distribution.authority.rstrip("\n"),
        "distribution_key": distribution.key.rstrip("\n") or StateError("this site signs no distribution"),
        "distribution_problem": StateError("the distribution is served"),
    }


def network_value(host: Host, zone: str, network: Network | None) -> Value:
    """The network of the storage zone with its prefix length; StateError when the database has none."""
    if network is None:
        return StateError(
            f"no network has the zone {zone}, in which host {host.name} has its storage address; add it with "
            f"rocks add network, dnszone={zone}"
        )
    try:
        return str(ipaddress.IPv4Network(f"{network.subnet}/{network.netmask}"))
    except ValueError:
        return StateError(
            f"the network {network.name} has the subnet {network.subnet} and the netmask {network.netmask}, which are "
            "not valid together; correct them with rocks set network"
        )


def split_values(values: Mapping[str, Value]) -> tuple[dict[str, str], dict[str, str]]:
    """(the valid values, the error texts of the others)."""
    valid = {name: value for name, value in values.items() if isinstance(value, str)}
    return valid, {name: str(value) for name, value in values.items() if isinstance(value, StateError)}


def _pools(host: Host, attribute: str, texts: list[str]) -> Value:
    names = [text.strip() for text in texts if text.strip()]
    try:
        for name in names:
            check_pool_name(name)
    except UserError as error:
        return StateError(f"the attribute {attribute} of host {host.name} is not valid: {error}")
    return " ".join(names)


def check_pool_disks(text: str, most: int) -> None:
    """UserError unless the text has the paths of one disk, or of pairs of disks up to `most`, separated by blanks.

    Those of a NAS may be `rest`.
    """
    if text == REST_DISKS and most == MAX_NAS_DISKS:
        return
    disks = text.split()
    fitting = all(_DISK.fullmatch(disk) and ".." not in disk for disk in disks)
    is_number = len(disks) == 1 or (len(disks) % 2 == 0 and 0 < len(disks) <= most)
    if not is_number or len(set(disks)) < len(disks) or not fitting:
        number = "one or two disks" if most == MAX_DISKS else f"one disk, or an even number up to {most}"
        raise UserError(f"must be {number}, such as /dev/disk/by-id/NAME, separated by a blank")


def _layout(host: Host, attribute: str, most: int) -> Value:
    """The arguments of `zpool create`: one disk, or `mirror` before each two of several."""
    text = host.attribute(attribute)
    try:
        check_pool_disks(text, most)
    except UserError as error:
        return StateError(f"the attribute {attribute} of host {host.name} {error}")
    disks = text.split()
    if len(disks) == 1:
        return disks[0]
    return " ".join(f"mirror {one} {other}" for one, other in zip(disks[::2], disks[1::2], strict=True))
