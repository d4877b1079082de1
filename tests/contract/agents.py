"""The agent's functions on a host in memory, and the operations that its tests start with."""

from pathlib import Path
from typing import Any

from rocks.agent.calls import reply_to
from rocks.core.errors import RocksError
from rocks.fleet.wire.calls import read_reply, write_request
from rocks.fleet.wire.codec import Reply, Request
from rocks.fleet.wire.requests import LinkSpec, OperationOutcome, PerformRequest, StartDomain
from rocks.machine.host.host import Host
from rocks.storage.device_mapper.dm_devices import DmDevices
from tests.fakes.device_mapper import FakeKernel
from tests.fakes.infiniband import FakePkeys
from tests.fakes.libvirt import FakeDomains
from tests.fakes.links import FakeLinks
from tests.fakes.packet_filters import FakeFilters
from tests.fakes.virtual_functions import FakeVfs

VLAN = LinkSpec("ptrunk.7", "vlan", "trunk", 7)
XML = """<domain type='{kind}'><name>{name}</name>
<metadata><rocks:lease xmlns:rocks="urn:rocks:lease" token="{token}"/></metadata>
<memory>65536</memory><vcpu>1</vcpu>{cpu}<devices>{devices}</devices></domain>"""


def ask(host: Host, request: Request[Reply]) -> Reply:
    """The reply of the agent of a host, or its error raised; both cross the wire."""
    answer = read_reply(reply_to(host, write_request(request)), request)
    if isinstance(answer, RocksError):
        raise answer
    return answer


class AskedAgent:
    """What every agent of a test is asked; the test builds its `host`."""

    host: Host

    def ask(self, request: Request[Reply]) -> Reply:
        """The reply, or the agent's error raised."""
        return ask(self.host, request)

    def perform(self, *operations: Any) -> tuple[OperationOutcome, ...]:
        return self.ask(PerformRequest(operations)).outcomes

    def error(self, operation: Any) -> Any:
        """Its error, None when it succeeds."""
        (outcome,) = self.perform(operation)
        return outcome.error


class Agent(AskedAgent):
    """An agent whose host has the device `trunk`, and no domain."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state_folder = folder, folder / "state"
        self.domains, self.links, self.filters = FakeDomains(), FakeLinks(), FakeFilters()
        self.pkeys, self.vfs = FakePkeys(), FakeVfs()
        self.dm_devices = DmDevices(FakeKernel(lambda path: 2**21).open)
        self.trunk = self.links.add("trunk", "veth")
        self.host = Host(
            self.state_folder,
            lambda: self.domains,
            lambda: self.links,
            self.open_pkeys,
            lambda: self.vfs,
            lambda: self.filters,
            lambda: self.dm_devices,
        )

    def open_pkeys(self) -> FakePkeys:
        return self.pkeys

    def state(self, name: str) -> str | None:
        fact = self.domains.find(name)
        return None if fact is None else fact.state


def leased_xml(name: str, token: int, devices: str = "", kind: str = "qemu", cpu: str = "") -> str:
    """A small domain under a lease."""
    return XML.format(name=name, token=token, devices=devices, kind=kind, cpu=cpu)


def xml(name: str, token: int = 7, kind: str = "kvm", devices: str = "") -> str:
    """A small domain that wants the host's own CPU."""
    return leased_xml(name, token, devices, kind, "<cpu mode='host-passthrough'/>")


def start(name: str, token: int = 7, **changes: Any) -> StartDomain:
    return StartDomain(name, token, changes.pop("xml", xml(name, token)), **changes)
