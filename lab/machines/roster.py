"""Which machines the lab has, and every name, address and number that follows from that. Pure."""

from __future__ import annotations

import enum
from typing import NamedTuple

NETWORK = "10.9.0.0"
NETMASK = "255.255.0.0"
PREFIX_LENGTH = 16
STORAGE_MTU_BYTES = 9000
FRONTEND_ADDRESS = "10.9.0.1"
"""The carrying machine's own address on the storage bridge, inside the lab's namespace only."""

STORAGE_BRIDGE = "storage"
TRUNK_BRIDGE = "trunk"
STORAGE_DEVICE = "storage0"
TRUNK_DEVICE = "trunk0"
"""Names of a machine's network devices inside it: storage with management, and the VLAN trunk."""

BASE_MEMORY_MB = 1024


class Role(enum.Enum):
    """Role of a machine."""

    NAS = "nas"
    HOST = "host"


class Description(NamedTuple):
    """One machine. `number` gives its addresses and must be unique, 0 to 99."""

    name: str
    role: Role
    number: int
    memory_mb: int = BASE_MEMORY_MB
    cpus: int = 1
    """One: with two, QEMU's emulated SVM has interrupts taken while they are off as soon as two nested guests run on a
    host (10.0; the host's kernel then waits for itself for ever), and a machine boots no faster. `start cpus=2` gives
    each machine two, for figures that need no second guest."""
    data_disk_gb: int = 8
    numa_nodes: int = 1
    """Processors and memory are in equal parts on so many nodes, which the machine sees. With several, its guests run
    without KVM when it does."""

    @property
    def site_name(self) -> str:
        """Its name in the cluster database: no host may have the name of an appliance, and `nas` is one."""
        return f"nas-0-{self.number}" if self.role is Role.NAS else self.name

    @property
    def names(self) -> tuple[str, ...]:
        """All names by which others find it."""
        return tuple(dict.fromkeys((self.name, self.site_name)))

    @property
    def address(self) -> str:
        """Its address on the storage network, by which it is managed too."""
        return f"10.9.0.{10 + self.number}"

    @property
    def storage_mac(self) -> str:
        """MAC address on the storage bridge."""
        return f"52:54:00:09:00:{self.number:02x}"

    @property
    def trunk_mac(self) -> str:
        """MAC address on the trunk."""
        return f"52:54:00:0a:00:{self.number:02x}"

    @property
    def host_id(self) -> str:
        """The number by which ZFS knows that a pool was last used here, eight hexadecimal digits."""
        return f"0a0900{10 + self.number:02x}"

    @property
    def pool(self) -> str:
        """Its ZFS pool, on its data disk: the NAS's default pool, or the pool of a host's local images."""
        return "tank" if self.role is Role.NAS else "vmpool"

    @property
    def initiator(self) -> str:
        """Its iSCSI name."""
        return f"iqn.2024-01.org.rocks.lab:{self.name}"

    @property
    def taps(self) -> dict[str, str]:
        """Tap device on the carrying machine → bridge it is a port of."""
        taps = {f"{self.name}-storage": STORAGE_BRIDGE}
        if self.role is Role.HOST:
            taps[f"{self.name}-trunk"] = TRUNK_BRIDGE
        return taps


NAS = Description("nas", Role.NAS, 0)
VMH1 = Description("vmh1", Role.HOST, 1)
VMH2 = Description("vmh2", Role.HOST, 2)
MACHINES = (NAS, VMH1, VMH2)
"""To add a machine, add a row; docs/lab.md names the other steps."""
