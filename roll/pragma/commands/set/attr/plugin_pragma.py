"""Hook of the commands that set attributes: those of this roll have only values that its commands can read."""

from rocks.commands.pragma._shared.site import check_attribute

import rocks.commands


class Plugin(rocks.commands.Plugin):
    """Hook of `set attr`."""

    def run(self, name: str, value: str) -> None:
        """Refuse a value that the attribute cannot have."""
        check_attribute(name, value)
