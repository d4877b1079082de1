"""`rocks set host storageattr`"""

import rocks.commands
from rocks.commands._shared.storage import storage_arguments
from rocks.storage.volumes.volumes import set_storage_attribute

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Set an attribute of a NAS. frequency (seconds between two transfers of changes), uploadspeed and
    downloadspeed (maximum bytes per second, such as 500000, 500K, 20M or 1G, at least 100K, where K, M and G
    are powers of 1024) apply to all images without a value of their own. A rate below 100K is refused: the machine
    at the other end would stop waiting in the middle of a transfer. Other names are stored for the site's own tools.

    <shared names='nas,attr'/>
    <arg type='string' name='value'>
    Value; none stores null. A frequency of none is the default, 300.
    </arg>
    <shared names='dry-run'/>

    <example cmd='set host storageattr nas-0-0 frequency 600'>
    Write changes back every ten minutes.
    </example>
    <example cmd='set host storageattr nas-0-0 uploadspeed 50M'>
    At most 50 MiB per second.
    </example>

    <related>list host storageattr</related>
    <related>remove host storageattr</related>
    <related>set host zvolattr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the value."""
        nas, name, value = storage_arguments(self, ("nas", "attr", "value"))
        set_storage_attribute(self.db, nas, name, value)
