"""The script that follows changed attributes on a running frontend: sections of the phase `reconfigure`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rocks.install.graph.node_documents import of_rolls
from rocks.install.graph.profile import Profile, ProfileRequest, create_trees
from rocks.install.graph.shell import GENERATOR, shell_script
from rocks.install.graph.tags import reconfiguration_of
from rocks.install.graph_files import Library, shell_functions
from rocks.install.host_profiles import host_context, load_sites
from rocks.install.node_documents import graph_of
from rocks.inventory.attributes.records import resolve_attributes
from rocks.inventory.attributes.rules import OLD_SUFFIX, is_old
from rocks.inventory.attributes.secret_names import STARS, is_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

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
