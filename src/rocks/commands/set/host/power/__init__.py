"""`rocks set host power`"""

from __future__ import annotations

from functools import partial

import rocks.commands
from rocks.commands._framework.plugins import call_plugin, run_plugin
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.core.errors import RocksError
from rocks.inventory.power_commands import read_power_action


class Command(rocks.commands.Command):
    """
    Switch hosts on or off, or install them anew. Physical hosts are switched by the program in their attribute
    power_command, or by their BMC (attributes ipmi_address, ipmi_user and ipmi_password); virtual machines are started
    and stopped. With install, the host's next boot is set to install before it is switched on.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name, MAC address or any other selector.
    </arg>
    <param type='string' name='action' optional='0' values='on,off,install'>
    on, off or install. A physical host that is on is switched off and on again for install.
    </param>
    <param type='string' name='key' default="none: the site's own way" of='file'>
    File of the private key of the owner of a virtual cluster, for a request from inside the cluster: the site's
    frontend switches the machine. It is the attribute airboss of localhost.
    </param>
    <param type='bool' name='force' default='no'>
    yes: also switch off physical hosts that may be running virtual machines, and NASes with a disk of a
    machine that may be running; and start virtual machines on hosts on which Slurm has a batch job.
    </param>
    <shared names='dry-run'/>

    <example cmd='set host power compute-0-0 action=install'>
    Install a host anew.
    </example>
    <example cmd='set host power rack3 action=off'>
    Switch off all hosts of a rack.
    </example>
    <example cmd='set host power compute-0-0 action=on key=/root/airboss.key'>
    In a virtual cluster: start one of its machines.
    </example>

    <related>set host boot</related>
    <related>start host vm</related>
    <related>stop host vm</related>
    <related>list host macs</related>
    """

    MustBeRoot = 0
    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Have the plugins switch the hosts, and report failures."""
        action = read_power_action(self.fillText("action"))
        key = self.fillText("key")
        self.force = self.fillFlag("force")
        if key:
            self._ask_the_site(args, action, key)
            return
        hosts = self.getSomeHostnames(args)
        plugins = self.loadPlugins()
        for plugin in plugins:
            if hasattr(plugin, "check_all"):
                call_plugin(plugin, self.command_path, partial(plugin.check_all, hosts, action, key))
        failed: dict[str, RocksError] = {}
        for plugin in plugins:
            if hasattr(plugin, "run_all"):
                failed.update(
                    call_plugin(plugin, self.command_path, partial(plugin.run_all, hosts, action, key))
                )
                continue
            for host in hosts:
                run_plugin(plugin, self.command_path, [host, action, key])
        self.endOutcomes(failed, len(hosts))

    def _ask_the_site(self, hosts: list[str], action: str, key: str) -> None:
        from rocks.site.airboss.owner_commands import switch_machines

        if not hosts:
            self.abort("must supply at least one host")
        self.exit_status = switch_machines(self.db, hosts, action, key, self.notify)
