"""Every place of a host's state folder, damaged: an error names the path and what to do, and other machines go on."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rocks.agent.calls import reply_to
from rocks.core.errors import RocksError
from rocks.core.process import run_checked
from rocks.fleet.host.state_folder import Place
from rocks.fleet.wire.calls import read_reply, write_request
from rocks.fleet.wire.codec import Request
from rocks.fleet.wire.errors import as_exception
from rocks.fleet.wire.facts import FactsRequest, Fence, LeaseEnd, ProbeRequest
from rocks.fleet.wire.requests import (
    DiskSpec,
    ImagesRequest,
    InfinibandRequest,
    LinkPlan,
    LinkSpec,
    PartitionSpec,
    PerformRequest,
    StartDomain,
    StopDomain,
    SyncLinksRequest,
    VfSpec,
)
from rocks.machine.host.files import ImageOwners
from rocks.machine.host.guest_network import restore_links
from rocks.machine.host.hook import note_end
from rocks.machine.host.libvirt import accelerator
from rocks.network.infiniband.host.pkey_rules import InfinibandVf
from tests.contract.agents import VLAN, Agent, leased_xml
from tests.generated import sample
from tests.patience import patience

SOURCES = Path(__file__).resolve().parents[3] / "src/rocks"
ADDRESS = "0000:03:00.1"
INTERFACE = """<interface type='hostdev' managed='yes'><source><address type='pci' domain='0x0' bus='0x0' slot='0x0'
function='0x0'/></source><mac address='52:54:00:aa:00:01'/></interface>"""
HOSTDEV = """<hostdev mode='subsystem' type='pci' managed='yes'><source>
<address domain='0x0000' bus='0x03' slot='0x00' function='0x1'/></source></hostdev>"""
OTHER_VLAN = LinkSpec("ptrunk.8", "vlan", "trunk", 8)
RED = PartitionSpec(2, "full", "02000000000000a0", "02000000000000a4")
UUID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"


class UsedAgent(Agent):
    """An agent with all kinds of devices in memory, and its state folder on a disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.vfs.add("trunk")
        self.pkeys.add(InfinibandVf(ADDRESS, "mlx4_0", 0, "index_map", "ib0"))
        self.pkeys.tables = {"mlx4_0": {0: 0xFFFF, 1: 0x8002, 2: 0x8003, 3: 0x7FFF}}
        self.token = 2**32

    def use_everything(self) -> list[RocksError]:
        """Each kind of request and hook once, for the machine `a`; the errors. Any other exception is a fault."""
        self.token += 2
        image = DiskSpec(str(self.folder / "disks" / "a.img"), "raw", 1, False, machine=UUID)
        vf = VfSpec("trunk", 2, 0, "52:54:00:aa:00:01")
        devices = {"disks": (image,), "links": (VLAN,), "vfs": (vf,), "partition": RED}
        requests: list[Request[Any]] = [
            ProbeRequest(),
            PerformRequest((self.start("a", INTERFACE + HOSTDEV, **devices),)),
            FactsRequest(epoch=1, asks_leases=True, fences=(Fence("c", 5),), lease_ends=(LeaseEnd("d", 5),)),
            SyncLinksRequest((LinkPlan("a", (VLAN,)), LinkPlan("b", (OTHER_VLAN,)))),
            ImagesRequest((str(self.folder / "disks"),)),
            InfinibandRequest(),
            PerformRequest((self.stop("a"),)),
        ]
        errors = [error for request in requests for error in self.errors_of(request)]
        try:
            errors += restore_links(self.host, 0.0)[1]
            ImageOwners(self.state_folder).set_device("wwid=1", "/dev/x", UUID)
            note_end(("a", "release", "end", "-"), leased_xml("a", 7), self.state_folder)
        except RocksError as error:
            errors.append(error)
        return errors

    def errors_of(self, request: Request[Any]) -> list[RocksError]:
        """The errors of the reply and of its outcomes."""
        answer = read_reply(reply_to(self.host, write_request(request)), request)
        if isinstance(answer, RocksError):
            return [answer]
        outcomes = [one for one in getattr(answer, "outcomes", ()) if getattr(one, "error", None) is not None]
        return [as_exception(one.error) for one in outcomes]

    def start(self, name: str, devices: str = "", **changes: Any) -> StartDomain:
        xml = leased_xml(name, self.token, devices)
        return StartDomain(name, self.token, xml, **{"memory_reserve_mb": 0, **changes})

    def stop(self, name: str) -> StopDomain:
        return StopDomain(name, self.token, "poweroff", 5)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UsedAgent:
    """A host without KVM on which every place has been used."""
    monkeypatch.setattr(accelerator, "_DEVICE", tmp_path / "absent")
    made = UsedAgent(tmp_path)
    Place.RELEASED.below(made.state_folder).mkdir(parents=True)
    assert made.use_everything() == []
    return made


