"""`rocks report distro`"""

import rocks.commands
from rocks.core.errors import RocksError
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.attributes.records import global_attributes


class Command(rocks.commands.Command):
    """
    Report the folder of the distribution: install below the folder in the global attribute Kickstart_DistroDir,
    or below /export/rocks, which also applies if the database is not available.

    <example cmd='report distro'>
    The folder of the distribution.
    </example>

    <related>list distribution</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the folder."""
        self.addText(f"{self._folder().rstrip('/')}/install\n")

    def _folder(self) -> str:
        default = KNOWN["Kickstart_DistroDir"].default
        try:
            return global_attributes(self.db).get("Kickstart_DistroDir") or default
        except RocksError:
            return default
