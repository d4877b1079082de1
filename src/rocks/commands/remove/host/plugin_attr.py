"""Removes the hosts' own attributes, the secret ones too."""

from rocks.commands.remove.host import HostPart


class Plugin(HostPart):
    """Hook of `remove host`."""

    part = "attr"
