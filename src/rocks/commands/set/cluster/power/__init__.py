"""`rocks set cluster power`"""

from __future__ import annotations

import rocks.commands
from rocks.commands._shared.interrupt import LOOK_AT_LEASES
from rocks.core.errors import StateError
from rocks.inventory.cluster_records import own_clusters_of
from rocks.inventory.power_commands import read_power_action

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Switch the compute nodes of a virtual cluster on or off, or install them anew, all at once. The frontend of the
    cluster, from which its owner may be asking, stays as it is without with-frontend=yes.

    <arg type='string' name='frontend' of='virtualfrontend'>
    The virtual frontend. With key: its name at the site.
    </arg>
    <param type='string' name='action' optional='0' values='on,off,install'>
    on, off or install, as for rocks set host power.
    </param>
    <param type='bool' name='with-frontend' default='no'>
    yes: switch the frontend of the cluster, too.
    </param>
    <param type='string' name='key' default="none: the site's own way" of='file'>
    File of the private key of the owner of the cluster, for a request from inside the cluster: the site's frontend
    switches the machines. It is the attribute airboss of localhost.
    </param>
    <param type='string' name='delay' default='0' unit='seconds'>
    Ignored; accepted for older scripts. One request switches all machines.
    </param>
    <shared names='dry-run'/>

    <example cmd='set cluster power vc1 action=install'>
    Install all compute nodes of vc1 anew.
    </example>
    <example cmd='set cluster power vc1 action=on key=/root/airboss.key'>
    In the cluster, its owner: start all compute nodes.
    </example>

    <related>set host power</related>
    <related>start cluster</related>
    <related>stop cluster</related>
    """

    MustBeRoot = 0
    AdviceAfterInterrupt = LOOK_AT_LEASES

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Switch the machines by `set host power`, or ask the site."""
        action = read_power_action(self.fillText("action"))
        with_frontend, key = self.fillFlag("with-frontend"), self.fillText("key")
        try:
            float(self.fillText("delay", "0"))
        except ValueError:
            self.abort('"delay" must be a floating point number')
        if key:
            from rocks.site.airboss.owner_commands import switch_cluster

            if len(args) != 1:
                self.abort("must supply one host name, that of the cluster's frontend at the site")
            self.exit_status = switch_cluster(self.db, args[0], action, with_frontend, key, self.notify)
            return
        name = self.getOneHostname(args)
        try:
            (cluster,) = own_clusters_of(self.db, [name], self.notify)
        except StateError as error:
            self.abort(f"host name must be a frontend: {error}")
        names = [*cluster.clients, *([cluster.frontend] if with_frontend else [])]
        if not names:
            self.abort(
                f"the cluster {cluster.frontend} has no compute nodes; its frontend: with-frontend=yes"
            )
        self.addText(self.command("set.host.power", [*names, f"action={action}"]))
