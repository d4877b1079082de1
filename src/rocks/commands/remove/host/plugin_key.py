"""Removes the hosts' public keys."""

from rocks.commands.remove.host import HostPart


class Plugin(HostPart):
    """Hook of `remove host`."""

    part = "key"
