"""Removes the hosts' interfaces."""

from rocks.commands.remove.host import HostPart


class Plugin(HostPart):
    """Hook of `remove host`."""

    part = "interface"

    def requires(self) -> list[str]:
        """After the boot configuration, whose file is named by an address."""
        return [*super().requires(), "boot"]
