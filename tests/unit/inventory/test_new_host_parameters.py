"""New hosts: the name supplies defaults, which arguments override."""

import pytest

from rocks.core.errors import UserError
from rocks.inventory.new_host_parameters import HostParameters, Membership, NewHost, plan_host

APPLIANCES = ("frontend", "compute", "vm-container", "solaris")
MEMBERSHIPS = (
    Membership(1, "Frontend", "frontend", "linux"),
    Membership(2, "Compute", "compute", "linux"),
    Membership(3, "VM Container", "vm-container", "linux"),
    Membership(4, "Sun", "solaris", "sunos"),
)


def plan(*arguments: str | None, **named: str) -> NewHost:
    """The plan for the words."""
    return plan_host(HostParameters(*arguments, **named), APPLIANCES, MEMBERSHIPS)  # type: ignore[arg-type]


def test_a_name_supplies_its_place() -> None:
    assert plan("compute-0-1") == NewHost("compute-0-1", 2, 1, 0, 1, "linux")
    assert plan("vm-container-3-14") == NewHost("vm-container-3-14", 3, 1, 3, 14, "linux")
    assert plan("Solaris-0-0") == NewHost("Solaris-0-0", 4, 1, 0, 0, "sunos")


def test_arguments_override_the_name() -> None:
    assert plan("compute-0-1", "sun", "8", "5", "6", "LINUX") == NewHost("compute-0-1", 4, 8, 5, 6, "linux")


def test_a_name_supplies_all_or_nothing() -> None:
    for name in ("compute-0", "compute-x-0", "baker-0-0", "compute-0-0-0"):
        with pytest.raises(UserError, match="membership not specified"):
            plan(name)
    with pytest.raises(UserError, match="rack not specified"):
        plan("compute-0", membership="compute")
    with pytest.raises(UserError, match="rank not specified"):
        plan("compute-0", membership="compute", rack="0")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"membership": "Cook"}, "Membership Cook is not valid."),
        ({"membership": "compute "}, "Membership compute  is not valid."),
        ({"cpus": "4097"}, 'cpus "4097" must be an integer from 1 to 4096'),
        ({"cpus": "0"}, 'cpus "0" must be an integer from 1'),
        ({"cpus": ""}, 'cpus "" must be an integer from 1'),
        ({"rack": "-1"}, 'rack "-1" must be an integer from 0'),
        ({"rank": "1000000000"}, 'rank "1000000000" must be an integer'),
        ({"os": "beos"}, 'unknown os "beos"; it must be linux or sunos'),
    ],
)
def test_invalid_arguments(named: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        plan("compute-0-0", **named)
    assert message in str(caught.value)
