"""A host that answers with an error is on: nothing is taken from it by force. And names in other case."""

import pytest

from rocks.core.errors import BusyError, HostError, RocksError, StateError
from rocks.fleet.agent_line import AnsweringError
from rocks.fleet.settings import CannotAskError
from rocks.machine import power as vm_power
from rocks.machine.leases.leases import Attempt, give_up_unused, take_free_leases
from rocks.machine.leases.records import read_leases
from rocks.machine.moves import drains as host_drains
from rocks.machine.records import load_vms
from tests.system.commands.conftest import Site
from tests.system.commands.vms.moves import unanswered

HOST = "vmc-0-0"
FORCE = ("stop", "host", "vm", "web", "force=yes", "reason=it is off")
EVACUATE = ("evacuate", "host", HOST, "reason=it is off", "to=vmc-0-1")
ANSWERS = pytest.mark.parametrize(
    "answer",
    [
        AnsweringError("the agent has a fault"),
        StateError("the agent is version 2"),
        BusyError("it is at work"),
    ],
)


@pytest.fixture
def running(vm_site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """`web` runs on the host."""
    vm_site.done("add host vm", HOST, "membership=Hosted VM", "name=web")
    vm_site.change(
        "INSERT INTO vm_leases (Name, Token, Host, State) VALUES ('web', 7, %s, 'running')", [HOST]
    )
    monkeypatch.setattr(host_drains, "_capacities", lambda *_: [])
    return vm_site


def answers(monkeypatch: pytest.MonkeyPatch, answer: RocksError) -> None:
    """What the host replies to everything."""
    monkeypatch.setattr(vm_power, "perform_operations", unanswered(answer))
    monkeypatch.setattr(host_drains, "ask_facts", lambda *_, **__: {HOST: answer})


def host_of_lease(site: Site) -> object:
    return site.database.rows("SELECT Host FROM vm_leases WHERE Name = 'web'")[0][0]


@ANSWERS
def test_force_takes_no_machine_from_a_host_that_answers(
    running: Site, monkeypatch: pytest.MonkeyPatch, answer: RocksError
) -> None:
    answers(monkeypatch, answer)
    ended = running.rocks(*FORCE)
    message = ended.err
    assert (
        ended.status == 1
        and f"its host {HOST} cannot be asked ({answer}), but may be on. Repair that" in message
    )
    assert "rocks stop host vm web force=yes host-off=yes" in message
    assert host_of_lease(running) == HOST and running.database.rows("SELECT * FROM vm_fences") == []
    assert running.rocks(*FORCE, "host-off=yes").status == 0
    assert host_of_lease(running) is None
    assert running.database.rows("SELECT Host, Token FROM vm_fences") == [(HOST, 8)]


def test_force_takes_no_machine_from_a_host_that_cannot_stop_it(
    running: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its agent has a fault, or the host is lost."""
    fault = AnsweringError("the agent has a fault")
    monkeypatch.setattr(vm_power, "perform_operations", lambda *_: [("web", fault)])
    ended = running.rocks(*FORCE)
    assert ended.status == 1 and "the agent has a fault" in ended.err
    assert host_of_lease(running) == HOST
    monkeypatch.setattr(vm_power, "perform_operations", lambda *_: [("web", HostError("no route"))])
    assert running.rocks(*FORCE).status == 0
    assert host_of_lease(running) is None


def test_a_machine_that_was_perhaps_stopped_is_not_recorded_as_running(
    running: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frontend loses the way to its host while that stops it."""
    fault = CannotAskError("this machine cannot connect to host: no file descriptor is free")
    monkeypatch.setattr(vm_power, "perform_operations", lambda *_: [("web", fault)])
    assert running.rocks("stop host vm web").status == 1
    assert running.database.rows("SELECT State FROM vm_leases WHERE Name = 'web'") == [("stopping",)]


@ANSWERS
def test_a_host_that_answers_is_not_evacuated(
    running: Site, monkeypatch: pytest.MonkeyPatch, answer: RocksError
) -> None:
    answers(monkeypatch, answer)
    message = running.refused(*EVACUATE)
    assert f"{HOST} cannot be asked ({answer}), but may be on; its machines are not taken from it" in message
    assert f"rocks evacuate host {HOST} host-off=yes" in message
    assert "web cannot start elsewhere" in running.refused(*EVACUATE, "host-off=yes")
    answers(monkeypatch, HostError("no route"))
    assert "web cannot start elsewhere" in running.refused(*EVACUATE)


def test_a_machine_whose_name_got_another_case_starts(vm_site: Site) -> None:
    """The row of its lease keeps the spelling of the first start."""
    vm_site.done("add host vm", HOST, "membership=Hosted VM", "name=web")
    for name, token in (("web", 1), ("WEB", 2)):
        attempts = [Attempt(vm) for vm in load_vms(vm_site.database, [name])]
        take_free_leases(vm_site.database, attempts)
        assert [(attempt.error, attempt.token) for attempt in attempts] == [(None, token)]
        assert read_leases(vm_site.database, [name])["web"].name == name
        give_up_unused(vm_site.database, attempts)
        vm_site.database.commit()
        if name == "web":
            assert vm_site.rocks("set host name web WEB").status == 0
