"""`rocks report slurm`"""

import rocks.commands
from rocks.inventory.slurm_service import load_configuration


class Command(rocks.commands.Command):
    """
    Report slurm.conf of the site's own Slurm: a node for each physical host with the attribute slurm_server, unless it
    is no, with its CPUs of the database; the partition batch of all of them, and the partition virt, for computesets,
    of those that run virtual machines. The lines of /etc/slurm/site.conf come last, and override what is before them.

    <example cmd='report slurm'>
    The configuration, as rocks sync slurm would write it now.
    </example>

    <related>sync slurm</related>
    <related>set host cpus</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the file."""
        self.addText(load_configuration(self.db)[0])
