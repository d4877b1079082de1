"""Removes the hosts' kernel flags."""

from rocks.commands.remove.host import HostPart


class Plugin(HostPart):
    """Hook of `remove host`."""

    part = "bootflags"