def take_away(path: Path) -> None:
    if path.exists():
        path.rename(path.with_name(path.name + ".before"))


def other_kind(path: Path) -> None:
    """A file in place of a folder, a folder in place of a file."""
    is_folder = path.is_dir()
    take_away(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_folder:
        path.write_text("a file")
    else:
        (path / "content").mkdir(parents=True)


def empty(path: Path) -> None:
    """0 bytes, where a file is; without its content, where a folder is."""
    if path.is_dir():
        for file in path.iterdir():
            if file.is_file() and not file.name.startswith("."):
                file.write_bytes(b"")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "other kind": other_kind,
    "empty": empty,
    "FIFO": lambda path: (take_away(path), os.mkfifo(path)),
    "dangling link": lambda path: (take_away(path), path.symlink_to("/no/such/place")),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", sample(list(DAMAGES)))
@pytest.mark.parametrize("place", Place)
def test_a_damaged_place_is_named_with_what_to_do(agent: UsedAgent, place: Place, damage: str) -> None:
    path = place.below(agent.state_folder)
    DAMAGES[damage](path)
    for error in agent.use_everything():
        assert error.family in ("host", "incoherent", "state"), error
        assert "please report" not in str(error)
        assert str(path) in str(error), error
        assert any(verb in str(error) for verb in REMEDIES), error


REMEDIES = ("move it away: mv ", "remove the file", "rocks s", "is moved away", "remove it")


@pytest.mark.parametrize("place", [place for place in Place if "." not in place.value])
def test_a_folder_in_the_place_of_a_machine_s_record(agent: UsedAgent, place: Place) -> None:
    """Others are started and stopped all the same."""
    folder = place.below(agent.state_folder)
    for name in ("a", "a.json"):
        (folder / name).unlink(missing_ok=True)
        (folder / name / "inner").mkdir(parents=True)
    for error in agent.use_everything():
        assert error.family in ("host", "incoherent", "state"), error
        assert str(folder / "a") in str(error)
        assert any(verb in str(error) for verb in REMEDIES), error
    assert agent.errors_of(PerformRequest((agent.start("other"), agent.stop("other")))) == []


def test_the_table_has_every_place() -> None:
    """No module names a part of the state folder by itself."""
    found = [
        f"{file.relative_to(SOURCES)}: {line.strip()}"
        for file in sorted(SOURCES.rglob("*.py"))
        for line in file.read_text().splitlines()
        if "state_folder / " in line or "state_folder() / " in line
    ]
    assert found == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    folder = tmp_path / "state"
    folder.mkdir()
    run_checked(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], deadline_seconds=patience(10)
    )
    yield folder
    run_checked(["umount", "-l", str(folder)], deadline_seconds=patience(10))


def fill(folder: Path) -> None:
    with (folder / "filling").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 512)
        except OSError:
            pass


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize("place", Place)
def test_a_full_disk(small_disk: Path, tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the place exists, whichever it is: those that come before it are there."""
    monkeypatch.setattr(accelerator, "_DEVICE", tmp_path / "absent")
    agent = UsedAgent(tmp_path)
    for other in Place:
        if other is place:
            break
        path = other.below(agent.state_folder)
        path.parent.mkdir(exist_ok=True, parents=True)
        if "." not in other.value:
            path.mkdir(exist_ok=True)
    fill(small_disk)
    errors = agent.use_everything()
    assert errors
    for error in errors:
        assert error.family == "host", error
        assert "No space left on device; free space on that file system (df -h " in str(error)
        assert str(small_disk) in str(error)
    (small_disk / "filling").unlink()
    assert agent.use_everything() == []
