"""`rocks report host vlan`"""

import rocks.commands
from rocks.cluster.vlan_devices import plan_networks, vlans_of
from rocks.inventory.loaded_host_records import which_are_vms
from rocks.machine.record import load_vms
from rocks.network.guest_connections import vlan_lines

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Print the network devices that a host requires for the VLANs of virtual clusters, as shell commands. For a
    physical host, the output contains the devices of all machines that may run there, each once; for a virtual
    machine, the devices that it requires on its host. A comment names each machine whose devices the host keeps as
    they are: one that moves to it while it runs, and one whose record does not name this host any more.

    You do not need to run these commands: a start creates the devices, the last stop removes them, and a reboot
    of the host restores them. A device name of more than 15 characters is replaced by v, the VLAN id, and eight
    hexadecimal digits derived from the device below; the long name follows as a comment.

    <arg optional='1' type='string' name='host' repeat='1' default='all managed hosts'>
    Hosts, physical or virtual.
    </arg>

    <example cmd='report host vlan vm-container-0-0'>
    The devices that a host requires now.
    </example>
    <example cmd='report host vlan vm-container'>
    All VM containers.
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
        networks = plan_networks(self.db, physical)
        planned = {
            host: {link.device: link for plan in network.plans for link in plan.links}
            for host, network in networks.items()
        }
        self.beginOutput()
        for name in names:
            links = vlans_of(machines[name]) if name in machines else tuple(planned[name].values())
            lines = vlan_lines(links) or ([f"# no vlan for {name}"] if name in machines else [])
            retained = networks[name].retained if name in networks else ()
            lines += [f"# {one} may run here too: its devices stay as they are" for one in retained]
            for line in lines:
                self.addOutput(name, (line,))
        self.endOutput(padChar="")
