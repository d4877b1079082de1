"""`rocks report host profile`"""

from pathlib import Path

import rocks.commands
from rocks.install.host_profiles import shell_profile


class Command(rocks.commands.Command):
    """
    Report the profile of a host as one bash script to be run by root on that host: the packages, files and
    services that the graph and its node files define for a host with these attributes. The script changes only
    what differs; when repeated, it changes nothing and reports that.

    <arg type='string' name='host'>
    One host.
    </arg>
    <param type='string' name='basedir' default="the installed rolls and the site's own files in /etc/rocks"
          of='folder'>
    Folder with graphs, nodes, site-graphs and site-nodes.
    </param>

    <example cmd='report host profile nas-0-0'>
    Print the script. To run it on the host: rocks sync host profile nas-0-0
    </example>
    <example cmd='report host profile vm-container-0-0 basedir=/export/site-graph'>
    Print the script for another graph.
    </example>

    <related>sync host profile</related>
    <related>report host imgstorage</related>
    <related>set host attr</related>
    """

    MustBeRoot = 1

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the script."""
        base = self.fillText("basedir", "")
        host = self.getOneHostname(args)
        self.addText(shell_profile(self.db, host, Path(base) if base else None))
