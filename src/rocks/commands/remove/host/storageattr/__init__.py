"""`rocks remove host storageattr`"""

import rocks.commands
from rocks.commands._shared.storage import storage_arguments
from rocks.storage.volumes.volumes import remove_storage_attribute

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Remove an attribute of a NAS.

    <shared names='nas,attr,dry-run'/>

    <example cmd='remove host storageattr nas-0-0 uploadspeed'>
    Remove the limit of the upload rate.
    </example>
    <example cmd='remove host storageattr nas-0-0 frequency'>
    Back to the default.
    </example>

    <related>list host storageattr</related>
    <related>set host storageattr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the attribute."""
        nas, name = storage_arguments(self, ("nas", "attr"))
        remove_storage_attribute(self.db, nas, name)
