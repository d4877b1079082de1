"""`rocks move host vm live=yes` from host to host: memory and disks do not pass the frontend, on real hosts."""

import re
from collections.abc import Iterator

import pytest

from rocks.fleet.wire.live_moves import DIRECT_PORTS
from tests.system.vms.live_moves import MOVE, NEW, OLD, SECONDS, VM, Counter, moments, running
from tests.system.vms.site import ADDRESSES, ThreeMachines
from tests.waiting import wait_until

_PORTS = f"{DIRECT_PORTS[0]}-{DIRECT_PORTS[-1]}"
_DROP = f"""table inet direct_moves {{
chain from_hosts {{
type filter hook input priority 0
ip daddr {ADDRESSES[NEW]} tcp dport {_PORTS} drop
}}
}}
"""
_DETOUR = (
    f"memory and disks of {VM} go through the frontend: {OLD} does not reach {NEW} directly (no transfer with"
)


@pytest.fixture
def counter(site: ThreeMachines) -> Iterator[Counter]:
    yield Counter(site)
    site.revive()


def _received(site: ThreeMachines, ports: str) -> int:
    """Bytes that open connections to these ports have received."""
    program = ["/usr/bin/ss", "--tcp", "--info", "--numeric", "--no-header", "state", "established"]
    text = site.machines["head"].run_checked([*program, ports], 30).text
    return sum(int(number) for number in re.findall(r"bytes_received:(\d+)", text))


def test_memory_and_disks_pass_the_frontend_by(counter: Counter) -> None:
    """When 10 MB have arrived on the disk, the frontend has seen hardly any of them; a lost connection then undoes it.

    The loss of the direct connection alone ends both ends, as that of a host does: the machine never runs twice.
    """
    site = counter.site
    ssh = " or ".join(
        f"( sport = :{site.ports[host]} or dport = :{site.ports[host]} )" for host in (OLD, NEW)
    )
    direct = f"sport >= :{DIRECT_PORTS[0]} and sport <= :{DIRECT_PORTS[-1]}"
    command = site.begin(MOVE)
    wait_until(moments(site, NEW)["the disk arrives"], seconds=SECONDS)
    directly, by_frontend = _received(site, direct), _received(site, ssh)
    site.machines["head"].run_checked(["/usr/bin/ss", "--kill", "--tcp", direct], 30)
    status, error = command.end(SECONDS)
    assert directly > 10_000_000 > 2_000_000 > by_frontend, (directly, by_frontend)
    assert status == 1 and "directly any more" in error and "go through the frontend" not in error, error
    assert running(site) == [OLD] and VM not in site.domains(NEW)
    assert site.lease(VM)[1:] == ("running", OLD)
    counter.counts_on(error)
    assert f"{VM} runs on {NEW} now" in site.rocks(MOVE, SECONDS).text
    assert not _received(site, direct)
    counter.counts_on()


def test_without_the_port_it_moves_through_the_frontend(site: ThreeMachines) -> None:
    """A firewall that says nothing: the command names the ports to open, and goes on."""
    site.started(VM, OLD)
    head = site.machines["head"]
    head.run_checked(["/usr/sbin/nft", "-f", "-"], 30, _DROP.encode())
    try:
        moved = site.rocks(MOVE, SECONDS)
    finally:
        head.run_checked(["/usr/sbin/nft", "delete", "table", "inet", "direct_moves"], 30)
    assert f"{VM} runs on {NEW} now" in moved.text, moved.error_text
    assert moved.error_text.count(_DETOUR) == 1, moved.error_text
    assert f"open TCP ports {_PORTS} of {ADDRESSES[NEW]} there to {OLD}" in moved.error_text
    assert running(site) == [NEW]
