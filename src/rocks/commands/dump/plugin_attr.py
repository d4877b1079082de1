"""Dumps attributes of the cluster."""

from rocks.commands.dump import DumpPart


class Plugin(DumpPart):
    """Hook of `dump`."""

    part = "dump.attr"
    after = ("appliance-attr",)
