"""Attributes of a virtual machine: its CPUs, devices, first boot and network. Pure."""

from __future__ import annotations

from rocks.inventory.attributes.known.form import Known

MACHINES = {
    "vm_image": Known(
        "host",
        "image",
        "",
        "image of the library from which the virtual machine's first disk is made where it does not exist yet, or "
        "volume:NAME, a volume of the NAS that has the disk; the machine then gets a second, small disk for cloud-init "
        "with its name, addresses and keys",
    ),
    "vm_disk_clone_of": Known(
        "host",
        "text",
        "",
        "volume on its NAS of which the virtual machine's first disk is a copy; rocks clone cluster sets it",
    ),
    "vm_cdrom": Known(
        "host",
        "CD image",
        "",
        "ISO of the library in the virtual machine's CD drive; rocks set host vm cdrom sets it",
    ),
    "vm_authorized_keys": Known(
        "host",
        "public keys",
        "",
        "public SSH keys, one a line, that may log in as root to a machine with vm_image",
    ),
    "vm_cluster_address": Known(
        "host",
        "IPv4 address",
        "",
        "IPv4 address inside its virtual cluster of a compute with vm_image; its netmask is that of the frontend",
    ),
    "vm_cluster_key": Known(
        "host",
        "text",
        "",
        "of a virtual frontend with vm_image: the key, made at a start, with which it reaches its computes; a secret",
        is_secret=True,
    ),
    "vm_vc_out": Known(
        "host",
        "text",
        "",
        "vc-out.xml of a machine with vm_image: /root/vc-out.xml, and a file on its disk for cloud-init (roll pragma)",
    ),
    "vm_instance": Known(
        "host",
        range(10**9),
        "",
        "how often rocks reinstall has given the machine a fresh disk; a part of cloud-init's instance-id",
    ),
    "vm_filter": Known(
        "host",
        ("on", "off"),
        "on",
        "off: guests of the host, or this guest, may send any frame; for kernels without packet filters",
    ),
    "vm_ipv6": Known(
        "host",
        "IPv6 addresses",
        "",
        "IPv6 addresses, separated by commas, of the virtual machine on networks that it shares with others",
    ),
    "cpu_mode": Known(
        "global",
        "CPU mode",
        "",
        "CPU of guests: host-passthrough, host-model, the name of a CPU model, or MODE:INNER-XML; unset: QEMU's own, "
        "and host-passthrough for pin_all and numa",
    ),
    "kvm_cpu_pinning": Known(
        "host",
        "CPU pinning",
        "none",
        "pin_all: whole cores of the host for the machine alone; numa: on as few of its NUMA nodes as possible, with "
        "memory from them, which the guest sees as its own nodes; or XML for cputune",
    ),
    "kvm_hugepages": Known(
        "host",
        "page size",
        "none",
        "2M or 1G: the machine's memory is in huge pages, which the host has in vm_hugepages",
    ),
    "kvm_queues": Known(
        "host",
        "queues",
        "",
        "queues of each virtio disk and interface of the machine: a number, or cpus for one per CPU; unset: cpus for "
        "pin_all and numa, else 1",
    ),
    "kvm_iothreads": Known(
        "host",
        "I/O threads",
        "",
        "threads of QEMU for the machine's virtio disks; unset: 1 for pin_all and numa, else 0",
    ),
    "kvm_discard": Known(
        "host",
        "yes or no",
        "no",
        "yes: blocks that the guest discards (fstrim) are freed where its disks are stored",
    ),
    "kvm_watchdog": Known(
        "host",
        "watchdog action",
        "",
        "the machine has a watchdog (i6300esb); what happens when its guest hangs: reset, poweroff, shutdown, pause, "
        "dump, inject-nmi or none",
    ),
    "kvm_pci_devices": Known(
        "host",
        "PCI requests",
        "",
        "PCI devices that the machine gets from its host: names of pools in vm_pci_pools with numbers: gpu:2 nvme",
    ),
    "kvm_autostart": Known("host", "true or no", "", "true: the machine starts with its container"),
    "kvm_device_0": Known(
        "host", "text", "", "XML of one more device; kvm_device_1 and so on, up to the first missing number"
    ),
    "kvm_cdrom_boot": Known(
        "host",
        "boot place",
        "first",
        "last: the CD boots where neither the network nor the disk does; first: before them",
    ),
    "kvm_max_cpus": Known(
        "host",
        "number of CPUs",
        "",
        "the number of CPUs up to which the running machine gets more (rocks set host vm cpus=)",
    ),
    "kvm_max_memory": Known(
        "host",
        "memory in MB",
        "",
        "the memory in MB up to which the running machine gets more (rocks set host vm mem=)",
    ),
    "kvm_netboot": Known("host", "yes or no", "yes", "no: the network is left out of the boot order"),
    "HVM_Features": Known("host", "XML elements", "", "XML that replaces the default features"),
}
