"""The site at a glance: lines and concerns from records and facts."""

from rocks.core.check_lines import OK, WRONG, SiteCheck
from rocks.fleet.wire.facts import DomainFact, HostFacts
from rocks.leases.plan import HeldLease
from rocks.site.overview_rules import (
    ClusterLine,
    Concern,
    HostLine,
    ImageLine,
    check_concerns,
    cluster_lines,
    host_concerns,
    host_lines,
    image_concerns,
)

CONTAINERS = {"vc1": "h1", "vm-vc1-0": "h1", "vm-vc1-1": "h2", "vm-vc1-2": None}


def domain(name: str, state: str, memory_mb: int = 1024, cpus: int = 2) -> DomainFact:
    """A domain of this state."""
    return DomainFact(name, "", state, 1, memory_mb, cpus, False, True, False)


def facts(*domains: DomainFact) -> HostFacts:
    """The facts of a host with 8 processors and 16 GB."""
    return HostFacts(16000, 8, True, True, tuple(domains), (), (), load=1.5)


H1 = facts(domain("vc1", "running"), domain("vm-vc1-0", "paused", 512, 1), domain("old", "shutoff", 4096))


def test_a_host_has_its_capacity_and_what_active_machines_take() -> None:
    first, second = host_lines(["h1", "h2"], {"h1": H1, "h2": None}, CONTAINERS.values())
    assert first == HostLine("h1", "up", 8, 1.5, 16000, 1536, 3, 2, 2)
    assert second == HostLine("h2", "silent", None, None, None, None, None, None, 1)


def test_a_host_that_answers_with_an_error_is_not_silent() -> None:
    errors = {"h2": "host h2: libvirtd does not run:\nsystemctl start libvirtd"}
    (line,) = host_lines(["h2"], {"h2": None}, CONTAINERS.values(), errors)
    assert line == HostLine("h2", "error", None, None, None, None, None, None, 1)
    (found,) = host_concerns({}, [HeldLease("vm-vc1-1", "h2", "running", 1, True, True)], {}, errors)
    assert found.subject == "host h2"
    assert found.problem.startswith("cannot be asked: host h2: libvirtd does not run")
    assert found.problem.endswith("1 machine may still run there: rocks list host vm lease")


def test_machines_on_a_silent_host_are_unknown() -> None:
    members = {"vc1": (("vm-vc1-0", "vm-vc1-1", "vm-vc1-2", "vc1"), (2, 5))}
    assert cluster_lines(members, CONTAINERS, {"h1": H1, "h2": None}) == [
        ClusterLine("vc1", (2, 5), 4, 2, 1, 2)
    ]


def test_what_needs_an_operator() -> None:
    leases = [
        HeldLease("vm-vc1-1", "h2", "running", 1, True, True),
        HeldLease("gone", "h1", "running", 1, False, True),
        HeldLease("vc1", "h2", "fence", 1, True, True),
    ]
    found = host_concerns({"h2": "no route\nto host"}, leases)
    assert [one.subject for one in found] == ["host h2", "machine gone", "machine vc1"]
    assert "1 machine may still run there" in found[0].problem and "\n" not in found[0].problem
    assert "rocks stop host vm gone" in found[1].problem
    (moving,) = host_concerns({}, [HeldLease("vc1", "h1", "moving", 1, True, True, "h2")])
    assert moving.subject == "machine vc1" and "rocks move host vm vc1 h2 live=yes" in moving.problem
    assert "force=yes" not in moving.problem
    _, stuck = host_concerns({"h2": "no route"}, [HeldLease("vc1", "h1", "moving", 1, True, True, "h2")])
    assert "when h2 is certainly off: rocks stop host vm vc1 force=yes" in stuck.problem
    images = [
        ImageLine("vm-a-vol", "nas-0", "blocked", "h1", "its base is missing"),
        ImageLine("vm-b-vol", "nas-0", "NAS->VM", "h1", ""),
        ImageLine("vm-c-vol", "nas-0", "NAS<-VM", "h1", "waits for space: the pool tank"),
    ]
    assert [one.subject for one in image_concerns(images)] == ["image vm-a-vol", "image vm-c-vol"]
    checks = [SiteCheck("key", OK, "/key"), SiteCheck("space", WRONG, "0 GiB free")]
    assert check_concerns(checks, OK) == [Concern("space", "0 GiB free")]
