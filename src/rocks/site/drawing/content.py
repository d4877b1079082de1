"""What a drawing of the site has: networks, physical hosts, virtual machines, and where their disks are. Pure."""

from __future__ import annotations

from typing import NamedTuple

LOCAL = "on its host"
"""The place of a disk that is not on a NAS."""


class TopologyNetwork(NamedTuple):
    """A network of the site and its address, `10.1.0.0/255.255.0.0`."""

    name: str
    address: str


class TopologyHost(NamedTuple):
    """A physical host with its membership, and the networks of its interfaces."""

    name: str
    membership: str
    rack: int
    networks: tuple[str, ...]


class TopologyMachine(NamedTuple):
    """A virtual machine. `cluster` is '' for one without; `disks` has `NAS:POOL` or `LOCAL` for each."""

    name: str
    cluster: str
    container: str
    disks: tuple[str, ...]


class Topology(NamedTuple):
    """The site. `vlans` maps a cluster to its VLAN ids."""

    networks: tuple[TopologyNetwork, ...]
    hosts: tuple[TopologyHost, ...]
    machines: tuple[TopologyMachine, ...]
    vlans: dict[str, tuple[int, ...]]
