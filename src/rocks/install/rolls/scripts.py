"""The script that brings a running host to what some rolls make of it, and its execution on this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import StateError, ToolError, UserError
from rocks.core.process import run_interactively
from rocks.core.version import ROLL_NAME
from rocks.install.graph.profile import Profile
from rocks.install.graph.shell import shell_script
from rocks.install.graph_files import Library, own_folders, shell_functions
from rocks.install.host_profiles import host_profile, load_sites
from rocks.install.rolls.package_files import newest_per_name, read_package
from rocks.install.rolls.rolls import load_contents
from rocks.inventory.host_records import find_local_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database

_START = "rocks_profile </dev/null\n"
_INSTALL = """
# A package that the roll brings is installed from its file; what it depends on comes from the repositories.
rocks_roll_deb() {
  [[ $(dpkg-query -W -f '${db:Status-Abbrev}' -- "$1" 2>/dev/null) == ?i* ]] ||
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 --no-install-recommends install -- "$2"
}
rocks_roll_rpm() { rpm -q --quiet -- "$1" || dnf -y -q install -- "$2"; }
"""


def roll_script(database: Database, names: Sequence[str], host: str) -> str:
    """The script of those nodes of a host that are of these rolls, in the order of its graph, with their packages.

    UserError for a roll that is not enabled, StateError as of `write_profile` and for a host without a node of them.
    """
    ours = [name for name in names if name.lower() == ROLL_NAME]
    others = [name for name in names if name.lower() != ROLL_NAME]
    contents = load_contents(database, others) if others else []
    folders = [folder for folder, _ in contents] + (own_folders() if ours else [])
    is_local = find_local_host(database) == host
    (site,) = load_sites(database, [host])
    profile, packaging = host_profile(site, Library())
    nodes = [
        node
        for node in profile.nodes
        if any(Path(node.place).absolute().is_relative_to(folder.absolute()) for folder in folders)
    ]
    if not nodes:
        raise StateError(
            f"no node of {', '.join(names)} applies to host {host}: the edges of the rolls lead from other nodes, or "
            f"their conditions do not hold; rocks report host profile {host} names its nodes"
        )
    script = shell_script(Profile(profile.host, tuple(nodes)), shell_functions(), packaging)
    if not is_local:
        return script
    named = {package.name for node in nodes for package in node.packages if not package.is_excluded}
    files = [path for _, content in contents for path in content.packages]
    lines = [
        f"rocks_roll_{one.kind} {shlex.quote(one.name)} {shlex.quote(str(one.path.absolute()))}\n"
        for one in newest_per_name(map(read_package, files))
        if one.kind == packaging and one.name in named
    ]
    return script.removesuffix(_START) + "".join([_INSTALL, *lines] if lines else []) + _START


def run_here(database: Database, names: Sequence[str], host: str) -> None:
    """Run the script of the rolls on this machine, with its output on the terminal.

    UserError when the host is not this machine, ToolError when the script fails.
    """
    if find_local_host(database) != host:
        raise UserError(
            f"dryrun=no is for this machine, and {host} is another one: "
            f"rocks run roll {' '.join(names)} host={host} | ssh root@{host} bash"
        )
    script = roll_script(database, names, host)
    database.end_reading()
    status = run_interactively(["bash"], script.encode())
    if status != 0:
        raise ToolError(
            f"the script of {', '.join(names)} ended with exit status {status}; correct what it reports"
        )
