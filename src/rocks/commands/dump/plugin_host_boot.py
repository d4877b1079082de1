"""Dumps boot actions of hosts."""

from rocks.commands.dump import DumpPart


class Plugin(DumpPart):
    """Hook of `dump`."""

    part = "dump.host.boot"
    after = ("host-attr",)

    def provides(self) -> str:
        """The plugin's name."""
        return "host-boot"
