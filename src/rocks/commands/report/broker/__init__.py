"""`rocks report broker`"""

from ipaddress import ip_address

import rocks.commands
from rocks.core.names import printable
from rocks.storage.broker.broker import broker_definitions
from rocks.storage.broker.definitions import BrokerPlace, advanced_config, enabled_plugins, rabbitmq_conf


class Command(rocks.commands.Command):
    """
    Print the configuration of the message broker, RabbitMQ 3.10 or later, as file blocks. The broker accepts
    only TLS connections from nodes with a certificate. The permissions of users are not part of these files;
    sync broker sets them.

    <param type='string' name='address' default='0.0.0.0'>
    Address to listen on; 0.0.0.0 for all addresses of the machine.
    </param>
    <param type='bool' name='definitions' default='no'>
    Print the definitions for a broker on another host than the frontend, to be imported by rabbitmqctl
    import_definitions: a user with its permissions for each host with a role in image storage.
    </param>

    <example cmd='report broker address=10.1.1.1'>
    A broker only on the private network.
    </example>
    <example cmd='report broker definitions=yes'>
    Definitions for a broker on the host that the attribute RABBITMQ_Server names.
    </example>

    <related>sync broker</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the files, or the definitions."""
        if self.fillFlag("definitions"):
            self.addText(broker_definitions(self.db))
            return
        address = self.fillText("address", "0.0.0.0")
        try:
            place = BrokerPlace((str(ip_address(address)),))
        except ValueError:
            self.abort(
                f'address must be an IP address of this machine, such as 10.1.1.1, not "{printable(address)}"'
            )
        for name, text in (
            ("rabbitmq.conf", rabbitmq_conf(place)),
            ("advanced.config", advanced_config(place)),
            ("enabled_plugins", enabled_plugins()),
        ):
            self.addText(f'<file name="/etc/rabbitmq/{name}">\n{text}</file>\n')
