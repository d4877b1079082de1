"""Machines that are on no host, or on another one than they are recorded on: the error says what to do."""

from dataclasses import replace

import pytest

from rocks.core.errors import StateError
from rocks.inventory.records import Lease
from rocks.machine.converge import check_place, running_place
from rocks.machine.host.libvirt.device_xml import changed_lease
from rocks.machine.host.libvirt.domain_xml import parse_domain
from tests.unit.machines import machine


def test_a_machine_without_a_host_can_get_one() -> None:
    assert running_place(machine(), None) == "vmc-0-0"
    with pytest.raises(StateError, match="give it one: rocks set host vm web physnode=HOST"):
        running_place(replace(machine(), container=None), None)


def test_a_machine_that_may_run_elsewhere_is_stopped_first() -> None:
    check_place(machine(), Lease("web", 7, "vmc-0-0", "running"))
    with pytest.raises(StateError, match="may be running on vmc-0-1, .*: rocks stop host vm web"):
        check_place(machine(), Lease("web", 7, "vmc-0-1", "running"))


@pytest.mark.parametrize(("state", "verb"), [("starting", "start"), ("stopping", "stop")])
def test_what_completes_an_interrupted_command_is_named(state: str, verb: str) -> None:
    """The machine is locked, so that no command is at work on it."""
    with pytest.raises(StateError, match=f"web is {state}, .*: rocks {verb} host vm web completes that"):
        check_place(machine(), Lease("web", 7, "vmc-0-0", state))


def test_a_domain_of_another_program_is_ended_where_it_is() -> None:
    with pytest.raises(StateError, match="virsh destroy web on its host, then rocks start host vm web"):
        changed_lease(parse_domain("<domain type='kvm'><name>web</name></domain>"))
