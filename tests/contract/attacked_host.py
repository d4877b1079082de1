"""A host in memory whose image directory is a real folder: others put files, links and devices there."""

from dataclasses import replace
from pathlib import Path

from rocks.core.process import run_checked
from rocks.fleet.wire.requests import (
    DiskSpec,
    GiveImageRequest,
    PerformRequest,
    ResumeDomain,
    StartDomain,
    StopDomain,
)
from rocks.machine.host.host import Host
from tests.contract.agents import ask, leased_xml
from tests.fakes.libvirt import FakeDomains
from tests.fakes.links import FakeLinks
from tests.fakes.packet_filters import FakeFilters
from tests.patience import patience

MINE = "11111111-1111-4111-8111-111111111111"
THEIRS = "22222222-2222-4222-8222-222222222222"


class Attacked:
    """A host whose image directory is `images`."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.images = folder / "images"
        self.images.mkdir(mode=0o711)
        self.images.chmod(0o711)
        self.domains = FakeDomains()
        self.state = folder / "state"
        self.host = Host(self.state, lambda: self.domains, FakeLinks, open_filters=lambda: self.filters)
        self.filters = FakeFilters()
        self.token = 0

    def spec(self, path: Path, **changes: object) -> DiskSpec:
        """A disk of machine MINE in the image directory."""
        spec = DiskSpec(str(path), "raw", 1, False, machine=MINE, directory=str(self.images))
        return replace(spec, **changes)  # type: ignore[arg-type]

    def perform(self, operation: StartDomain | StopDomain | ResumeDomain) -> str:
        """The error of an operation, empty when it is done."""
        (outcome,) = ask(self.host, PerformRequest((operation,))).outcomes
        return "" if outcome.error is None else outcome.error.message

    def operation(self, *disks: DiskSpec) -> StartDomain:
        """A start under the next lease."""
        self.token += 10
        return StartDomain("vm", self.token, leased_xml("vm", self.token), disks)

    def give(self, path: Path, is_block: bool = False) -> None:
        """Make a disk of nobody that of machine MINE, as an operator does by `rocks set host image`."""
        ask(self.host, GiveImageRequest(str(path), str(self.images), is_block, MINE))

    def start(self, *disks: DiskSpec) -> str:
        """The error of a start, empty when the guest runs; it is stopped again."""
        error = self.perform(self.operation(*disks))
        assert (self.domains.find("vm") is None) == bool(error), "a rejected start left a domain"
        assert not self.perform(StopDomain("vm"))
        return error


def done(command: list[str]) -> str:
    return run_checked(command, deadline_seconds=patience(20)).text.strip()
