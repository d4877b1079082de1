"""A libvirt in memory or a real one, and a guest with a blank disk; for the cases beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from rocks.fleet.host.change import UNCHANGED, Change
from rocks.fleet.wire.requests import StartDomain
from rocks.machine.host.libvirt.domain_xml import DomainDocument
from rocks.machine.host.libvirt.driver import DomainDriver
from rocks.machine.host.libvirt.fake import FakeDomains
from rocks.machine.host.libvirt.start import Prepared, ensure_running, settled
from rocks.machine.plan import way_of

NAME = "vm-t-0"

END = list[int]().append
"""Ends no lease; that it ends is a case of `tests/contract/machine/test_agent_leases.py`."""

XML = """<domain type='qemu'>
  <name>{name}</name>
  {metadata}
  <memory>65536</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='{image}'/><target dev='vda' bus='virtio'/>
    </disk>
    <serial type='pty'><log file='/var/log/libvirt/qemu/{name}-serial.log'/></serial>
    <graphics type='vnc'>{listen}</graphics>
  </devices>
</domain>"""
SOCKET = "<listen type='socket'/>"
LOOPBACK = "<listen type='address' address='127.0.0.1'/>"
LEASE = '<metadata><rocks:lease xmlns:rocks="urn:rocks:lease" token="{}"/></metadata>'


class World(Protocol):
    """A libvirt, and what only the operator of its host does."""

    domains: DomainDriver
    image: Path


class FakeWorld:
    def __init__(self, folder: Path) -> None:
        self.fake = FakeDomains()
        self.domains: DomainDriver = self.fake
        self.image = folder / "vm.img"


class RealWorld:
    def __init__(self, uri: str, folder: Path) -> None:
        from rocks.machine.host.libvirt.domains import Domains

        self.real = Domains(uri)
        self.domains: DomainDriver = self.real
        self.image = folder / "vm.img"


def unsecured(document: DomainDocument) -> Change:
    """Nobody looks at what these guests send."""
    return UNCHANGED


def xml_of(world: World, name: str = NAME, token: int | None = 7, listen: str = SOCKET) -> str:
    """A guest with a blank disk."""
    lease = "" if token is None else LEASE.format(token)
    return XML.format(name=name, metadata=lease, image=world.image, listen=listen)


def start(world: World, token: int = 7, **changes: object) -> bool:
    """Bring the guest to running under a lease; whether anything changed."""
    xml = xml_of(world, token=token)
    request = StartDomain(NAME, token, xml, **changes)  # type: ignore[arg-type]
    return run(world, request).changed


def run(world: World, request: StartDomain, notes: tuple[str, ...] = ()) -> Change:
    """Bring the guest to running in the way that its host plans."""
    way = way_of(request, settled(world.domains, request.name))
    return ensure_running(world.domains, request, way, lambda: Prepared(request.xml, notes), unsecured)
