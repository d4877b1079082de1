"""Dumps hosts."""

from rocks.commands.dump import DumpPart


class Plugin(DumpPart):
    """Hook of `dump`."""

    part = "dump.host"
    after = ("appliance", "os-attr")
