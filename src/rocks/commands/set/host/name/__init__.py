"""`rocks set host name`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import rocks.commands
from rocks.site.hosts import rename_host

if TYPE_CHECKING:
    from rocks.core.errors import BusyError


class Command(rocks.commands.Command):
    """
    Rename a host. Its interfaces that have its name are renamed too; attributes and other data remain, and so do
    the disk files of a virtual machine, which the command lists. The host's certificate has the old name: it
    is revoked, and the command names those that issue a new one.

    <shared names='one-host'/>
    <arg type='string' name='name'>
    New name, without a domain. Alternative form: name=NAME.
    </arg>
    <shared names='dry-run'/>

    <example cmd='set host name compute-0-0 node1'>
    Rename compute-0-0 to node1.
    </example>
    <example cmd='set host name vm-container-0-0 hypervisor1'>
    A VM container.
    </example>

    <related>list host</related>
    <related>add host certificate</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Rename the host, report what keeps its name, and revoke its certificate."""
        # Imported late: the library for certificates is slow to load.
        from rocks.site.certificates import has_certificate, remove_certificates

        def warn(error: BusyError) -> None:
            self.notify(f"Warning: {error}")

        hosts, (name,) = self.requireArguments("name")
        old = self.getOneHostname(hosts)
        for disk in rename_host(self.db, old, name):
            self.notify(f"the disk file {disk} keeps its name; the virtual machine uses it as before")
        if name == old or not has_certificate(old):
            return
        try:
            remove_certificates(self.db, [old], warn)
        finally:  # the commit within may fail for another reason, as damaged names
            if not has_certificate(old):
                self.notify(
                    f"Warning: the certificate of {old} is revoked; for one of {name}: "
                    f"rocks add host certificate {name}, then rocks sync host certificate {name} NODE… "
                    "with all other nodes, which accept the old one until then, then rocks sync broker"
                )
