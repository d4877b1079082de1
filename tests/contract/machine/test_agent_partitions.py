"""The agent on a machine's InfiniBand VF: before the start, after the end, after a crash."""

import os
from pathlib import Path

import pytest

from rocks.core.errors import StateError
from rocks.fleet.host.change import Change
from rocks.fleet.host.state_folder import Place
from rocks.fleet.wire.errors import AgentError
from rocks.fleet.wire.requests import (
    InfinibandRequest,
    OperationOutcome,
    PartitionSpec,
    StartDomain,
    StopDomain,
)
from rocks.machine.host.guest_partitions import restore_partition
from rocks.machine.host.host import Host
from rocks.network.infiniband.host.pkey_rules import InfinibandVf
from rocks.network.infiniband.host.pkeys import Pkeys
from tests.contract.agents import Agent, leased_xml
from tests.contract.network.infiniband.adapter_tree import AdapterTree
from tests.contract.outcomes import refused
from tests.fakes.infiniband import FakePkeys

FIRST, SECOND = "0000:03:00.1", "0000:03:00.2"
RED = PartitionSpec(2, "full", "02000000000000a0", "02000000000000a4")
BLUE = PartitionSpec(3, "full", "02000000000000b0", "02000000000000b4")
HOSTDEV = """<hostdev mode='subsystem' type='pci' managed='yes'><source>
<address domain='0x0000' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/></source></hostdev>"""


class VfAgent(Agent):
    """An agent whose host has an mlx4 adapter with two VFs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for number, address in enumerate((FIRST, SECOND)):
            self.pkeys.add(InfinibandVf(address, "mlx4_0", number, "index_map", "ib0"))
        self.pkeys.tables = {"mlx4_0": {0: 0xFFFF, 1: 0x8002, 2: 0x8003, 3: 0x7FFF}}
        self.times_opened = 0
        self.folder = Place.PARTITIONS.below(self.state_folder)

    def open_pkeys(self) -> FakePkeys:
        self.times_opened += 1
        return self.pkeys

    def start(
        self, name: str, expected: PartitionSpec | None, *addresses: str, token: int = 7
    ) -> OperationOutcome:
        parts = ((address[5:7], address[8:10], address[11]) for address in addresses)
        devices = "".join(
            HOSTDEV.format(bus=bus, slot=slot, function=function) for bus, slot, function in parts
        )
        text = leased_xml(name, token, devices)
        (outcome,) = self.perform(StartDomain(name, token, text, partition=expected))
        return outcome


@pytest.fixture
def agent(tmp_path: Path, without_kvm: None) -> VfAgent:
    return VfAgent(tmp_path)


def test_a_vf_has_its_key_from_start_to_stop(agent: VfAgent) -> None:
    assert agent.start("a", RED, "0000:00:1f.2", FIRST).error is None
    assert agent.start("b", BLUE, SECOND).error is None
    assert agent.pkeys.visible_keys(FIRST) == (0x8002, 0x7FFF)
    assert agent.pkeys.visible_keys(SECOND) == (0x8003, 0x7FFF)
    assert agent.pkeys.guids[FIRST] == RED.port_guid
    facts = agent.ask(InfinibandRequest())
    assert [(vf.machine, vf.keys) for vf in facts.vfs] == [("a", (0x8002, 0x7FFF)), ("b", (0x8003, 0x7FFF))]
    (first, second) = agent.perform(StopDomain("a", 7), StopDomain("b", 7))
    assert (first.error, second.error) == (None, None)
    assert agent.pkeys.visible_keys(FIRST) == agent.pkeys.visible_keys(SECOND) == ()
    assert list(agent.folder.iterdir()) == []


def test_a_host_without_infiniband_is_not_read(agent: VfAgent) -> None:
    assert agent.start("a", RED).error is None
    assert agent.error(StopDomain("a", 7)) is None
    assert agent.times_opened == 0
    assert not agent.folder.exists()


def test_a_start_waits_for_its_key(agent: VfAgent) -> None:
    """Without it the machine does not start: it would be on a fabric without its cluster, or on another cluster's."""
    agent.pkeys.tables["mlx4_0"] = {0: 0xFFFF}
    assert "has not given the key 0x8002 to mlx4_0" in agent.start("a", RED, FIRST).error.message
    assert agent.host.domains().find("a") is None


def test_a_start_that_fails_leaves_no_key(agent: VfAgent) -> None:
    """A VF without a machine is in no cluster's partition."""
    for step in ("define", "start"):
        agent.domains.refusals = {step: "not now"}
        assert "not now" in agent.start("a", RED, FIRST).error.message
        assert agent.pkeys.visible_keys(FIRST) == () and list(agent.folder.iterdir()) == [], step


def test_a_vf_left_by_a_crash_is_released(agent: VfAgent) -> None:
    """The host crashed under `a`; its VF goes to a machine without a partition, then to one with another."""
    agent.start("a", RED, FIRST)
    agent.host.domains().destroy("a")
    assert agent.start("c", None, FIRST).error is None
    assert agent.pkeys.visible_keys(FIRST) == ()
    agent.host.domains().destroy("c")
    assert agent.start("b", BLUE, FIRST).error is None
    assert agent.pkeys.visible_keys(FIRST) == (0x8003, 0x7FFF)
    agent.perform(StopDomain("a", 7), StopDomain("c", 7))
    assert agent.pkeys.visible_keys(FIRST) == (0x8003, 0x7FFF), (
        "who had it before takes nothing back from who has it"
    )


