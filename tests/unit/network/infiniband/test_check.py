"""The report on a host's adapters."""

from dataclasses import replace

from rocks.fleet.wire.infiniband import InfinibandFacts, PortFact, VfFact
from rocks.network.infiniband.check import OK, UNKNOWN, WRONG, Checked, check_host, ports_of_facts
from rocks.network.infiniband.partition_plan import Port

PORT = PortFact("mlx4_0", 1, "0002c90300a1b2c3", "4: ACTIVE", (0xFFFF, 0x8002, 0x8100))
RECORDED = [Port("vmc-0-0", "mlx4_0", 1, 0x0002C90300A1B2C3)]
FUNCTION = VfFact("0000:03:00.1", "mlx4_0", 0, "index_map", (0x8002, 0x7FFF), "vm-red-0")
FREE = VfFact("0000:03:00.2", "mlx4_0", 1, "index_map", (), "")
FACTS = InfinibandFacts((PORT,), (FUNCTION, FREE), ())


def check(
    facts: InfinibandFacts, recorded: list[Port] = RECORDED, keys: tuple[int, ...] = (0x8002,)
) -> list[Checked]:
    """Two clusters, 2 and 3; vm-red-0 runs here under 2."""
    return check_host(facts, recorded, keys, {2, 3}, {"vm-red-0": 2})


def wrong(lines: list[Checked]) -> list[str]:
    return [f"{line.subject}: {line.detail}" for line in lines if line.result == WRONG]


def test_a_host_in_order() -> None:
    """A key of nobody is the operator's own."""
    lines = check(FACTS)
    assert [line.result for line in lines] == [OK] * 4
    assert lines[0].detail == "0xffff 0x8002 0x8100"
    assert lines[2].detail == "of no machine: no key"
    assert ports_of_facts("vmc-0-0", FACTS) == RECORDED


def test_ports_that_are_not_as_recorded() -> None:
    assert wrong(check(FACTS, [])) == [
        "mlx4_0 port 1: 0x0002c90300a1b2c3 is not recorded: rocks sync host ibport"
    ]
    other = [RECORDED[0]._replace(guid=5), RECORDED[0]._replace(number=2)]
    assert wrong(check(FACTS, other)) == [
        "mlx4_0 port 1: is 0x0002c90300a1b2c3, recorded as 0x0000000000000005",
        "mlx4_0 port 2: recorded as 0x0002c90300a1b2c3, but not present",
    ]
    down = replace(FACTS, ports=(replace(PORT, state="1: DOWN"),))
    assert wrong(check(down)) == ["mlx4_0 port 1: is 1: DOWN: no cable, or no subnet manager"]
    assert wrong(check(InfinibandFacts((), (), ()), [])) == ["adapters: the host has no InfiniBand port"]


def test_keys_that_are_missing_or_of_others() -> None:
    facts = replace(FACTS, ports=(replace(PORT, keys=(0xFFFF, 0x0002, 0x8003)),))
    assert wrong(check(facts)) == [
        "mlx4_0 port 1: lacks 0x8002, has 0x0002, has 0x8003: rocks sync ib partitions"
    ]


def test_functions_that_show_what_they_must_not() -> None:
    for keys in ((0x8003,), (0x8002, 0x8003), (0xFFFF, 0x8002), ()):
        facts = replace(FACTS, vfs=(replace(FUNCTION, keys=keys),))
        (line,) = wrong(check(facts))
        assert line.startswith("mlx4_0 function 0000:03:00.1: of vm-red-0 sees ")
    unseen = replace(FACTS, vfs=(replace(FUNCTION, interface="netlink", keys=None),))
    assert check(unseen)[1].result == UNKNOWN


def test_departures_are_lines_of_their_own() -> None:
    lines = check(replace(FACTS, departures=("/sys/x says 'y'",)))
    assert wrong(lines) == ["kernel's files: /sys/x says 'y'"]
