"""`rocks report host profile`"""

from pathlib import Path

import rocks.commands
from rocks.actions.profiles import shell_profile


class Command(rocks.commands.Command):
    """
    Report what a host is made of, as one script of bash that root runs on that host: packages, files, services, as the
    graph and its node files say for a host with these attributes. What is right already stays as it is; run again it
    changes nothing and says so.

    <arg type='string' name='host'>
    One host.
    </arg>
    <param type='string' name='basedir'>
    Folder with graphs, nodes and site-nodes, instead of what rolls have installed and the site's own nodes in
    /etc/rocks/site-nodes.
    </param>

    <example cmd='report host profile nas-0-0'>
    The script. To have it run: rocks report host profile nas-0-0 | ssh root@nas-0-0 bash
    </example>
    <example cmd='report host profile vm-container-0-0 basedir=/export/site-graph'>
    With another graph.
    </example>

    <related>report host imgstorage</related>
    <related>set host attr</related>
    """

    MustBeRoot = 1
    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the script."""
        (base,) = self.fillParams([("basedir", "")])
        host = self.getOneHostname(args)
        self.addText(shell_profile(self.db, host, Path(base) if base else None))
