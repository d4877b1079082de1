"""Removes the hosts' files of the boot service."""

from collections.abc import Sequence

from rocks.commands.remove.host import HostPart


class Plugin(HostPart):
    """Hook of `remove host`."""

    def precedes(self) -> list[str]:
        """Before the removal of the addresses, which are the names of the files."""
        return ["interface"]

    def run_all(self, hosts: Sequence[str]) -> None:
        """Remove the files of all these hosts."""
        from rocks.install.boot.files import remove_boot_files

        remove_boot_files(self.db, hosts)
