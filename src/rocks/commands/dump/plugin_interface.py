"""Dumps interfaces of hosts."""

from rocks.commands.dump import DumpPart


class Plugin(DumpPart):
    """Hook of `dump`."""

    part = "dump.host.interface"
    after = ("host", "network")
