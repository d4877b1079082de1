"""Removes the hosts' choices of rolls."""

from rocks.commands.remove.host import HostPart


class Plugin(HostPart):
    """Hook of `remove host`."""

    part = "node_rolls"
