"""`rocks add host vm`"""

import rocks.commands
from rocks.actions.vms import DEFAULT_NETWORK, VmParameters, add_vms

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Add a virtual machine to each of the given physical hosts.

    What is not given is chosen from what is free: the name from appliance, rack, rank and slice, the address
    counting down from the network's broadcast address, the MAC from the site's pool.

    <arg type='string' name='host' repeat='1'>
    Physical hosts.
    </arg>
    <arg type='string' name='membership'>
    The membership of the virtual machines, such as compute, Frontend or Hosted VM.
    </arg>
    <param type='string' name='name'>
    Name of the machine; one host only.
    </param>
    <param type='string' name='ip'>
    Its address on the network; one host only.
    </param>
    <param type='string' name='subnet'>
    Network of the first interface, private by default. A Hosted VM has none.
    </param>
    <param type='int' name='mem'>
    Memory in MB, 2048 by default.
    </param>
    <param type='int' name='cpus'>
    Number of CPUs, 1 by default.
    </param>
    <param type='int' name='slice'>
    Its number on the host, the lowest free one by default; one host only.
    </param>
    <param type='string' name='mac'>
    MAC address of the first interface; one host only.
    </param>
    <param type='int' name='num-macs'>
    Number of interfaces, 1 by default.
    </param>
    <param type='string' name='disk'>
    The disk, as TYPE:PATH,DEVICE,BUS. TYPE is file, qcow2 or phy; by default
    file:FOLDER/NAME.vda,vda,virtio, where FOLDER is the attribute vm_image_directory, else kvm/disks on the host's
    largest partition.
    </param>
    <param type='int' name='disksize'>
    Size of the disk in GB, 36 by default.
    </param>
    <param type='string' name='vlan'>
    VLAN ids of the interfaces, by commas; none leaves an interface untagged.
    </param>
    <param type='string' name='virt-type'>
    hvm, the only kind that KVM has.
    </param>
    <param type='bool' name='sync-config'>
    Accepted for the sake of older scripts; the site's services are written by rocks sync config.
    </param>

    <example cmd='add host vm vm-container-0-0 membership=compute'>
    A compute on vm-container-0-0.
    </example>
    <example cmd='add host vm vm-container-0-0 vm-container-0-1 compute mem=4096'>
    One compute with 4 GB of memory on each of two hosts.
    </example>
    <related>add cluster</related>
    <related>start host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the machines and name them."""
        hosts, membership = self.fillPositionalArgs(("membership",))
        self.fillFlag("sync-config", True)
        if not membership:
            self.abort("must supply a membership")
        if not hosts:
            self.abort("must supply at least one host")
        name, ip, subnet, mem, cpus, slice_number, mac, count, disk, size, vlans, kind = self.fillParams(
            [
                ("name", None),
                ("ip", None),
                ("subnet", DEFAULT_NETWORK),
                ("mem", "2048"),
                ("cpus", "1"),
                ("slice", None),
                ("mac", None),
                ("num-macs", "1"),
                ("disk", None),
                ("disksize", "36"),
                ("vlan", None),
                ("virt-type", "hvm"),
            ]
        )
        words = VmParameters(
            membership, name, ip, subnet, mem, cpus, slice_number, mac, count, disk, size, vlans, kind
        )
        for vm in add_vms(self.db, self.getHostnames(hosts), words):
            self.addText(f"added VM {vm.name} on physical node {vm.container}\n")
