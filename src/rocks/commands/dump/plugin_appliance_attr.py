"""Dumps attributes of appliances."""

from rocks.commands.dump import DumpPart


class Plugin(DumpPart):
    """Hook of `dump`."""

    part = "dump.appliance.attr"
    after = ("appliance",)

    def provides(self) -> str:
        """The plugin's name."""
        return "appliance-attr"
