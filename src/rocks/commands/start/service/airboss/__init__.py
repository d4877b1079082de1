"""`rocks start service airboss`"""

import signal
import sys

import rocks.commands
from rocks.commands._framework.shell_quoting import launcher
from rocks.core.values import read_number


class Command(rocks.commands.Command):
    """
    Start the service by which owners of virtual clusters control the machines of their clusters: power, MAC addresses,
    consoles. It runs until it is interrupted. A request is signed with a key of the cluster's frontend (rocks add host
    key), and concerns that cluster only. Each request is in the system log. It needs the certificate of the frontend:
    rocks add host certificate.

    <param type='string' name='address' default='that of the frontend on the network private'>
    IPv4 address on which it listens; 0.0.0.0 for all.
    </param>
    <param type='string' name='port' default='8677'>
    TCP port.
    </param>
    <param type='bool' name='foreground' default='yes'>
    Ignored; accepted for older scripts. The service runs in the foreground; in the background by
    systemctl start rocks-airboss.
    </param>

    <example cmd='start service airboss'>
    Serve the clusters; systemctl enable --now rocks-airboss does so at each boot.
    </example>
    <example cmd='start service airboss address=203.0.113.2'>
    Another address, which the clusters reach.
    </example>

    <related>add host key</related>
    <related>list host macs</related>
    <related>add host certificate</related>
    """

    NoDryRun = "it is a service that runs until it is ended"
    NeedsOwnProcess = True

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Serve; a line on standard error for each answer."""
        from rocks.site.airboss.service import create_service, run_service
        from rocks.site.airboss.wire import PORT

        port = read_number("port", self.fillText("port", str(PORT)), 1, 65535)
        service = create_service(self.db, self.fillText("address", ""), port, self.notify, launcher())
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        self.notify(f"listening on port {service.server_address[1]}")
        run_service(service)
