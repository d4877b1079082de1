"""Dumps virtual machines."""

from rocks.commands.dump import DumpPart


class Plugin(DumpPart):
    """Hook of `dump`."""

    part = "dump.host.vm"
    after = ("interface",)
