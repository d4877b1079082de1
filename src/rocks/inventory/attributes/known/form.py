"""What the tables say of an attribute. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

NamedForm = Literal[
    "boot place",
    "CD image",
    "CD images",
    "CPU mode",
    "CPU pinning",
    "CPU set",
    "device patterns",
    "disk choice",
    "disks of a host",
    "disks of a NAS",
    "folder",
    "host name",
    "host or address",
    "I/O threads",
    "image",
    "image folder",
    "image folders",
    "IPv4 address",
    "IPv4 addresses",
    "IPv6 addresses",
    "kernel arguments",
    "MAC address",
    "MAC mask",
    "membership",
    "memory in MB",
    "network",
    "number of CPUs",
    "page reserve",
    "page size",
    "partition keys",
    "partitions",
    "path",
    "PCI pools",
    "PCI requests",
    "pool",
    "pools",
    "public keys",
    "queues",
    "subnet manager",
    "text",
    "true or no",
    "user",
    "VLAN ids",
    "watchdog action",
    "XML elements",
    "yes or no",
    "zone",
]
"""A form that `inventory.attributes.forms` checks; it is not loaded with the tables, which every command needs."""


class Known(NamedTuple):
    """An attribute that the system itself reads: its usual scope, the form of its values, its default, its meaning.

    The form is the name of one, the numbers that are valid, or the texts that are. A secret one is stored where only
    root reads it. One that is a program names what this system runs as root.
    """

    scope: str
    form: NamedForm | range | tuple[str, ...]
    default: str
    meaning: str
    is_secret: bool = False
    is_program: bool = False

    @property
    def form_text(self) -> str:
        """The form for people, such as `1 to 64` or `deb or rpm`."""
        if isinstance(self.form, range):
            return f"{self.form[0]} to {self.form[-1]}"
        return self.form if isinstance(self.form, str) else " or ".join(self.form)
