"""`rocks report host vlan`"""

import rocks.commands
from rocks.actions.vlans import plan_networks, vlans_of
from rocks.database.vms import load_vms, which_are_vms
from rocks.render.vlan_lines import vlan_lines

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Print the network devices that a host is to have for VLANs of virtual clusters, as lines for a shell. Of a physical
    host, those of all machines that may run there, each once; of a virtual machine, those that it needs on its host.

    A start makes them, the last stop removes them, and a boot of the host brings them back; nothing of this has to be
    run. A device whose name would be longer than 15 characters is called v, VLAN id, and eight hexadecimal digits
    that stand for the device below; its long name is told behind it.

    <arg optional='1' type='string' name='host' repeat='1'>
    Hosts, physical or virtual; all managed ones when none is given.
    </arg>

    <example cmd='report host vlan vm-container-0-0'>
    What a host is to have now.
    </example>
    <related>sync host vlan</related>
    <related>list host vm network</related>
    """

    MustBeRoot = 0

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the lines."""
        names = self.getHostnames(args, managed_only=True)
        machines = {vm.name: vm for vm in load_vms(self.db, which_are_vms(self.db, names))}
        physical = [name for name in names if name not in machines]
        planned = {
            network.host: {link.device: link for plan in network.plans for link in plan.links}
            for network in plan_networks(self.db, physical)
        }
        self.beginOutput()
        for name in names:
            links = vlans_of(machines[name]) if name in machines else tuple(planned[name].values())
            lines = vlan_lines(links) or ([f"# no vlan for {name}"] if name in machines else [])
            for line in lines:
                self.addOutput(name, (line,))
        self.endOutput(padChar="")
