"""`rocks pragma load settings`"""

from pathlib import Path

import rocks.commands
from rocks.core.errors import UserError
from rocks.core.terminal import one_line

from ..._shared.documents import read_file, reason_of
from ..._shared.old_settings import MAX_BYTES, read_settings_file

RollName = "pragma"


class Command(rocks.commands.Command):
    """
    Set the attributes of the roll to what configuration files of the second generation have: site_conf.conf and
    kvm_rocks.conf. Nothing of them is executed: numbers, texts, lists, dictionaries and range() are read.

    What the site has elsewhere is named, and not loaded. All files are read before an attribute is set.

    <arg type='string' name='file' repeat='1' of='file'>
    Configuration files.
    </arg>
    <shared names='dry-run'/>

    <example cmd='pragma load settings /opt/pragma_boot/etc/site_conf.conf /opt/pragma_boot/etc/kvm_rocks.conf'>
    Repository, logs, addresses, VLANs, CPUs that stay free, and networks.
    </example>
    <example cmd='pragma load settings /opt/pragma_boot/etc/kvm_rocks.conf dry-run=yes'>
    Print the attributes that would be set.
    </example>
    <related>pragma boot</related>
    <related>set attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print a line for each attribute that is set, and for each name that is not loaded."""
        if not args:
            self.abort("must supply a configuration file: site_conf.conf or kvm_rocks.conf")
        attributes: dict[str, str] = {}
        notes: list[str] = []
        for name in args:
            try:
                data = read_file(Path(name), MAX_BYTES)
            except (OSError, ValueError) as error:
                raise UserError(
                    f"the file {one_line(name)[:100]!r} cannot be read: {reason_of(error)}; give the path of "
                    "site_conf.conf or kvm_rocks.conf"
                ) from None
            found, more = read_settings_file(data, name)
            attributes.update(found)
            notes += more
        for attribute, value in attributes.items():
            self.command("set.attr", [f"attr={attribute}", f"value={value}"])
            self.addLine(f"{attribute}: {value}")
        for note in notes:
            self.addLine(note)
