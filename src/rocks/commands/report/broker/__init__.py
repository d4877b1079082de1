"""`rocks report broker`"""

import rocks.commands
from rocks.actions.message_broker import broker_definitions
from rocks.render.broker import BrokerPlace, advanced_config, enabled_plugins, rabbitmq_conf


class Command(rocks.commands.Command):
    """
    Print the configuration of the message broker, RabbitMQ 3.10 or later, as file blocks: it takes connections over TLS
    from nodes with a certificate and no others. What users may do is not in files; sync broker sets it.

    <param type='string' name='address'>
    Address on which it listens; all of the machine's by default.
    </param>
    <param type='bool' name='definitions'>
    Print what a broker on another host than the frontend must import instead, for rabbitmqctl import_definitions: a
    user for each host that has a role in image storage, with the rights of that role.
    </param>

    <example cmd='report broker address=10.1.1.1'>
    A broker on the private network only.
    </example>
    <example cmd='report broker definitions=yes'>
    For a broker on the host that the attribute RABBITMQ_Server names.
    </example>

    <related>sync broker</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the files, or the definitions."""
        if self.fillFlag("definitions"):
            self.addText(broker_definitions(self.db))
            return
        (address,) = self.fillParams([("address", "0.0.0.0")])
        place = BrokerPlace((address,))
        for name, text in (
            ("rabbitmq.conf", rabbitmq_conf(place)),
            ("advanced.config", advanced_config(place)),
            ("enabled_plugins", enabled_plugins()),
        ):
            self.addText(f'<file name="/etc/rabbitmq/{name}">\n{text}</file>\n')
