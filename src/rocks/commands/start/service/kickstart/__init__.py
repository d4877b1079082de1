"""`rocks start service kickstart`"""

import signal
import sys

import rocks.commands
from rocks.commands._framework.shell_quoting import launcher
from rocks.core.values import read_number


class Command(rocks.commands.Command):
    """
    Start the HTTPS service that gives installing hosts their files: /install/plan for the roll's installer,
    /install/kickstart (or /install/sbin/kickstart.cgi), /install/preseed, /install/profile and /install/secrets. It
    takes what the installer reports, and serves the packages of the distribution below /install/distro. It runs until
    it is interrupted. A client is recognised by its address on the network private and its MAC address; it gets files
    only while its next boot is install, its profile until that has succeeded, and its secret attributes once. Packages
    are for all hosts. Hosts of virtual machines post to /install/host/ended which machines have ended by themselves; it
    asks the host, and releases their leases and resources. It needs the certificate of the frontend: rocks add host
    certificate. Without address and port, it also serves the installer's kernel and initramfs by plain HTTP, on port 80
    of that address; where that port is taken, hosts get them by TFTP.

    <shared command='start service airboss' names='address'/>
    <param type='string' name='port' default='443'>
    TCP port.
    </param>

    <example cmd='start service kickstart'>
    Serve the private network.
    </example>
    <example cmd='start service kickstart address=10.1.1.1 port=8443'>
    Another address and port.
    </example>

    <related>set host boot</related>
    <related>list host install</related>
    <related>list host installfile</related>
    <related>add host certificate</related>
    """

    NoDryRun = "it is a service that runs until it is ended"
    NeedsOwnProcess = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Serve; a line on standard error for each answer."""
        from rocks.install.installation.installations import FirstSync
        from rocks.install.installation.service import (
            DEFAULT_PORT,
            create_first_stage_service,
            create_service,
            run_services,
        )
        from rocks.machine.stop import Termination

        port = read_number("port", self.fillText("port", str(DEFAULT_PORT)), 1, 65535)
        terminate = Termination(launcher(), self.notify).put
        configured = FirstSync(launcher(), self.notify, self.db.settings).put
        address = self.fillText("address", "")
        service = create_service(self.db, address, port, self.notify, terminate, configured)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        self.notify(f"listening on port {service.server_address[1]}")
        services = [service]
        if not (params.get("address") or params.get("port")):
            first_stage = create_first_stage_service(self.db, self.notify)
            services += [first_stage] if first_stage else []
        run_services(services)
