"""`rocks set host storageattr`"""

import rocks.commands
from rocks.actions.storage_attributes import set_storage_attribute
from rocks.commands._shared.storage import words_named

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Set an attribute of a whole NAS: frequency (seconds between two pulls of changes), uploadspeed and downloadspeed
    (bytes a second at most, as 500000, 500K, 20M or 1G) hold for all images that have none of their own. Other names
    are kept for a site's own tools.

    <arg type='string' name='nas'>
    The NAS.
    </arg>
    <arg type='string' name='attr'>
    The attribute.
    </arg>
    <arg type='string' name='value'>
    Its value; none stores null.
    </arg>

    <example cmd='set host storageattr nas-0-0 frequency 600'>
    Bring changes home every ten minutes.
    </example>

    <related>list host storageattr</related>
    <related>remove host storageattr</related>
    <related>set host zvolattr</related>
    """

    RefusesUnknownParameters = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it."""
        nas, name, value = words_named(self, ("nas", "attr", "value"))
        set_storage_attribute(self.db, nas, name, value)
