"""Dumps attributes of hosts."""

from rocks.commands.dump import DumpPart


class Plugin(DumpPart):
    """Hook of `dump`."""

    part = "dump.host.attr"
    after = ("vm-nas",)

    def provides(self) -> str:
        """The plugin's name."""
        return "host-attr"
