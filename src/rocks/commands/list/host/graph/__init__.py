"""`rocks list host graph`"""

import re
from pathlib import Path

import rocks.commands
from rocks.core.errors import UserError
from rocks.core.names import printable

_SIZE = re.compile(r"[0-9]{1,4}(\.[0-9]{1,2})?,[0-9]{1,4}(\.[0-9]{1,2})?", re.ASCII)


class Command(rocks.commands.Command):
    """
    List the part of the kickstart graph that hosts reach, as a digraph of graphviz or as a picture. A box is the
    root of an appliance; a dashed line is an order of two nodes.

    <arg optional='1' type='string' name='host' repeat='1' default='all that have a profile'>
    Hosts, whose nodes are drawn together.
    </arg>
    <param type='string' name='arch' default='that of the hosts'>
    Draw for this architecture.
    </param>
    <param type='string' name='basedir' default='the installed ones' of='folder'>
    Folder with graphs and nodes.
    </param>
    <param type='string' name='format' default='dot' values='dot,svg'>
    dot, graphviz's language, or svg, for which graphviz must be installed.
    </param>
    <param type='bool' name='landscape' default='no'>
    Turn the picture by 90 degrees.
    </param>
    <param type='string' name='size' default='100,100' unit='inches'>
    Greatest width and height.
    </param>

    <example cmd='list host graph compute-0-0'>
    The graph of one host as text.
    </example>
    <example cmd='list host graph compute-0-0 format=svg'>
    The same as a picture for a browser.
    </example>

    <related>list host xml</related>
    <related>list node xml</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the digraph or the picture."""
        from rocks.install.node_documents import PictureOptions, host_graph

        base, size = self.fillText("basedir", ""), self.fillText("size", "100,100")
        if not _SIZE.fullmatch(size):
            raise UserError(
                f'size must be a width and a height in inches, such as 100,100, not "{printable(size)}"'
            )
        form = self.fillText("format", "dot")
        if form not in ("dot", "svg"):
            raise UserError(f'format must be dot or svg, not "{printable(form)}"')
        options = PictureOptions(
            Path(base) if base else None,
            self.fillText("arch", ""),
            size,
            self.fillFlag("landscape"),
            form == "svg",
        )
        self.addText(host_graph(self.db, self.getHostnames(args), options, with_profile=not args))
