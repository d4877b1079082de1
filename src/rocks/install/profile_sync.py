"""Run the profiles of hosts on them, whole or a part: their network devices and routes, or what attributes change.

Of the network, only routes of systemd-networkd take effect at once, being separate files of their devices; addresses,
the default route, names, bridges and bonds wait for the boot, since they could cut off guests, iSCSI and the command
itself. `ip route replace` was refused: networkd does not know such a route, and loses it with the
carrier.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import HostError, RocksError, StateError
from rocks.install.graph.node_documents import of_rolls
from rocks.install.graph.profile import Profile, ProfileRequest, create_trees
from rocks.install.graph.shell import GENERATOR, shell_script
from rocks.install.graph.tags import reconfiguration_of
from rocks.install.graph_files import Library, shell_functions
from rocks.install.host_profiles import host_context, host_profile, load_sites, write_profile
from rocks.install.node_documents import graph_of
from rocks.inventory.attributes.records import resolve_attributes
from rocks.inventory.attributes.rules import OLD_SUFFIX, is_old
from rocks.inventory.attributes.secret_names import STARS, is_secret
from rocks.inventory.host_requests import open_fleet
from rocks.inventory.loaded_host_records import load_hosts, which_are_vms
from rocks.network.firewall.changes import sync_firewalls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rocks.database.connection import Database
    from rocks.fleet.fleet import CommandResult
    from rocks.install.host_profiles import HostOfSite
    from rocks.network.firewall.deployment import Loaded


NODE = "network"
"""The node of the graph with a host's devices."""

NETWORK_SECONDS = 120.0
PROFILE_SECONDS = 3600.0
"""A first run installs packages."""

THREADS = 32
_PRINTED_LINES = 30
_CHANGED = "changed: "
_LEFT = "left as it is: "
"""Beginnings of the lines in which a profile says what it does."""


class SyncedProfile(NamedTuple):
    """What was changed on a host, or left as it is, and what remains to be done there.

    `printed` are the last lines before an error. Of a profile that failed, `is_complete` is false.
    """

    changes: tuple[str, ...]
    warnings: tuple[str, ...]
    printed: tuple[str, ...] = ()
    is_complete: bool = True


def sync_profiles(
    database: Database, hosts: Sequence[str]
) -> Iterator[tuple[str, SyncedProfile | RocksError]]:
    """(host, its changes or its error), as the hosts end; of a profile that failed, its changes and then its error."""
    yield from _run_scripts(database, hosts, write_profile, PROFILE_SECONDS)


def sync_networks(
    database: Database, hosts: Sequence[str]
) -> Iterator[tuple[str, SyncedProfile | RocksError]]:
    """As `sync_profiles`, for the part of the profile with the network devices.

    Nothing is restarted: routes are set at once, other changes wait for the host's next boot.
    """
    yield from _run_scripts(database, hosts, network_script, NETWORK_SECONDS)


def _run_scripts(
    database: Database,
    hosts: Sequence[str],
    script_of: Callable[[HostOfSite, Library], str],
    seconds: float,
) -> Iterator[tuple[str, SyncedProfile | RocksError]]:
    """Run each host's script; the errors of `script_of` come first, before any host is asked."""
    library = Library(None)
    scripts, failed = dict[str, str](), dict[str, RocksError]()
    for site in load_sites(database, hosts):
        try:
            scripts[site.host.name] = script_of(site, library)
        except RocksError as error:
            failed[site.host.name] = error
    yield from failed.items()
    if not scripts:
        return
    with open_fleet(database, list(scripts)) as fleet:
        database.commit()
        for result in fleet.run_scripts(scripts, seconds, threads=THREADS):
            for outcome in _outcomes(result, seconds):
                yield result.host, outcome


def sync_rules(database: Database, hosts: Sequence[str]) -> Iterator[tuple[str, Loaded | RocksError]]:
    """(host, what became of its firewall rules or its error) of the hosts whose attribute `firewall` is true.

    Virtual machines are left out: their firewall is their owner's.
    """
    machines = set(which_are_vms(database, hosts))
    chosen = [host.name for host in load_hosts(database, hosts) if host.is_true("firewall")]
    for firewall, result in sync_firewalls(database, [name for name in chosen if name not in machines]):
        yield firewall.host, result


def network_script(site: HostOfSite, library: Library) -> str:
    """The part of the host's profile that sets up its devices, as a script.

    StateError when its profile has no such part.
    """
    profile, packaging = host_profile(site, library)
    nodes = tuple(node for node in profile.nodes if node.name == NODE)
    if not nodes:
        raise StateError(
            f"the profile of host {site.host.name} sets up no network devices: it needs an interface with a MAC "
            "address (rocks list host interface), its appliance the node network (rocks list host graph), and the "
            "attribute host_network must not be no"
        )
    return shell_script(Profile(profile.host, nodes), shell_functions(), packaging, "rocks sync host network")


def _outcomes(result: CommandResult, seconds: float) -> Iterator[SyncedProfile | RocksError]:
    if result.state == "timeout":
        yield HostError(f"host {result.host} did not end within {seconds:g} s")
        return
    if result.state != "done":
        yield HostError(f"host {result.host} cannot be asked: {result.message or result.state}")
        return
    errors = [line for line in result.error_output.splitlines() if line.strip()]
    lines = (line.removeprefix(f"{result.host}: ") for line in result.output.splitlines())
    changes = tuple(line.removeprefix(_CHANGED) for line in lines if line.startswith((_CHANGED, _LEFT)))
    begin = f"Warning: {result.host}: "
    if result.exit_status == 0:
        yield SyncedProfile(changes, tuple(line.removeprefix(begin) for line in errors))
        return
    last = errors.pop() if errors else f"exit status {result.exit_status}"
    warnings = tuple(line.removeprefix(begin) for line in errors if line.startswith(begin))
    printed = [line for line in errors if not line.startswith(begin)]
    yield SyncedProfile(changes, warnings, tuple(printed[-_PRINTED_LINES:]), is_complete=False)
    yield HostError(f"host {result.host}: {last.removeprefix(f'Error: {result.host}: ')}")


# The script that follows changed attributes on a running frontend: sections of the phase `reconfigure`.


_ORIGIN = "rocks run reconfigure"


def reconfigure_script(database: Database, host: str, rolls: Sequence[str]) -> str:
    """The script for a host, of the nodes of these rolls, or of all. An entity without a value is an empty text.

    StateError for a missing or invalid graph or node file.
    """
    (site,) = load_sites(database, [host])
    context = replace(host_context(site), is_lenient=True)
    library = Library()
    request = ProfileRequest(host, site.appliance.node, GENERATOR, context)
    trees = create_trees(request, graph_of(library, context.attributes["graph"]), library.node_files, library)
    nodes = tuple(reconfiguration_of(tree, context) for tree in of_rolls(trees, tuple(rolls)))
    changing = tuple(node for node in nodes if node.sections)
    return shell_script(Profile(host, changing), shell_functions(), context.attributes["packaging"], _ORIGIN)


def changed_attributes(database: Database, host: str) -> list[tuple[str, str, str]]:
    """(attribute, old value, value) of the host's attributes with an old value, by name; secrets are stars."""
    found = {
        name.lower(): (name, one.value) for name, one in resolve_attributes(database, [host])[host].items()
    }
    rows = []
    for key, (name, old) in sorted(found.items()):
        if is_old(key):
            base = name[: -len(OLD_SUFFIX)]
            value = found.get(base.lower(), ("", ""))[1]
            rows.append((base, STARS, STARS) if is_secret(base) else (base, old, value))
    return rows
