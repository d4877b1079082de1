"""Sixty-four hosts at the end of long lines: four are real, the others are played, all behind one forwarder."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import forwarder, played_hosts
from bench.forwarder import Route
from bench.site import CHECKOUT, GUEST_MEMORY_MB, SSH_PORT, BenchSite, Container
from lab.namespace import last_line
from rocks.core.errors import ToolError
from rocks.fleet.wire.calls import AGENT_PROGRAM, write_request

COUNT = 64
PER_PLAYED_HOST = 8
ROUND_TRIP_MS = 50
ANSWER_MS = 50
NEAR = "near"
"""Another name of the first real host, under which it is reached without delay."""

_PLAYED = "played"
_PLAYED_KEY = "played/host_key"
_FIRST_VLAN = 100
_START_SECONDS = 20.0
_AGENT_SECONDS = 30.0


def name_of(number: int) -> str:
    """The name of the host of that number, from 1 on; the first ones are real."""
    return f"far-{number}"


def guests(site: BenchSite) -> list[str]:
    """A virtual machine on each host, in the hosts' order."""
    real = [_real_guest(number) for number in range(1, len(site.hosts) + 1)]
    return [*real, *played_guests(site, 1)]


def played_guests(site: BenchSite, per_host: int) -> list[str]:
    """As many virtual machines on each played host, at most `PER_PLAYED_HOST`."""
    computes = (COUNT - len(site.hosts)) * per_host - 1
    return [_PLAYED, *(f"vm-{_PLAYED}-{number}" for number in range(computes))]


def bring_up(site: BenchSite) -> None:
    """Start the far ends and the line, and describe hosts and guests to the cluster database."""
    played = _start_played_hosts(site)
    real = {number: (host.ssh.address, host.ssh.port) for number, host in enumerate(site.hosts, start=1)}
    routes = [
        Route((site.host_address(number), SSH_PORT), real.get(number, played))
        for number in range(1, COUNT + 1)
    ]
    arguments = [f"{ROUND_TRIP_MS}", *(route.argument for route in routes)]
    _start(site, "forwarder", arguments, forwarder.READY)
    near = Container(NEAR, site.hosts[0].ssh.address, site.hosts[0].device)
    site.add_containers([*(_container(site, number) for number in range(1, COUNT + 1)), near])
    if not site.has_vlans:
        for name in [NEAR, *(name_of(number) for number in real)]:
            site.rocks("set", "host", "attr", name, "vlan_transport", "local")
    _add_guests(site)
    _make_known(site, near)


def _make_known(site: BenchSite, near: Container) -> None:
    """Record the hosts' keys, as `rocks sync host sharedkey` would; it takes 0.5 s a host over such a line."""
    played_key = (site.folder / _PLAYED_KEY).with_suffix(".pub").read_text(encoding="ascii")
    real_keys = {number: host.ssh.host_key for number, host in enumerate(site.hosts, start=1)}
    keys = {near: site.hosts[0].ssh.host_key}
    keys |= {_container(site, number): real_keys.get(number, played_key) for number in range(1, COUNT + 1)}
    lines = [
        f"{host.name},[{host.address}]:{SSH_PORT} {' '.join(key.split()[:2])}\n" for host, key in keys.items()
    ]
    site.known_hosts.write_text("".join(lines), encoding="ascii")


def _add_guests(site: BenchSite) -> None:
    """Real guests have a VLAN each, for those of a kernel without 802.1Q reach no other host; played ones share one."""
    real = len(site.hosts)
    for number in range(1, real + 1):
        site.add_guest(_real_guest(number), name_of(number), _FIRST_VLAN + number)
    hosts = [name_of(number) for number in range(real + 1, COUNT + 1)]
    site.rocks(
        "add",
        "cluster",
        "203.0.113.9",
        str(len(hosts) * PER_PLAYED_HOST - 1),
        f"fe-name={_PLAYED}",
        "cluster-naming=yes",
        f"fe-container={hosts[0]}",
        f"container-hosts={' '.join([*hosts[1:], hosts[0]])}",
        f"mem-per-compute={GUEST_MEMORY_MB}",
        "disk-per-compute=1",
        "disk-per-frontend=1",
        f"vlan={_FIRST_VLAN}",
    )


def _real_guest(number: int) -> str:
    return f"guest-{number}"


def _container(site: BenchSite, number: int) -> Container:
    device = site.hosts[number - 1].device if number <= len(site.hosts) else "eth0"
    return Container(name_of(number), site.host_address(number), device)


def _start_played_hosts(site: BenchSite) -> tuple[str, int]:
    """Start the one process that plays hosts, with the facts of a real one; returns where it answers."""
    key, recorded = site.folder / _PLAYED_KEY, site.folder / "played" / "recorded-facts"
    site.make_key(key)
    request = write_request(played_hosts.RECORDED)
    recorded.write_bytes(site.hosts[0].machine.run([AGENT_PROGRAM], _AGENT_SECONDS, request).output)
    place = ("127.0.0.1", _free_port())
    arguments = [place[0], str(place[1]), str(key), str(site.public_key), str(recorded), str(ANSWER_MS)]
    _start(site, "played_hosts", arguments, played_hosts.READY)
    return place


def _start(site: BenchSite, module: str, arguments: Sequence[str], ready: str) -> None:
    machine = site.frontend.machine
    path = f"PYTHONPATH={CHECKOUT / 'src'}:{CHECKOUT}"
    machine.start_daemon(module, ["/usr/bin/env", path, sys.executable, "-m", f"bench.{module}", *arguments])
    log: Path = machine.log_folder / f"{module}.log"
    end_at = time.monotonic() + _START_SECONDS
    while ready not in log.read_text(encoding="utf-8", errors="replace").split():
        if machine.daemon(module) is None or time.monotonic() > end_at:
            raise ToolError(f"{module} did not start: {last_line(log)}")
        time.sleep(0.02)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
