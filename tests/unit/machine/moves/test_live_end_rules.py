"""Where a machine is whose live migration was interrupted: at every combination of what both hosts report."""

from dataclasses import replace

import pytest

from rocks.core.errors import HostError
from rocks.fleet.wire.facts import DomainFact, DomainState, HostFacts, LeaseFact
from rocks.inventory.records import Lease
from rocks.leases.plan import has_arrived, is_off_on_both

LEASE = Lease("g", 7, "old", "moving", None, "new")
SILENT = HostError("the host does not answer")


def host(state: DomainState | None, token: int = 7, remembered: int = 7) -> HostFacts:
    """A host with the domain in this state; None: without it."""
    domain = DomainFact("g", "u", state or "shutoff", token, 64, 1, False, True, False, ())
    domains = () if state is None else (domain,)
    leases = (LeaseFact("g", remembered),)
    return HostFacts(1, 1, True, True, domains, (), (), leases=leases)


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (host("paused"), host("running"), True),
        (host(None, remembered=8), host("running"), True),
        (SILENT, host("running"), True),
        # it has ended or paused on the new host since
        (host(None, remembered=8), host("shutoff"), True),
        (host(None, remembered=8), host("paused"), True),
        (host("paused"), host("shutoff"), True),
        # the old host has ended the lease, which it does only when the machine has moved
        (host(None, remembered=8), host(None), True),
        (host(None, remembered=8), SILENT, True),
        # the new host alone does not end a machine that runs
        (host("running"), host("running"), False),
        (host("running", token=6), host("running"), False),
        (host("running"), SILENT, False),
        (host("paused"), host(None), False),
        (host("paused"), host("running", token=5), False),
        (host("shutoff"), host(None), False),
        (host(None), host(None), False),
        (SILENT, host(None), False),
        (host("paused"), SILENT, None),
        (SILENT, SILENT, None),
    ],
)
def test_where_it_is(
    here: HostFacts | HostError, there: HostFacts | HostError, expected: bool | None
) -> None:
    assert has_arrived(LEASE, here, there) is expected
    assert has_arrived(replace(LEASE, name="G"), here, there) is expected, "the case of a name says nothing"


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (host("shutoff"), host(None), True),
        (host(None, remembered=8), host("shutoff"), True),
        (host("paused"), host(None), False),
        (host(None), host("running"), False),
        (host(None), SILENT, False),
        (SILENT, host(None), False),
    ],
)
def test_it_is_off_on_both_when_both_say_so(
    here: HostFacts | HostError, there: HostFacts | HostError, expected: bool
) -> None:
    assert is_off_on_both("G", "old", "new", {"old": here, "new": there}) is expected
    assert not is_off_on_both("G", "old", "new", {"old": here})
