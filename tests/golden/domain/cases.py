"""Virtual machines with golden libvirt documents here and in the folders of subjects: path of the file → arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rocks.inventory.records import BootAction, Disk, VirtualMachine
from rocks.machine.domain import InstallBoot
from rocks.machine.placement import Cell, Placement
from rocks.network.guest_connections import Bridged, Connection, Unconnected, VirtualFunction, VlanMacvtap
from tests.unit.machines import machine

MAC, OTHER_MAC = "76:77:6e:80:00:00", "76:77:6e:80:00:01"
TAP = VlanMacvtap(MAC, "peth0.4", "peth0", 4, 1500)
BRIDGE = Bridged(MAC, "eth0")
INSTALL_FRONTEND = BootAction(
    "install vm frontend",
    "/boot/kickstart/default/vmlinuz",
    "/boot/kickstart/default/initrd.img",
    "ksdevice=eth1 build airboss=localhost",
)
METACHARACTERS = 'it\'s "<it>" & ]]> $(reboot);`x`\\ é東\U0001f600'


@dataclass(frozen=True)
class Case:
    """The arguments of `domain_lines`."""

    vm: VirtualMachine
    connections: Sequence[Connection] = (BRIDGE,)
    install: InstallBoot | None = None
    placement: Placement | None = None


def with_attributes(**attributes: str) -> VirtualMachine:
    return machine(attributes=attributes, cpus=2)


def with_disks(*disks: str, **values: Any) -> VirtualMachine:
    return machine(disks=disks, **values)


CASES = {
    "cpus/compute_with_maxima": Case(
        machine(attributes={"kvm_max_cpus": "4", "kvm_max_memory": "8192"}, cpus=2, memory_mb=1024)
    ),
    "cpus/compute_with_maxima_and_cpu_model": Case(
        machine(
            attributes={
                "kvm_max_memory": "8192",
                "kvm_max_cpus": "8",
                "cpu_mode": "host-passthrough:<topology sockets='1' cores='2' threads='1'/>",
            },
            cpus=2,
            memory_mb=1024,
        )
    ),
    "compute_on_a_bridge": Case(machine()),
    "cpus/host_passthrough": Case(machine(attributes={"cpu_mode": "host-passthrough"})),
    "compute_in_a_cluster": Case(
        machine("vm-vc1-0", memory_mb=1024, disks=["file:/images/vm-vc1-0.vda,vda,virtio"]), [TAP]
    ),
    "boot/frontend_from_its_disk": Case(
        machine("vc1", appliance="frontend", boot_action="os"), [TAP, Bridged(OTHER_MAC, "eth1")]
    ),
    "boot/frontend_is_installed": Case(
        machine("vc1", appliance="Frontend", boot_action="install"),
        [TAP, Bridged(OTHER_MAC, "eth1")],
        InstallBoot(
            INSTALL_FRONTEND, "203.0.113.9", "255.255.255.0", "198.51.100.7", "203.0.113.1", OTHER_MAC
        ),
    ),
    "boot/frontend_is_installed_without_a_public_interface": Case(
        machine("vc1", appliance="frontend"), [TAP], InstallBoot(INSTALL_FRONTEND, gateway="203.0.113.1")
    ),
    "boot/another_appliance_is_installed": Case(
        machine(), install=InstallBoot(INSTALL_FRONTEND, "203.0.113.9", mac=OTHER_MAC)
    ),
    "boot/install_action_without_anything": Case(
        machine(), install=InstallBoot(BootAction("install vm frontend", None, None, None))
    ),
    "nothing_but_itself": Case(with_disks(), ()),
    "boot/no_boot_from_the_network": Case(with_attributes(kvm_netboot="no")),
    "boot/cd_image": Case(machine(cdrom_path="/export/iso/install.iso")),
    "boot/cd_boots_last": Case(
        machine(cdrom_path="/export/iso/install.iso", attributes={"kvm_cdrom_boot": "last"})
    ),
    "boot/made_from_an_image": Case(machine(attributes={"vm_image": "debian-12", "kvm_netboot": "no"})),
    "boot/made_from_an_image_with_a_disk_of_scsi": Case(
        with_disks(
            "file:/images/web.vda,vda,virtio",
            "file:/images/web.sda,sda,scsi",
            attributes={"vm_image": "debian-12", "kvm_netboot": "no"},
        ),
    ),
    "disks/cd_device": Case(machine(cdrom_path="/dev/sr0")),
    "disks/cd_beside_ide_disks": Case(
        with_disks("file:/a,hda,ide", "file:/b,sdb,ide", "file:/c,hdd,virtio", cdrom_path="/x.iso")
    ),
    "disks/every_kind_of_disk": Case(
        with_disks(
            "file:/images/a,vda,virtio",
            "qcow2:/images/b,sda,scsi",
            "qed:/images/c,hda,ide",
            "phy:/dev/vg/d,sdb,sata",
            "tap:aio:/images/e,xvda,w",
        )
    ),
    "disks/disks_that_a_nas_keeps": Case(
        machine(
            "vm-vc1-0",
            disks=[
                Disk("phy", "/dev/mapper", "vm-vc1-0-vol-snap", "vda", "virtio", 36),
                Disk("phy", "/dev/mapper", "vm-vc1-0-vol1-snap", "vdb", "w", 36),
                "phy:/dev/disk/by-path/ip-10.1.0.9:3260-iscsi-iqn.2001-04.com.nas-0-0:vm-vc1-0-vol2.7-lun-0,sda,scsi",
            ],
        )
    ),
    "disks/disks_that_want_the_same_device": Case(
        with_disks(
            "file:/images/a,vda,virtio",
            "file:/images/b,vda,virtio",
            "file:/images/c,vdb,virtio",
            "file:/images/d,xvda,virtio",
            "file:/images/e,xvda,virtio",
        )
    ),
    "cpus/cpu_mode_with_more_inside": Case(
        with_attributes(
            cpu_mode="custom:<model fallback='allow'>qemu64</model>\n<feature policy='require' name='aes'/>"
        )
    ),
    "cpus/pinned_one_to_one": Case(with_attributes(kvm_cpu_pinning="pin_all")),
    "cpus/pinned_by_hand": Case(
        with_attributes(kvm_cpu_pinning="<vcpupin vcpu='0' cpuset='2-3'/>\n<emulatorpin cpuset='1'/>")
    ),
    "cpus/pinned_before_its_start": Case(with_attributes(kvm_cpu_pinning="numa", kvm_hugepages="2M")),
    "cpus/pinned_on_one_node": Case(
        machine(
            cpus=4,
            memory_mb=4096,
            attributes={"kvm_cpu_pinning": "pin_all", "kvm_hugepages": "1G", "kvm_watchdog": "reset"},
            disks=["file:/images/a,vda,virtio", "file:/images/b,sda,scsi", "phy:/dev/vg/c,vdb,w"],
        ),
        [TAP, Bridged(OTHER_MAC, "eth1")],
        placement=Placement(
            pins=(4, 20, 5, 21),
            threads=2,
            memory_node=1,
            helpers=(0, 1, 16, 17),
            allocating=(4, 5, 20, 21),
            needs_topoext=True,
            devices=("0000:3b:00.0", "0001:d8:1f.7"),
        ),
    ),
    "cpus/pinned_on_two_nodes": Case(
        machine(
            cpus=8,
            memory_mb=4098,
            attributes={
                "kvm_cpu_pinning": "numa",
                "kvm_iothreads": "2",
                "kvm_queues": "4",
                "kvm_discard": "yes",
            },
            disks=["file:/images/a,vda,virtio", "file:/images/b,sda,scsi", "phy:/dev/vg/c,vdb,w"],
        ),
        [Bridged(MAC, "ovs0", is_open_vswitch=True), BRIDGE],
        placement=Placement(
            pins=(2, 3, 4, 5, 10, 11, 12, 14),
            cells=(Cell(0, (0, 1, 2, 3), 2098176), Cell(1, (4, 5, 6, 7), 2098176)),
            helpers=(2, 3, 4, 5, 10, 11, 12, 14),
        ),
    ),
    "cpus/beside_pinned_machines": Case(
        with_attributes(cpu_mode="Cascadelake-Server"), placement=Placement(floating=(0, 1, 2, 5))
    ),
    "cpus/pinned_with_a_model_of_the_sites_own": Case(
        with_attributes(
            kvm_cpu_pinning="pin_all",
            cpu_mode="host-passthrough:<topology sockets='2' cores='1' threads='1'/>\n<cache mode='disable'/>",
        ),
        placement=Placement(pins=(0, 1)),
    ),
    "features_of_the_sites_own": Case(with_attributes(HVM_Features="<acpi/>\n<apic/>")),
    "paravirtualised_without_features": Case(machine(virt_type="para")),
    "kind_unknown": Case(machine(virt_type=None)),
    "devices_of_the_sites_own": Case(
        with_attributes(
            kvm_device_0="<rng model='virtio'>\n<backend model='random'>/dev/urandom</backend>\n</rng>",
            KVM_Device_1="<watchdog model='i6300esb'/>",
            kvm_device_3="<this one='is behind a gap'/>",
        )
    ),
    "network/open_vswitch": Case(machine(), [Bridged(MAC, "ovs0", is_open_vswitch=True)]),
    "network/virtual_functions": Case(
        machine("vm-vc1-0"),
        [
            VirtualFunction(MAC, "eth1", "peth1", 4),
            VirtualFunction("76:77:6E:80:0:1", "ib0", "pib0", 0),
            BRIDGE,
        ],
    ),
    "network/interface_without_a_connection": Case(
        machine(), [Unconnected("eth0", "its host has no interface for VLAN 5"), Bridged(MAC, "eth0")]
    ),
    "network/mac_written_short": Case(machine(), [Bridged("76:77:6E:80:0:A", "eth0")]),
    "metacharacters": Case(
        machine(
            disks=[f"file:/{METACHARACTERS}/a,vda,virtio", f"phy:/dev/{METACHARACTERS},vdb,virtio"],
            cdrom_path=f"/{METACHARACTERS}.iso",
        ),
        install=InstallBoot(
            BootAction("install", f"/{METACHARACTERS}", f"/{METACHARACTERS}", METACHARACTERS)
        ),
    ),
}
