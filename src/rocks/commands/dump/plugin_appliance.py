"""Dumps appliances."""

from rocks.commands.dump import DumpPart


class Plugin(DumpPart):
    """Hook of `dump`."""

    part = "dump.appliance"
    after = ("network",)
