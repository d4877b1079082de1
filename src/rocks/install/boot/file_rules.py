"""The boot file that answers a host's network boot, from its next boot and its boot actions. Pure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from rocks.inventory.attributes.known import value_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.inventory.records import BootAction

DEFAULT_FILE = "default"
"""The file that pxelinux reads for a machine without its own file: an unknown machine, which is to be installed."""

_HOSTED, _OUR_ACTION = "hosted vm", "install"


class BootFacts(NamedTuple):
    """The database's facts about the boot of a host. `address` is the IPv4 address on the network private.

    `default_action` is the site's boot action `install`, which installs unknown machines. `macs` are those from which
    the host asks for the address (`is_bmc`: its BMC does), `install_name` the name of the boot action that installs it,
    which need not exist.
    """

    host: str
    membership: str
    next_boot: str | None
    run_action: BootAction | None
    install_action: BootAction | None
    default_action: BootAction | None
    address: str | None
    netmask: str | None
    attributes: Mapping[str, str]
    macs: tuple[str, ...] = ()
    install_name: str | None = None
    is_virtual: bool = False
    is_bmc: bool = False


class BootFile(NamedTuple):
    """A file in the folder of the boot service; without a recipe the file must not exist."""

    name: str
    host: str
    recipe: BootAction | None
    arguments: str


def boot_file(facts: BootFacts) -> BootFile | None:
    """The file of a host; None for a host that the site's boot service does not serve.

    It does not serve hosts without a private address and hosted VMs, which boot inside their own cluster.
    """
    if facts.address is None or facts.membership.lower() == _HOSTED:
        return None
    return BootFile(file_name(facts.address), facts.host, *next_recipe(facts))


def is_served(facts: BootFacts) -> bool:
    """Whether the boot service of this roll gives the host an address: a physical host with IP and MAC addresses."""
    return bool(facts.address and facts.macs) and not facts.is_virtual and facts.membership.lower() != _HOSTED


def is_for_our_installer(facts: BootFacts) -> bool:
    """Whether the host is to be installed next, by the roll's own installer.

    That is the boot action `install` of hosts with deb packages. Other actions are what `rocks list bootaction` shows.
    """
    action = (facts.install_name or _OUR_ACTION).lower()
    packaging = value_in(facts.attributes, "packaging")
    return facts.next_boot == "install" and action == _OUR_ACTION and packaging == "deb"


def next_recipe(facts: BootFacts) -> tuple[BootAction | None, str]:
    """The boot action of the next boot, and its arguments for this host."""
    recipe = facts.install_action if facts.next_boot == "install" else facts.run_action
    return recipe, _arguments(facts, recipe)


def default_file(facts: BootFacts) -> BootFile:
    """The file for machines without their own file; `facts` are those of the frontend, which installs them."""
    recipe = facts.default_action
    arguments = (recipe.arguments or "") if recipe is not None else ""
    return BootFile(DEFAULT_FILE, facts.host, recipe, arguments)


def file_name(address: str) -> str:
    """The name under which pxelinux requests the file of a machine: its IPv4 address in upper-case hexadecimal."""
    return f"{int(ipaddress.IPv4Address(address)):08X}"


def _arguments(facts: BootFacts, recipe: BootAction | None) -> str:
    arguments = (recipe.arguments or "") if recipe is not None else ""
    if "ksdevice=" not in arguments:
        return arguments
    # An installer with a given device does not use DHCP for the other settings.
    network = {
        "ip": facts.address,
        "gateway": facts.attributes.get("Kickstart_PrivateGateway"),
        "netmask": facts.netmask,
        "dns": facts.attributes.get("Kickstart_PrivateDNSServers", "").split(",")[0],
        "nextserver": facts.attributes.get("Kickstart_PrivateKickstartHost"),
    }
    return " ".join([arguments, *(f"{name}={value}" for name, value in network.items() if value)])
