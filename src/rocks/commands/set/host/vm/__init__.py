"""`rocks set host vm`"""

import rocks.commands
from rocks.leases.lease import leases_held, running
from rocks.machine.change import VmChanges, set_vms, size_warnings
from rocks.machine.listing_records import vms_elsewhere
from rocks.machine.outcomes import Outcomes

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Change virtual machines. A machine that runs gets more CPUs and memory at once, up to the maximum with which it was
    started, and a line names what waits; other changes take effect at the next start. Image files are not resized:
    rocks set host vm disk grows them.

    <arg type='string' name='host' repeat='1'>
    Virtual machines, by name or any other selector; one for disk, slice and uuid. An ordinary host becomes a virtual
    machine, if physnode or virt-type is given.
    </arg>
    <param type='string' name='physnode' default='unchanged'>
    Physical host of the machine. A machine moves only to a host whose attribute kvm is true, as that of VM containers.
    </param>
    <param type='string' name='disk' default='unchanged'>
    All disks, separated by blanks, each as TYPE:PATH,DEVICE,BUS; they replace the existing disks in order. A
    disk on a NAS remains there (rocks set host vm nas).
    </param>
    <param type='string' name='disksize' default='unchanged' unit='GB'>
    Sizes of the disks, separated by blanks, in order; 0 leaves a size unchanged. A disk with a new path has the size
    of the disk that it replaces as the same device, else 36. Of a disk on a NAS the number is GiB.
    </param>
    <param type='int' name='mem' default='unchanged' unit='MB'>
    Memory. A line warns of more than maxmem.
    </param>
    <param type='int' name='cpus' default='unchanged' range='1..255' unit='CPUs'>
    Number of CPUs. A line warns of more than the physical host has by its record (rocks set host cpus).
    </param>
    <param type='int' name='maxmem' default='unchanged' range='32..67108864' unit='MB'>
    Memory up to which the running machine gets more, from its next start (attribute kvm_max_memory); at least mem.
    </param>
    <param type='int' name='maxcpus' default='unchanged' range='1..255' unit='CPUs'>
    CPUs up to which the running machine gets more, from its next start (attribute kvm_max_cpus); at least cpus.
    </param>
    <param type='int' name='slice' default='unchanged' unit='none'>
    Slice number on the host.
    </param>
    <param type='string' name='virt-type' default='unchanged' values='hvm,para'>
    hvm or para.
    </param>
    <param type='string' name='uuid' default='unchanged'>
    UUID of the machine, which its disks bear: only to recreate a machine that was removed, as rocks dump does.
    </param>

    <shared names='dry-run'/>

    <example cmd='set host vm vm-vc1-0 mem=4096'>
    Give the machine 4 GB of memory from the next start.
    </example>
    <example cmd='set host vm vm-vc1-0 physnode=vm-container-0-1'>
    Start the machine on another host next time; its disks are not copied (move host vm).
    </example>
    <example cmd='set host vm vm-vc1-0 vm-vc1-1 maxcpus=8 maxmem=16384'>
    Let two machines get up to 8 CPUs and 16 GB while they run, from their next start.
    </example>
    <example cmd='set host vm vm-vc1-0 vm-vc1-1 cpus=4 mem=8192'>
    Give them more at once.
    </example>
    <related>list host vm</related>
    <related>set host vm disk</related>
    <related>sync host vm</related>
    <related>move host vm</related>
    <related>set host vm nas</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Change the machines; those that run get more CPUs and memory at once."""
        if not args:
            self.abort("must supply at least one virtual machine")
        container = self.fillText("physnode")
        host = self.getOneContainer([container]) if container else None
        changes = VmChanges(
            host,
            disks=self.fillText("disk"),
            disk_sizes_gb=self.fillText("disksize"),
            memory_mb=self.fillText("mem"),
            slice=self.fillText("slice"),
            virt_type=self.fillText("virt-type"),
            uuid=self.fillText("uuid"),
            cpus=self.fillGivenNumber("cpus"),
            max_cpus=self.fillGivenNumber("maxcpus"),
            max_memory_mb=self.fillGivenNumber("maxmem"),
        )
        names = self.getSomeHostnames(args)
        for line in set_vms(self.db, names, changes):
            self.notify(line)
        elsewhere: dict[str, tuple[str, ...]] = {
            vm: (
                f"Warning: {vm} may be running on {present}, which holds its lease; it can start on {host} only when "
                f"it has been stopped there: rocks stop host vm {vm}, or if {present} is certainly off: rocks stop "
                f'host vm {vm} force=yes reason="…"',
            )
            for vm, present in (vms_elsewhere(self.db, names).items() if container else ())
        }
        for line in Outcomes(elsewhere).joined_lines:
            self.notify(line)
        if changes.cpus or changes.memory_mb or changes.max_memory_mb or container:
            running_now = () if container else running(self.db, names)
            for line in size_warnings(self.db, names, running_now):
                self.notify(f"Warning: {line}")
        if changes.cpus or changes.memory_mb:
            self._change_running(names, changes)

    def _change_running(self, names: list[str], changes: VmChanges) -> None:
        if not leases_held(self.db, names):
            return
        from rocks.commands._shared.vm_filters import filters_of
        from rocks.machine.converge import Aspects, apply_records, at_next_start  # as heavy as hosts

        aspects = Aspects(cpus=changes.cpus is not None, memory=changes.memory_mb is not None)
        outcomes = apply_records(self.db, names, aspects, filters_of(self))
        for line in outcomes.lines:
            self.notify(line)
        for name, error in outcomes.failed.items():
            self.notify(f"Warning: {at_next_start(name, error)}")
