"""Removes the hosts' partitions."""

from rocks.commands.remove.host import HostPart


class Plugin(HostPart):
    """Hook of `remove host`."""

    part = "partition"
