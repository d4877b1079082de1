"""Removes the hosts themselves, when all else is gone."""

from rocks.commands._framework.plugins import TAIL
from rocks.commands.remove.host import HostPart


class Plugin(HostPart):
    """Hook of `remove host`."""

    part = "node"

    def requires(self) -> list[str]:
        """After all other hooks."""
        return [TAIL]
