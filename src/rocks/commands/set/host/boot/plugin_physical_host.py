"""Writes the answers of the site's boot service."""

from collections.abc import Sequence

import rocks.commands


class Plugin(rocks.commands.Plugin):
    """Hook of `set host boot`: files for hosts, and for virtual machines on the site's own private network."""

    def run_all(self, hosts: Sequence[str]) -> None:
        """Write the files of all these hosts."""
        from rocks.install.boot.files import write_boot_files

        write_boot_files(self.db, hosts)