def test_the_vf_of_a_running_machine_is_not_reassigned(agent: VfAgent) -> None:
    """The XML of two machines names the same VF: the second start fails, the first machine keeps its key."""
    agent.start("a", RED, FIRST)
    error = agent.start("b", BLUE, FIRST).error
    assert error.message == f"the InfiniBand VF {FIRST} is in use by a (running); assign another VF to b"
    assert agent.pkeys.visible_keys(FIRST) == (0x8002, 0x7FFF)


def test_the_vf_of_a_machine_that_starts_is_not_reassigned(
    agent: VfAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the first one waits for its key, it is not active yet; the second is refused, and takes nothing back."""
    ensure, errors = agent.pkeys.ensure, list[AgentError | None]()

    def ensure_late(address: str, spec: PartitionSpec) -> Change:
        monkeypatch.setattr(agent.pkeys, "ensure", ensure)
        errors.append(agent.start("b", BLUE, FIRST).error)
        return ensure(address, spec)

    monkeypatch.setattr(agent.pkeys, "ensure", ensure_late)
    assert agent.start("a", RED, FIRST).error is None
    message = f"the InfiniBand VF {FIRST} is in use by a (starting); assign another VF to b"
    assert [error and error.message for error in errors] == [message]
    assert agent.pkeys.visible_keys(FIRST) == (0x8002, 0x7FFF)
    assert [path.name for path in agent.folder.iterdir()] == ["a"]


def test_a_machine_with_another_vf(agent: VfAgent) -> None:
    agent.start("a", RED, FIRST)
    agent.perform(StopDomain("a", 7))
    agent.start("a", RED, FIRST, token=8)
    agent.perform(StopDomain("a", 8))
    assert agent.start("a", RED, SECOND, token=9).error is None
    assert agent.pkeys.visible_keys(FIRST) == ()
    assert agent.pkeys.visible_keys(SECOND) == (0x8002, 0x7FFF)


def test_two_vfs_raise_an_error(agent: VfAgent) -> None:
    assert f"its XML has {FIRST} and {SECOND}" in agent.start("a", RED, FIRST, SECOND).error.message


def test_an_invalid_address(agent: VfAgent) -> None:
    text = leased_xml("a", 7, HOSTDEV.format(bus="zz", slot="00", function="1"))
    error = agent.error(StartDomain("a", 7, text, partition=RED))
    assert error.message == "the domain XML has a PCI address whose bus is '0xzz'"


def test_after_a_reboot_the_hook_restores_the_partition(tmp_path: Path) -> None:
    """mlx4 has lost its maps; the start by libvirt fails while the key is missing."""
    tree = AdapterTree(tmp_path / "sys")
    tree.add_adapter("mlx4_0", "0000:03:00", 1)
    tree.set_keys("mlx4_0", 0xFFFF, 0x8002)
    driver = Pkeys(tree.sysfs, deadline_seconds=0.2)
    host = Host(tmp_path / "state", open_pkeys=lambda: driver)
    restore_partition(host, "a")
    (tmp_path / "state/partitions").mkdir(parents=True)
    (tmp_path / "state/partitions/a").write_text(
        '{"functions": ["0000:03:00.1"], "wanted": {"pkey": 2, "membership": "full", "node_guid": "02000000000000a0",'
        ' "port_guid": "02000000000000a1", "manager_sees_machines": false}}'
    )
    restore_partition(host, "a")
    assert driver.visible_keys(FIRST) == (0x8002,)
    driver.clear(FIRST)
    tree.set_keys("mlx4_0", 0xFFFF)
    refused(StateError, "has not given the key 0x8002", restore_partition, host, "a")
    assert driver.visible_keys(FIRST) == ()


def test_a_vf_in_use_is_not_tried(agent: VfAgent) -> None:
    agent.start("a", RED, FIRST)
    refused(StateError, f"{FIRST} is in use by a; name a free VF", agent.ask, InfinibandRequest(FIRST))


DAMAGED = [b"", b"{", b"null", b"[]", b'{"functions":null}', b'{"functions":["x"]}', b"\xff", b"[" * 100_000]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: ascii(content[:20]))
def test_a_damaged_record_is_not_forgotten(agent: VfAgent, content: bytes) -> None:
    """The VF still has a key: its machine does not start again until the file is settled; others start and stop."""
    assert agent.start("a", RED, FIRST).error is None
    path = agent.folder / "a"
    path.write_bytes(content)
    (stopped,) = agent.perform(StopDomain("a", 7))
    assert stopped.error is None
    assert str(path) in stopped.notes[0] and "then remove the file" in stopped.notes[0]
    assert path.read_bytes() == content
    assert agent.start("b", BLUE, SECOND).error is None
    facts = agent.ask(InfinibandRequest())
    assert [line for line in facts.departures if str(path) in line]
    assert [vf.machine for vf in facts.vfs] == ["", "b"]
    assert str(path) in agent.start("a", RED, FIRST, token=9).error.message
    assert agent.perform(StopDomain("b", 7))[0].error is None
    path.unlink()
    assert agent.start("a", RED, FIRST, token=11).error is None


def test_a_record_that_is_a_fifo_is_not_waited_for(agent: VfAgent) -> None:
    assert agent.start("b", BLUE, SECOND).error is None
    os.mkfifo(agent.folder / "a")
    facts = agent.ask(InfinibandRequest())
    assert [line for line in facts.departures if "it is not a file" in line]
