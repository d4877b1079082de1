"""A libvirt in memory or a real one, and a guest with a blank disk; for the cases beside this file."""

import tempfile
from pathlib import Path

from rocks.fleet.host.change import UNCHANGED, Change
from rocks.fleet.wire.errors import as_exception
from rocks.fleet.wire.requests import Operation, PerformRequest, StartDomain
from rocks.machine.host.host import Host
from rocks.machine.host.libvirt.domain_xml import DomainDocument
from rocks.machine.host.libvirt.driver import DomainDriver
from rocks.machine.host.libvirt.power import Prepared, ensure_running, settled
from rocks.machine.host.operations import perform
from rocks.machine.plans import way_of
from tests.fakes.links import FakeLinks
from tests.fakes.packet_filters import FakeFilters

NAME = "vm-t-0"

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


class World:
    """A libvirt, an agent on it that has forgotten all leases, and a blank disk."""

    def __init__(self, domains: DomainDriver, folder: Path) -> None:
        self.domains = domains
        self.image = folder / "vm.img"
        self._folder = folder

    def do(self, operation: Operation) -> Change:
        """What the agent does with an operation; its error raised. Leases are cases of `test_agent_leases.py`."""
        state = Path(tempfile.mkdtemp(dir=self._folder))
        host = Host(state, lambda: self.domains, FakeLinks, open_filters=FakeFilters)
        (outcome,) = perform(host, PerformRequest((operation,))).outcomes
        if outcome.error is not None:
            raise as_exception(outcome.error)
        return Change(outcome.changed, outcome.notes)


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
    way = way_of(request, settled(world.domains, request.name), "")
    return ensure_running(world.domains, request, way, lambda: Prepared(request.xml, notes), unsecured)
