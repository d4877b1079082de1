"""The profile of a host as a script, from its attributes in the database and its nodes in the graph.

Where the site signs its distribution, the profile brings hosts the public key, from the frontend's own folder
and not from the distribution, whose author could exchange both; apt and dnf then require it, and an unsigned
distribution is no source. Single packages are not signed: the signed lists have their checksums.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.core.dataclasses import dataclass
from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.core.version import rocks_version_attributes
from rocks.install.boot.actions import read_boot_flags
from rocks.install.graph.document import HostContext
from rocks.install.graph.profile import ProfileRequest, create_profile, read_graph
from rocks.install.graph.shell import GENERATOR, files_text, shell_script
from rocks.install.graph_files import DEFAULT_GRAPH, Library, check_sections, shell_functions
from rocks.install.installation.plan import installer_values, with_boot_flags
from rocks.install.profile_values import (
    DEFAULT_ARCHITECTURE,
    ServedDistribution,
    distribution_values,
    effective_attributes,
    network_value,
    pool_values,
    split_values,
)
from rocks.install.rolls.distribution import Distributions
from rocks.inventory.addresses import choose_address
from rocks.inventory.appliances import load_appliances
from rocks.inventory.host_records import find_local_host, names_like
from rocks.inventory.records import PRIVATE_NETWORK
from rocks.machine.placement import PAGE_SIZES_KB, read_page_reserve
from rocks.network.firewall.changes import firewall_texts
from rocks.network.firewall.nft import UNIT_TEXT
from rocks.network.host_network_files import SERVICES, file_permissions, network_files, removal_text
from rocks.network.host_network_plan import boot_mac, plan_network, unreachable_routes
from rocks.network.host_network_records import load_host_networks
from rocks.network.networks import load_networks
from rocks.storage.broker.definitions import BrokerPlace, advanced_config, enabled_plugins, rabbitmq_conf
from rocks.storage.volumes.settings import (
    FRONTEND_APPLIANCE,
    RequestedSettings,
    configuration_text,
    daemon_settings,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rocks.database.connection import Database
    from rocks.install.graph.profile import Profile
    from rocks.install.profile_values import Value
    from rocks.inventory.appliances import Appliance
    from rocks.inventory.records import Host, Network


@dataclass(frozen=True)
class HostOfSite:
    """A host with its interfaces, its appliance, and the networks and frontend of the site.

    `frontend` is the host of this machine, '' when it is not in the database. `firewall` is the file with its rules,
    None when its attribute `firewall` is not true.
    """

    host: Host
    appliance: Appliance
    networks: tuple[Network, ...]
    frontend: str
    distribution: ServedDistribution = ServedDistribution()
    firewall: Value | None = None


def load_sites(database: Database, names: Sequence[str], with_profile: bool = False) -> list[HostOfSite]:
    """The named hosts, in a fixed number of statements; `with_profile`: only those that have a profile.

    StateError for a host without a profile: its appliance has no root, or it is the frontend of a virtual cluster.
    """
    hosts = load_host_networks(database, names)
    named = list(dict.fromkeys(host.appliance for host in hosts if host.appliance))
    appliances = {one.name: one for one in load_appliances(database, named)}
    networks = tuple(load_networks(database, names_like(database, "subnets", ())[0]))
    frontend = find_local_host(database) or ""
    distributions = Distributions(database, frontend)
    flags, own_flags = read_boot_flags(database)
    firewalls = firewall_texts(database, [host.name for host in hosts if host.is_true("firewall")])
    database.end_reading()  # node files may have programs to be run
    faults = {host.name: _profile_fault(host, appliances.get(host.appliance)) for host in hosts}
    if with_profile:
        hosts = [host for host in hosts if not faults[host.name]]
    elif fault := next(filter(None, faults.values()), ""):
        raise StateError(fault)
    return [
        HostOfSite(
            replace(
                host,
                attributes=with_boot_flags(host.attributes, own_flags.get(host.name.lower(), flags)),
            ),
            appliances[host.appliance],
            networks,
            frontend,
            distributions.of_host(host, appliances[host.appliance].distribution),
            firewalls.get(host.name),
        )
        for host in hosts
    ]


def _profile_fault(host: Host, appliance: Appliance | None) -> str:
    """Why a host has no profile; '' for one that has."""
    if appliance is None or not appliance.node:
        return (
            f"host {host.name} has no profile: its appliance {host.appliance or '(none)'} has no root "
            "in the graph; see rocks list appliance"
        )
    if host.is_virtual and appliance.name == FRONTEND_APPLIANCE:
        return (
            f"host {host.name} has no profile: it is the frontend of a virtual cluster, and that of its appliance is "
            f"for a physical one; see rocks list cluster {host.name}"
        )
    return ""


def shell_profile(database: Database, name: str, base: Path | None) -> str:
    """The script that brings a running host to the state of the graph; a second run changes nothing.

    `base` is a folder with graphs and nodes instead of the installed ones. Errors as of `write_profile`.
    """
    (site,) = load_sites(database, [name])
    return write_profile(site, Library(base))


def write_profile(site: HostOfSite, library: Library) -> str:
    """The script for a host. StateError for a missing or invalid graph or node file, for a value in a node file that
    the host does not have, and for a section of the site that bash cannot read.
    """
    profile, packaging = host_profile(site, library)
    return shell_script(profile, shell_functions(), packaging)


def host_profile(site: HostOfSite, library: Library) -> tuple[Profile, str]:
    """The nodes of a host, in order, and its kind of packages: deb or rpm. Errors as of `write_profile`."""
    context = host_context(site)
    graph = read_graph(library.graph_files(context.attributes["graph"]))
    request = ProfileRequest(site.host.name, site.appliance.node, GENERATOR, context)
    profile = create_profile(request, graph, library.node_files, library)
    own = {str(path) for path in library.site_nodes()}
    # those of this roll are tested; a broken one would fail on the host, behind nodes that have run
    check_sections(node for node in profile.nodes if node.place in own)
    return profile, context.attributes["packaging"]


def host_context(site: HostOfSite) -> HostContext:
    """The attributes and entities of a host, and why it has no value for others."""
    values, missing = split_values(_values(site))
    return HostContext(values, values, missing)


def _values(site: HostOfSite) -> dict[str, Value]:
    """Attributes and entities of the host; checked and computed values override attributes."""
    attributes = effective_attributes(site.host)
    values: dict[str, Value] = {
        **attributes,
        **distribution_values(site.distribution, site.host, attributes["packaging"]),
        **network_values(site.host, attributes["packaging"]),
        **installer_values(site.host, attributes["packaging"]),
        **_identity(site),
        **pool_values(site.host),
        **_huge_page_values(site.host),
        **_storage_values(site),
        **_firewall_values(site),
    }
    address = values["hostaddr"]
    place = BrokerPlace((address if isinstance(address, str) else "0.0.0.0",))
    return values | {
        "broker_configuration": rabbitmq_conf(place).rstrip("\n"),
        "broker_advanced_configuration": advanced_config(place).rstrip("\n"),
        "broker_plugins": enabled_plugins().rstrip("\n"),
    }


def _identity(site: HostOfSite) -> dict[str, Value]:
    """The entities of every host; its addresses are those on the network private."""
    host, appliance = site.host, site.appliance
    address = choose_address(host.interfaces, PRIVATE_NETWORK)
    on_private = [one for one in host.interfaces if one.subnet == PRIVATE_NETWORK and not one.is_bmc]
    on_private.sort(key=lambda one: one.ip != address)
    mac = next(filter(None, (boot_mac(one, host.interfaces) for one in on_private)), None)
    none = f"host {host.name} has no interface with %s; see rocks list host interface {host.name}"
    return {
        "hostname": host.name,
        "hostaddr": address or StateError(none % "an address"),
        "ksmac": mac or StateError(none % "a MAC address on the network private"),
        "arch": host.attributes.get("arch") or DEFAULT_ARCHITECTURE,
        "os": appliance.os,
        "release": host.attributes.get("release") or rocks_version_attributes()["rocks_release"],
        "graph": appliance.graph or DEFAULT_GRAPH,
        "distribution": appliance.distribution,
        "membership": host.membership,
        "root": appliance.node,
    }


def _firewall_values(site: HostOfSite) -> dict[str, Value]:
    """The rules of the host, and the unit that loads them."""
    name = site.host.name
    rules = site.firewall
    if rules is None:
        rules = StateError(f"host {name} has no rules in force: rocks set host attr {name} firewall true")
    return {
        "firewall_rules": rules.rstrip("\n") if isinstance(rules, str) else rules,
        "firewall_unit": UNIT_TEXT.rstrip("\n"),
    }


def _storage_values(site: HostOfSite) -> dict[str, Value]:
    """The configuration of the image storage daemons, and their network."""
    zone = next((network.dns_zone for network in site.networks if network.name == PRIVATE_NETWORK), "")
    try:
        settings = daemon_settings(site.host, site.frontend, zone, RequestedSettings())
    except StateError as error:
        return {"imgstorage_configuration": error, "storage_network": error}
    of_zone = [network for network in site.networks if network.dns_zone.lower() == settings.network.lower()]
    return {
        "imgstorage_configuration": configuration_text(settings),
        "storage_network": network_value(site.host, settings.network, of_zone[0] if of_zone else None),
    }


def network_values(host: Host, packaging: str) -> dict[str, Value]:
    """The commands of bash that write the files of the host's devices; without devices it has none."""
    service = SERVICES.get(packaging, SERVICES["deb"])
    devices, left_out = plan_network(host)
    warnings = [_warning(one.text) for one in left_out]
    if not devices and left_out:
        return {"network_service": service, "network_script": "\n".join(warnings)}
    if not devices:
        none = StateError(f"host {host.name} has no device with a MAC address: rocks set host interface mac")
        return {"network_service": service, "network_script": none}
    files = network_files(devices, packaging)
    places = [(path, text, file_permissions(path)) for path, text in files.items()]
    lines = [
        files_text(places),
        removal_text(devices, packaging, [one.device for one in left_out if one.device]),
        "rocks_network",
        *warnings,
    ]
    lines += [
        _warning(
            f"the route to {route.destination} is left out, for no device is on the network of its gateway "
            f"{route.gateway}: rocks list host interface {host.name}"
        )
        for route in unreachable_routes(host, devices)
    ]
    return {"network_service": service, "network_script": "\n".join(lines)}


def _warning(text: str) -> str:
    return f"rocks_warn {shlex.quote(text)}"


def _huge_page_values(host: Host) -> dict[str, Value]:
    """`huge_pages`: lines for systemd-tmpfiles that write the numbers; StateError without vm_hugepages."""
    text = host.attribute("vm_hugepages")
    try:
        reserved = read_page_reserve(text)
    except UserError as error:
        problem = f'the attribute vm_hugepages of host {host.name} cannot have the value "{printable(text)}": {error}'
        return {"huge_pages": StateError(problem)}
    if not reserved:
        return {"huge_pages": StateError(f"host {host.name} reserves no huge pages: it has no vm_hugepages")}
    lines = []
    for one in reserved:
        place = "/sys/kernel/mm" if one.node is None else f"/sys/devices/system/node/node{one.node}"
        file = f"{place}/hugepages/hugepages-{PAGE_SIZES_KB[one.size]}kB/nr_hugepages"
        lines.append(f"w {file} - - - - {one.pages}")
    return {"huge_pages": "\n".join(lines)}
