"""Dumps attributes of operating systems."""

from rocks.commands.dump import DumpPart


class Plugin(DumpPart):
    """Hook of `dump`."""

    part = "dump.os.attr"
    after = ("attr",)

    def provides(self) -> str:
        """The plugin's name."""
        return "os-attr"
