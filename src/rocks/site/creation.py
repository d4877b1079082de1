"""The schema of the database and the first records of a site: its frontend, networks and attributes, by answers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rocks.core.errors import StateError, UserError
from rocks.core.files import open_plain
from rocks.database.migrate import MigrationReport, bring_up_to_date
from rocks.fleet.connection import FleetSettings
from rocks.fleet.first_contact import ensure_own_key
from rocks.install.profile_values import REST_DISKS
from rocks.inventory.attributes.changes import set_attribute
from rocks.inventory.attributes.records import global_attributes
from rocks.inventory.hosts import add_host
from rocks.inventory.loaded_host_records import physical_hosts
from rocks.inventory.new_host_parameters import HostParameters
from rocks.machine.record import insert_default_route
from rocks.network.interfaces import InterfaceParameters, add_interface, list_interfaces
from rocks.network.networks import add_network, load_networks, network_names
from rocks.site.questions import read_answers_text
from rocks.trust.audit import repair_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rocks.database.connection import Database
    from rocks.inventory.records import Network
    from rocks.site.questions import SitePlan


_FRONTEND = "Kickstart_PrivateHostname"
_MEMBERSHIP = "Frontend"
_LARGEST_BYTES = 64 * 1024
_DEFAULTS = (
    ("global", "global", "vm_image_directory", "/var/lib/rocks-images"),
    ("appliance", "nas", "img_zpools", "tank"),
    ("appliance", "nas", "img_zpool_disks", REST_DISKS),
    ("appliance", "vm-container", "install_partitions", "root:40:ext4:/ swap:4:swap pool:rest:none"),
    ("appliance", "vm-container", "img_sync", "yes"),
    ("appliance", "vm-container", "img_storage_part_zfs_mirror", "yes"),
    ("appliance", "vm-container", "vm_container_zpool_disks", "/dev/disk/by-partlabel/pool"),
)
"""(scope, member, attribute, value) of a new site: images are on NASes and copied to hosts, each with its own pool.

They are records and no defaults of the programs: a site that is there keeps what it has, and any may be removed.
"""


def read_answers_file(file: str) -> SitePlan:
    """The site of a file of lines NAME = VALUE. UserError, with every line that is wrong, when it cannot be used."""
    try:
        return read_answers_text(_read_text(file))
    except OSError as error:
        raise UserError(
            f"cannot read the answers in {file}: {error.strerror}; give a file of lines NAME = VALUE"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"cannot read the answers in {file}: they are not UTF-8 text") from None
    except UserError as error:
        raise UserError(f"the answers in {file} are not those of a site: {error}") from None


def _read_text(file: str) -> str:
    with open_plain(file) as opened:
        data = opened.read(_LARGEST_BYTES + 1)
    if len(data) > _LARGEST_BYTES:
        raise UserError(f"it has more than {_LARGEST_BYTES // 1024} KiB; give a file of lines NAME = VALUE")
    return data.decode("utf-8")


def create_site(database: Database, plan: SitePlan) -> bool:
    """Enter the site, and make the SSH key by which it reaches its hosts; whether the site is new.

    The same site again changes nothing, except that a key that is missing is made.

    StateError, and no change, when the database has another site.
    """
    present = global_attributes(database)
    if present.get(_FRONTEND):
        _check_same(database, plan, present)
        ensure_own_key(FleetSettings())
        return False
    taken = physical_hosts(database)
    if taken:
        raise StateError(
            f"the database has hosts ({', '.join(taken[:3])}), but the attribute {_FRONTEND} does not name the "
            f"frontend: run rocks set attr {_FRONTEND} NAME"
        )
    _enter(database, plan)
    ensure_own_key(FleetSettings())
    return True


def _enter(database: Database, plan: SitePlan) -> None:
    networks = load_networks(database, network_names(database))
    existing = {network.name: network for network in networks}
    for network in plan.networks:
        if network.name not in existing:
            add_network(database, network)
        elif _addresses(existing[network.name]) != _addresses(network):
            raise StateError(
                f"the network {network.name} exists with other addresses: {existing[network.name].subnet} netmask "
                f"{existing[network.name].netmask}; run rocks remove network {network.name}, or correct the answers"
            )
    cpus = str(os.cpu_count() or 1)
    add_host(database, HostParameters(plan.frontend, _MEMBERSHIP, cpus, "0", "0"))
    for interface in plan.interfaces:
        add_interface(
            database,
            plan.frontend,
            InterfaceParameters(interface.device, ip=interface.ip, subnet=interface.subnet),
        )
    gateway = plan.attributes.get("Kickstart_PublicGateway")
    if gateway:
        insert_default_route(database, plan.frontend, gateway)
    for scope, member, name, value in _DEFAULTS:
        set_attribute(database, scope, [member], name, value)
    for name, value in plan.attributes.items():
        set_attribute(database, "global", ["global"], name, value)


def _addresses(network: Network) -> tuple[str, str]:
    return network.subnet, network.netmask


def _check_same(database: Database, plan: SitePlan, present: Mapping[str, str]) -> None:
    """StateError that lists what differs from the answers, each with the command that changes it."""
    differing = [
        f"{name} is {present.get(name) or 'not set'} and not {value} (rocks set attr {name} {value})"
        for name, value in plan.attributes.items()
        if name.startswith("Kickstart_") and present.get(name) != value
    ]
    frontend = present[_FRONTEND]
    devices = {str(row[4]): str(row[2]) for row in list_interfaces(database, [frontend])}
    for interface in plan.interfaces:
        add = f"rocks add host interface {frontend} {interface.device} ip={interface.ip} subnet={interface.subnet}"
        device = devices.get(interface.ip)
        if device is None:
            differing.append(f"the frontend has no interface with {interface.ip} ({add})")
        elif device != interface.device:
            remove = f"rocks remove host interface {frontend} {device}"
            differing.append(
                f"{interface.ip} is on {device} and not {interface.device} ({remove}, then {add})"
            )
    if differing:
        raise StateError(
            "this database has a site already, and nothing was changed; it differs from the answers: "
            + "; ".join(differing)
        )


# Migrate the cluster database to the schema of these programs.


def update_database(
    database: Database, notify: Callable[[str], None], always_copy: bool = False
) -> MigrationReport:
    """Create or upgrade the schema; `notify` receives a line at each step. Errors as of `bring_up_to_date`.

    With `always_copy`, a database with a schema is copied first even if the schema is current.

    It uses its own connection, because definitions of tables are not part of a transaction. A damaged audit log is
    repaired, so that changes are possible again.
    """
    done = bring_up_to_date(database.settings, report=notify, always_copy=always_copy)
    damage = repair_log(database)
    if damage:
        notify(
            f"repaired: {damage}; compare the log with the journal: rocks check audit, journalctl -t rocksaudit"
        )
    return done
