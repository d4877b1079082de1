"""`rocks add host vm`"""

import rocks.commands
from rocks.core.names import printable
from rocks.machine.add import VmParameters, add_vms
from rocks.machine.change import size_warnings

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Add a virtual machine to each of the given physical hosts.

    Omitted values are chosen from the free ones: the name from appliance, rack, rank and slice; the address by
    counting down from the network's broadcast address; the MAC address from the site's pool.

    <arg type='string' name='host' repeat='1'>
    Physical hosts whose attribute kvm is true, as that of VM containers.
    </arg>
    <arg type='string' name='membership'>
    Membership of the virtual machines, such as compute, Frontend or Hosted VM.
    </arg>
    <param type='string' name='name' default='APPLIANCE-RACK-RANK-SLICE'>
    Name of the machine; only with one host.
    </param>
    <param type='string' name='ip' default='the highest free address'>
    Address on the network; only with one host.
    </param>
    <param type='string' name='subnet' default='private; none for a Hosted VM'>
    Network of the first interface.
    </param>
    <param type='int' name='mem' default='2048' range='32..67108864' unit='MB'>
    Memory.
    </param>
    <param type='int' name='cpus' default='1' range='1..255' unit='CPUs'>
    Number of CPUs. A line warns of more than the physical host has by its record (rocks set host cpus).
    </param>
    <param type='int' name='slice' default='the lowest free number' unit='none'>
    Slice number on the host; only with one host.
    </param>
    <param type='string' name='mac' default="a free one of the site's pool">
    MAC address of the first interface; only with one host.
    </param>
    <param type='int' name='num-macs' default='1' unit='interfaces'>
    Number of interfaces.
    </param>
    <param type='string' name='disk' default='file:FOLDER/NAME.vda,vda,virtio, where FOLDER is the attribute
          vm_image_directory, or kvm/disks on the largest partition of the host'>
    Disk as TYPE:PATH,DEVICE,BUS; TYPE is file, qcow2 or phy.
    </param>
    <param type='int' name='disksize' default='36' range='1..1000000' unit='GB'>
    Size of the disk; of one on a NAS the number is GiB.
    </param>
    <param type='string' name='vlan' default='none'>
    VLAN ids of the interfaces, separated by commas; none for an untagged interface. A virtual frontend does not get a
    VLAN that another cluster uses.
    </param>
    <param type='string' name='virt-type' default='hvm' values='hvm'>
    Type of virtualisation; KVM has only hvm.
    </param>
    <param type='bool' name='sync-config' default='yes'>
    Ignored; accepted for older scripts.
    </param>
    <shared names='dry-run'/>

    <example cmd='add host vm vm-container-0-0 membership=compute'>
    Add a compute node on vm-container-0-0.
    </example>
    <example cmd='add host vm vm-container-0-0 vm-container-0-1 compute mem=4096'>
    Add one compute node with 4 GB of memory on each of two hosts.
    </example>
    <related>add cluster</related>
    <related>start host vm</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the machines and print their names."""
        hosts, membership = self.fillArgument("membership")
        self.fillFlag("sync-config", True)
        if not membership:
            self.abort("must supply a membership")
        if not hosts:
            self.abort(
                f"must supply at least one host and a membership (rocks add host vm vm-container-0-0 compute); "
                f'"{printable(membership)}" was taken for the membership'
            )
        parameters = VmParameters(
            membership=membership,
            name=self.fillText("name"),
            ip=self.fillText("ip"),
            subnet=self.fillText("subnet"),
            memory_mb=self.fillNumber("mem"),
            cpus=self.fillNumber("cpus"),
            slice=self.fillText("slice"),
            mac=self.fillText("mac"),
            interfaces=self.fillText("num-macs", "1"),
            disk=self.fillText("disk"),
            disk_size_gb=self.fillNumber("disksize"),
            vlans=self.fillText("vlan"),
            virt_type=self.fillText("virt-type", "hvm"),
        )
        added = add_vms(self.db, self.getContainers(hosts), parameters)
        warnings = size_warnings(self.db, [vm.name for vm in added])
        for vm in added:
            self.addText(f"added VM {vm.name} on physical node {vm.container}\n")
        for warning in warnings:
            self.notify(f"Warning: {warning}")
