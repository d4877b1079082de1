"""What a host's network boot is answered with: which file, and what it says, from its next boot and actions. Pure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.cluster.records import BootAction

DEFAULT_FILE = "default"
"""What pxelinux reads for a machine that has no file of its own: one that is not known yet, and is to be installed."""

_HOSTED = "hosted vm"


class BootFacts(NamedTuple):
    """What is known of a host's boot. The address is that on the network private; addresses are IPv4 texts.

    `default_action` is the site's boot action `install`, by which machines that nobody knows are installed.
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


class BootFile(NamedTuple):
    """One file of the boot service's folder; without a recipe it is not to be there."""

    name: str
    host: str
    recipe: BootAction | None
    arguments: str


def boot_file(facts: BootFacts) -> BootFile | None:
    """The host's file; None for one that this site's boot service does not answer.

    That is a host without a private address, and a hosted VM, which boots inside its own cluster.
    """
    if facts.address is None or facts.membership.lower() == _HOSTED:
        return None
    recipe = facts.install_action if facts.next_boot == "install" else facts.run_action
    return BootFile(file_name(facts.address), facts.host, recipe, _arguments(facts, recipe))


def default_file(facts: BootFacts) -> BootFile:
    """The file for machines that have none of their own; it belongs to the frontend, which installs them."""
    recipe = facts.default_action
    said = (recipe.arguments or "") if recipe is not None else ""
    return BootFile(DEFAULT_FILE, facts.host, recipe, said)


def file_name(address: str) -> str:
    """By which pxelinux asks for a machine's file: its IPv4 address as upper-case hexadecimal digits."""
    return f"{int(ipaddress.IPv4Address(address)):08X}"


def _arguments(facts: BootFacts, recipe: BootAction | None) -> str:
    said = (recipe.arguments or "") if recipe is not None else ""
    if "ksdevice=" not in said:
        return said
    # An installer that is told its device does not ask DHCP for the rest.
    network = {
        "ip": facts.address,
        "gateway": facts.attributes.get("Kickstart_PrivateGateway"),
        "netmask": facts.netmask,
        "dns": facts.attributes.get("Kickstart_PrivateDNSServers", "").split(",")[0],
        "nextserver": facts.attributes.get("Kickstart_PrivateKickstartHost"),
    }
    return " ".join([said, *(f"{word}={value}" for word, value in network.items() if value)])
