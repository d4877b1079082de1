"""`rocks check graph`"""

from pathlib import Path

import rocks.commands
from rocks.core.errors import StateError
from rocks.install.graph_files import OK, check_site_files


class Command(rocks.commands.Command):
    """
    Check the site's own node and graph files, in /etc/rocks/site-nodes and /etc/rocks/site-graphs: XML, tags, included
    files, the syntax of bash sections, edges and orders of nodes that do not exist, cyclic orders, node files that no
    host uses, and a file that two nodes of an appliance create. Nothing is changed, and no host is asked. The exit
    status is not 0 if a file has an error. Files of rolls were checked when they were enabled.

    <param optional='1' type='string' name='basedir' default="the installed rolls and the site's own files in
          /etc/rocks" of='folder'>
    Folder with graphs, nodes, site-graphs, site-nodes and include; or with a roll's sources or files, which are checked
    together with the installed ones.
    </param>

    <example cmd='check graph'>
    Print a line for each file.
    </example>
    <example cmd='check graph basedir=/root/roll-hello'>
    The files of a roll that is being written.
    </example>

    <related>check site</related>
    <related>list host graph</related>
    <related>report host profile</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line for each file."""
        base = self.fillText("basedir", "")
        found = check_site_files(self.db, Path(base) if base else None)
        self.addTable(("file", "result", "detail"), found, trimOwner=False)
        failed = sum(one.result != OK for one in found)
        if failed:
            self.endOutcomes(
                {"graph": StateError(f"{failed} of {len(found)} files cannot be used as they are")}, 1
            )
