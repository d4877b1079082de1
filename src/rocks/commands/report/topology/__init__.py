"""`rocks report topology`"""

import rocks.commands


class Command(rocks.commands.Command):
    """
    Report a drawing of the site as SVG, which every browser shows: networks, physical hosts with their virtual
    machines, NASes with the disks that they have, and virtual clusters with their VLANs and the places of their
    disks. A dot on a host is one of its networks; a colour of machines is a cluster. No host is asked.

    <param optional='1' type='bool' name='racks' default='only if the site has more than 40 hosts'>
    yes: draw racks in place of their hosts.
    </param>

    <example cmd='report topology'>
    The drawing, on standard output: rocks report topology > site.svg
    </example>
    <example cmd='report topology racks=yes'>
    Racks in place of their hosts.
    </example>

    <related>list site</related>
    <related>list host vm</related>
    <related>list cluster</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the document."""
        from rocks.site.drawing import read_topology, topology_svg  # lxml

        racks = self.fillFlag("racks") if "racks" in params else None
        self.addText(topology_svg(read_topology(self.db), racks))
