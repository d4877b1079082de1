"""Dumps NASes of the images of virtual machines."""

from rocks.commands.dump import DumpPart


class Plugin(DumpPart):
    """Hook of `dump`."""

    part = "dump.host.vm.nas"
    after = ("vm",)

    def provides(self) -> str:
        """The plugin's name."""
        return "vm-nas"
