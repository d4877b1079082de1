"""`make demo`: from an empty machine to a guest that reports its own name and MAC address, by real `rocks` commands."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import console, links, system_calls
from lab.console import Ready
from lab.demos.plan import FRONTEND, GUEST, GUESTS, Described, FrontendFacts, addresses, site_commands
from lab.guest import image
from lab.namespace import CHECKOUT, IMAGE_FOLDER
from lab.nucleus import Nucleus, unreadable_sources
from lab.progress import Progress
from lab.site import Site, SiteState
from rocks.core.errors import IncoherentError, StateError, ToolError

_DEVICES = ("rockspriv0", "rockspub0")
_CONSOLE_LOG = "/var/log/libvirt/qemu/{name}.console.log"
_COMMAND_DEADLINE_SECONDS = 180.0
_READY_DEADLINE_SECONDS = 120.0
_LEAST_FREE_BYTES = 1_500_000_000  # 1 GiB that `rocks start host vm` insists on, and the site's own 0.4 GB
_BYTES_PER_GB = 1000**3


class Demo:
    """One run of the demo on `site`; the guests' kernel lies unpacked in `kernel`, disks to copy go to `images`."""

    def __init__(self, site: Site, kernel: Path, images: Path, progress: Progress) -> None:
        self._site = site
        self._kernel = kernel
        self._images = images
        self._progress = progress
        self._print = progress.print

    def run(self) -> None:
        """Build the site and start a guest. RocksError when a step fails; another run continues from there.

        The site ends with this process until it is complete, and then runs until it is torn down.
        """
        self.build_site()
        nucleus = self._begin_nucleus()
        self._put_disks()
        self._print(f"\nThe virtual machine {GUEST}:")
        ready = self._start_guest()
        self._compare(ready)
        self.show("list", "host", "vm", "status=yes")
        if nucleus is not None:
            self._finish_nucleus(nucleus)
        self._site.machine.release()
        self._print(f"\nTimes:\n{self._progress.table()}")
        if nucleus is not None:
            self._print(nucleus.closing_text())
        self._print(_closing_text(self._site.folder))

    def _begin_nucleus(self) -> Nucleus | None:
        """Start it beside the guest; None where its account could not read the programs."""
        path = unreadable_sources()
        if path is not None:
            self._print(
                f"  without Nucleus: its user may not read {path}; to have it, run `chmod -R o+rX {CHECKOUT}`"
            )
            return None
        nucleus = Nucleus(self._site.machine)
        nucleus.begin()
        return nucleus

    def _finish_nucleus(self, nucleus: Nucleus) -> None:
        self._print("\nNucleus, by which owners use the site:")
        with self._progress.step("Nucleus: executor, web service, an owner (beside the guest's start)"):
            nucleus.finish()
        for line in nucleus.lines:
            self._print(f"  {line}")

    def build_site(self) -> None:
        """The site, described to its cluster database; nothing is started. Errors as of `run`."""
        self._check_space()
        self._print("\nThe site's daemons, on a machine with files, processes and network of its own:")
        if self._site.state() is SiteState.UNKNOWN:
            self._print("  an earlier run was interrupted; its missing programs are started again")
        self._site.bring_up(self._progress)
        machine = self._site.machine.in_network(self._make_devices)
        self._print("\nThe site, described to its cluster database:")
        begin = time.monotonic()
        self._describe(machine)
        self._progress.record("rocks: database, networks, frontend, cluster", time.monotonic() - begin)

    def _check_space(self) -> None:
        place = next(folder for folder in (self._site.folder, *self._site.folder.parents) if folder.exists())
        status = os.statvfs(place)
        free_bytes = status.f_bavail * status.f_frsize
        if free_bytes < _LEAST_FREE_BYTES and self._site.state() is not SiteState.RUNNING:
            raise StateError(
                f"the demo needs {_LEAST_FREE_BYTES / _BYTES_PER_GB:.1f} GB of disk space in {place} for its database "
                f"and its guests' disks, and {free_bytes / _BYTES_PER_GB:.1f} GB are free; remove files there"
            )

    def _make_devices(self) -> FrontendFacts:
        private, public = _DEVICES
        with self._progress.step(f"network devices {private} and {public}: bridges without uplink"):
            for name, address in zip(_DEVICES, addresses(), strict=True):
                links.ensure_bridge(name, links.alias_of(self._site.folder), address)
            has_vlans, has_filters = links.has_vlans(private), links.has_filters()
        if not has_vlans:
            self._print(
                "    this kernel has no 802.1Q VLANs (8021q): each VLAN will be a bridge of this host's own; the "
                "attribute vlan_transport=local permits that"
            )
        if not has_filters:
            self._print(
                "    this kernel cannot filter what guests send (nftables with chains of egress): each start will warn "
                "of it; the attribute vm_filter=off allows it"
            )
        cpus = len(os.sched_getaffinity(0))
        return FrontendFacts(cpus, private, public, has_vlans, has_filters, IMAGE_FOLDER)

    def _describe(self, machine: FrontendFacts) -> None:
        self.show("update", "database")
        for command in site_commands(machine, self._described()):
            self.show(*command)
        # read-only in the machine where a container engine has mounted it outside
        if "/etc/hosts" not in system_calls.mount_points_below("/etc"):
            self.show("sync", "dns")

    def _described(self) -> Described:
        described = Described(
            networks=frozenset(row["network"] for row in self.ask("list", "network")),
            hosts=frozenset(row["host"] for row in self.ask("list", "host")),
            attributes={row["attr"]: row["list"][0]["value"] for row in self.ask("list", "attr")},
        )
        if FRONTEND not in described.hosts:
            return described
        interfaces = self.ask("list", "host", "interface", FRONTEND)
        attributes = self.ask("list", "host", "attr", FRONTEND)
        return described._replace(
            frontend_interfaces=frozenset(row["iface"] for row in interfaces[0]["interface"])
            if interfaces
            else frozenset(),
            frontend_attributes={row["attr"]: row["value"] for host in attributes for row in host["attr"]},
        )

    def _put_disks(self) -> None:
        """Disks with the guest on them, where the database has them; one that is there stays."""
        with self._progress.step("guests' disks: Debian's kernel, busybox, built here"):
            base = image.ensure_base_image(self._kernel, self._images)
            for host in self.ask("list", "host", "vm", *GUESTS, "showdisks=yes"):
                row = next(iter(host["vm"]))
                place = str(row["disk"]).partition(":")[2].partition(",")[0]
                disk = self._site.machine.outside(place)
                if not disk.exists():
                    name = str(host["vm-host"])
                    image.make_disk(base, disk, name, int(row["disksize"]) * _BYTES_PER_GB)
                    self.show("set", "host", "image", str(row["host"]), place, f"vm={name}")

    def _start_guest(self) -> Ready:
        log = self._site.machine.outside(_CONSOLE_LOG.format(name=GUEST))
        begin, start = time.monotonic(), console.size_of(log)
        status = self.ask("list", "host", "vm", GUEST, "status=yes")[0]["vm"][0]["status"]
        if status == "paused":
            self.show("resume", "host", "vm", GUEST)
        elif status == "active":
            self._print("  it runs already; it reports every five seconds")
        else:
            self.show("start", "host", "vm", GUEST)
        self._progress.record(f"rocks start host vm {GUEST}", time.monotonic() - begin)
        self._print("\nIts serial console:")
        begin = time.monotonic()
        ready = console.follow_until_ready(
            log,
            start,
            _READY_DEADLINE_SECONDS,
            lambda line: self._print(f"  | {line}"),
            self._site.machine.is_running,
        )
        self._progress.record("guest: from power on to its report", time.monotonic() - begin)
        return ready

    def _compare(self, ready: Ready) -> None:
        interfaces = self.ask("list", "host", "interface", GUEST)[0]
        expected = Ready(interfaces["host"], interfaces["interface"][0]["mac"])
        if ready != expected:
            raise IncoherentError(
                f"the guest reports {ready.name} with MAC {ready.mac}; the database has {expected.name} with "
                f"MAC {expected.mac}"
            )
        self._print(f"\nAs the database has it: {expected.name} with MAC address {expected.mac}.")

    def show(self, *arguments: str) -> None:
        """Run a command as a user would, and print the command and its output."""
        self._print(f"  # bin/rocks {shlex.join(arguments)}")
        finished = self._site.rocks(arguments, _COMMAND_DEADLINE_SECONDS)
        for line in (finished.text + finished.error_text).splitlines():
            self._print(f"  {line}")
        if finished.exit_status != 0:
            raise ToolError(f"rocks {shlex.join(arguments)} ended with exit status {finished.exit_status}")

    def stop_machines(self) -> list[str]:
        """Stop the demo's own machines that run, as a user would; their names."""
        listed = self.ask("list", "host", "vm", "status=yes")
        names = [str(host["vm-host"]) for host in listed if host["vm"][0]["status"] == "active"]
        stopped = [name for name in names if name in GUESTS]
        for name in stopped:
            self.show("stop", "host", "vm", name)
        return stopped

    def ask(self, *arguments: str) -> list[dict[str, Any]]:
        """The rows of a listing, read from its JSON."""
        finished = self._site.rocks((*arguments, "json=yes"), _COMMAND_DEADLINE_SECONDS)
        if finished.exit_status != 0:
            raise ToolError(f"rocks {shlex.join(arguments)} failed: {finished.error_text}")
        rows: list[dict[str, Any]] = json.loads(finished.text or "[]")
        return rows


def _closing_text(folder: Path) -> str:
    commands: Sequence[tuple[str, str]] = (
        ("bin/rocks list cluster status=yes", "clusters and what runs of them"),
        (f"bin/rocks open host console {GUEST}", "the guest's serial console, a shell on it"),
        (f"bin/rocks start host vm {GUESTS[2]}", "another guest of the cluster"),
        (f"bin/rocks report host vm config {GUEST}", "the domain XML that libvirt gets"),
        (f"bin/rocks stop host vm {GUEST}", "switch the guest off"),
    )
    width = max(len(command) for command, _ in commands)
    lines = [f"  {command:{width}}  # {meaning}" for command, meaning in commands]
    return "\n".join(
        [
            "",
            "The site stays up, and bin/rocks in this checkout addresses it. Worth trying:",
            *lines,
            "`make demo-cluster` goes on to a cluster of Debian machines that answers by SSH.",
            f"Logs are in {folder / 'log'}. `make demo-stop` ends and removes all of it.",
        ]
    )
