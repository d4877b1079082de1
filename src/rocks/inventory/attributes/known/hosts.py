"""Attributes of a physical host: how it is reached and powered, what it gives to machines, its networks. Pure."""

from __future__ import annotations

from rocks.inventory.attributes.known.form import Known

DEFAULT_MEMORY_RESERVE_MB = 256
"""The memory that is left to a host by default; attribute `vm_memory_reserve`."""

HOSTS = {
    "managed": Known("appliance", "true or no", "", "true: commands without a host argument act on the host"),
    "kvm": Known("appliance", "yes or no", "", "true: the host runs virtual machines"),
    "primary_net": Known(
        "appliance", "network", "private", "network whose address reaches the host and that names it"
    ),
    "ssh_port": Known("host", range(1, 65536), "22", "port of the host's SSH service"),
    "vm_pinned_cpus": Known(
        "host",
        "CPU set",
        "",
        "CPUs of the host for machines with kvm_cpu_pinning pin_all or numa, as 2-15,18-31; other machines and "
        "QEMU's own threads run on the rest; unset: all machines on all CPUs",
    ),
    "vm_hugepages": Known(
        "host",
        "page reserve",
        "",
        "huge pages that the host's profile reserves, as 2M:1024 1G:8@1: size, number and, after @, a NUMA node; "
        "without a node the kernel spreads them",
    ),
    "vm_pci_pools": Known(
        "host",
        "PCI pools",
        "",
        "PCI devices of the host that machines may get, by pools: gpu:0000:3b:00.0,0000:d8:00.0 nvme:0000:5e:00.0",
    ),
    "vm_memory_reserve": Known(
        "host",
        range(10**9),
        str(DEFAULT_MEMORY_RESERVE_MB),
        "MB of the host's memory that virtual machines may not use",
    ),
    "vm_fence_command": Known(
        "host",
        "text",
        "",
        "program and arguments that switch the host off, for force=yes; a secret: rocks set host sec_attr. All users "
        "see its arguments while it runs: let it read a password from a file (mode 0600) or from NAME=value before it",
        is_secret=True,
        is_program=True,
    ),
    "power_command": Known(
        "host",
        "text",
        "",
        "program and arguments for rocks set host power, which adds the action (on, off or cycle) and the host's "
        "name; a secret: rocks set host sec_attr. A password is in a file (mode 0600) or in NAME=value before it",
        is_secret=True,
        is_program=True,
    ),
    "ipmi_address": Known(
        "host", "host or address", "", "address of the host's BMC, for rocks set host power by ipmitool"
    ),
    "ipmi_user": Known("host", "user", "admin", "user at the host's BMC"),
    "ipmi_password": Known(
        "host", "text", "", "password at the host's BMC; a secret: rocks set host sec_attr", is_secret=True
    ),
    "airboss": Known(
        "host",
        "host or address",
        "",
        "of localhost, in a virtual cluster: address of the site's frontend, for rocks set host power key=…",
    ),
    "airboss_old_rsa": Known(
        "host",
        "yes or no",
        "no",
        "true, of a virtual frontend: its owner may sign requests with an RSA key below 3072 bits",
    ),
    "airboss_images": Known(
        "host",
        "CD images",
        "",
        "of a virtual frontend: ISOs of the library, separated by commas, for its owner's CD drives",
    ),
    "comment": Known("host", "text", "", "what rocks set host comment stored"),
    "vm_mac_base_addr": Known("global", "MAC address", "", "first MAC address for virtual machines"),
    "vm_mac_base_addr_mask": Known("global", "MAC mask", "", "mask of the MAC pool"),
    "vlan_transport": Known(
        "host", ("local",), "", "local: VLANs are bridges on the host alone, for a kernel without 8021q"
    ),
    "vm_vlan_pool": Known(
        "global",
        "VLAN ids",
        "2-4094",
        "VLAN ids for virtual clusters: numbers and ranges, separated by commas: 100-199,300",
    ),
    "ib_pkey_pool": Known(
        "global",
        "partition keys",
        "",
        "partition keys for virtual clusters, as 0x0002-0x00ff; unset, the site has no InfiniBand",
    ),
    "ib_default_membership": Known(
        "global",
        "membership",
        "both",
        "membership of all ports in the default partition: both, full, limited, or none for no statement",
    ),
    "ib_sm": Known(
        "global", "subnet manager", "", "virtual: the subnet manager sees ports of virtual machines (mlx5)"
    ),
    "ib_partitions_file": Known(
        "global", "path", "/etc/opensm/partitions.conf", "where opensm reads its partitions"
    ),
    "ib_opensm_pid_file": Known(
        "global", "path", "", "file with the process id of opensm, which is signalled to read its partitions"
    ),
    "ib_opensm_reload": Known(
        "global",
        "text",
        "",
        "program and arguments that make opensm read its partitions, instead of a signal",
        is_program=True,
    ),
}
