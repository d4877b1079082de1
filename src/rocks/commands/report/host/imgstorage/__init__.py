"""`rocks report host imgstorage`"""

import rocks.commands
from rocks.inventory.host_records import find_local_host
from rocks.inventory.loaded_host_records import load_hosts
from rocks.inventory.records import PRIVATE_NETWORK
from rocks.network.networks import zone_of
from rocks.storage.volumes.settings import (
    RequestedSettings,
    check_requested_settings,
    configuration_lines,
    daemon_settings,
)

RollName = "img-storage"


class Command(rocks.commands.Command):
    """
    Report the configuration file of the image storage daemons of hosts.

    <shared command='report host attr' names='host'/>
    <param type='string' name='network' default='the attribute imgstorage-network, or the zone of the network
          private'>
    DNS zone of the network for images.
    </param>
    <param type='string' name='pool' default='the attribute imgstorage-pool or vm_container_zpool'>
    Pool for images.
    </param>
    <param type='int' name='workers' default='the attribute imgstorage-workers, or 8' unit='transfers'>
    Number of concurrent transfers, 1 to 64.
    </param>

    <example cmd='report host imgstorage nas-0-0'>
    The file for a NAS.
    </example>
    <example cmd='report host imgstorage vm-container-0-0 pool=fast'>
    The file with another pool.
    </example>

    <related>report host attr</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print three lines per host, each host's from its own attributes."""
        requested = RequestedSettings(*(self.fillText(name, "") for name in ("network", "pool", "workers")))
        check_requested_settings(requested)
        hosts = load_hosts(self.db, self.getHostnames(args))
        zone = zone_of(self.db, PRIVATE_NETWORK)
        frontend = find_local_host(self.db) or ""
        self.beginOutput()
        for host in hosts:
            for line in configuration_lines(daemon_settings(host, frontend, zone, requested)):
                self.addOutput(host.name, line)
        self.endOutput(padChar="")
