"""What the migrations put into every database, so that a dump is replayed onto it, and how this database differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.inventory.appliances import Appliance, load_appliances
from rocks.inventory.boot_records import list_boot_actions
from rocks.inventory.host_records import names_like

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rocks.database.connection import Database


FIRST_DISTRIBUTION = "rocks-dist"
FIRST_GRAPH = "default"
FIRST_BOOT_ACTIONS = ("os", "install", "install notracker", "install vm frontend")
MADE_WITH_APPLIANCE = frozenset(("kickstartable", "dhcp_filename", "dhcp_nextserver"))
"""Attributes that `rocks add appliance` sets."""


class FirstAppliance(NamedTuple):
    """An appliance as the migrations enter it; graph, system and distribution are the same for all."""

    node: str
    membership: str
    is_public: bool
    attributes: Mapping[str, str]


_INSTALLED = {"kickstartable": "yes", "dhcp_filename": "pxelinux.0"}
FIRST_APPLIANCES = {
    "frontend": FirstAppliance(
        "server", "Frontend", False, _INSTALLED | {"managed": "false", "primary_net": "public"}
    ),
    "compute": FirstAppliance("compute", "Compute", True, _INSTALLED | {"managed": "true"}),
    "login": FirstAppliance("login", "Login", True, _INSTALLED),
    "nas": FirstAppliance("nas", "NAS Appliance", True, _INSTALLED | {"managed": "true"}),
    "network": FirstAppliance("", "Ethernet Switch", True, {"kickstartable": "no", "managed": "false"}),
    "power": FirstAppliance("", "Power Distribution Unit", True, {"kickstartable": "no", "managed": "false"}),
    "vm-container": FirstAppliance(
        "client", "VM Container", True, _INSTALLED | {"managed": "true", "kvm": "true"}
    ),
    "hosted-vm": FirstAppliance("", "Hosted VM", False, {"kickstartable": "no"}),
}
_OF_LINUX = {
    "HttpRoot": "/var/www/html",
    "HttpConf": "/etc/httpd/conf",
    "HttpConfigDirExt": "/etc/httpd/conf.d",
    "RootDir": "/root",
}
_OF_SUNOS = {
    "HttpRoot": "/var/apache2/2.2/htdocs",
    "HttpConf": "/etc/apache2/2.2",
    "HttpConfigDirExt": "/etc/apache2/2.2/conf.d",
    "RootDir": "/",
}
FIRST_ATTRIBUTES: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("global", "global"): {"cpu_mode": "host-passthrough"},
    ("os", "linux"): _OF_LINUX,
    ("os", "sunos"): _OF_SUNOS,
    **{("appliance", name): one.attributes for name, one in FIRST_APPLIANCES.items()},
}
"""(scope, member) → its attributes."""


def first_names(scope: str) -> list[str]:
    """The attributes that members of a scope have before a dump is replayed, also new appliances."""
    names = {name for (of, _), values in FIRST_ATTRIBUTES.items() if of == scope for name in values}
    return sorted(names | (MADE_WITH_APPLIANCE if scope == "appliance" else set()))


def other_appliances(database: Database) -> list[str]:
    """The appliances that an empty database does not have in the same form, in the database's order."""
    return [one.name for one in _appliances(database) if not _is_first(one)]


def changed_appliances(database: Database) -> list[str]:
    """The appliances of an empty database that this one does not have, or has in another form."""
    same = {one.name for one in _appliances(database) if _is_first(one)}
    return [name for name in FIRST_APPLIANCES if name not in same]


def missing_boot_actions(database: Database) -> list[str]:
    """The boot actions of an empty database that this one does not have."""
    present = {str(row[0]).lower() for row in list_boot_actions(database)}
    return [name for name in FIRST_BOOT_ACTIONS if name.lower() not in present]


def _appliances(database: Database) -> list[Appliance]:
    return load_appliances(database, names_like(database, "appliances", ())[0])


def _is_first(one: Appliance) -> bool:
    first = FIRST_APPLIANCES.get(one.name)
    return first is not None and one == Appliance(
        one.name,
        FIRST_GRAPH,
        first.node,
        "linux",
        first.membership,
        FIRST_DISTRIBUTION,
        first.is_public,
    )
