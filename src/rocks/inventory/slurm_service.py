"""The site's own Slurm: slurm.conf on this machine, and the rule for a changed set of nodes.

A running slurmctld is never asked to read a file with other nodes: it ends then (seen with 22.05.8). It is stopped
before the file is replaced, and started after that; jobs go on meanwhile. A node that a job has does not leave the
file: the job's record would have no end.

slurm.conf.pending beside the file has the hosts whose slurmd is still to be started again: a later command does that.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, NamedTuple

from rocks.core import dry_run
from rocks.core.clock import Deadline, wait_seconds
from rocks.core.errors import HostError, StateError, ToolError
from rocks.core.files import PUBLIC, draft, explain, remove_file, write_file
from rocks.core.names import printable
from rocks.core.process import run, run_checked
from rocks.core.systemd_units import runs_here
from rocks.core.values import FALSE_VALUES
from rocks.inventory.addresses import choose_address
from rocks.inventory.host_records import addresses_of_name, local_host
from rocks.inventory.loaded_host_records import load_hosts, load_interfaces, physical_hosts
from rocks.inventory.records import PRIVATE_NETWORK
from rocks.inventory.slurm_configuration import (
    LEFT_OUT,
    MARK,
    SlurmNode,
    check_named_once,
    includes_files,
    node_names,
    slurm_configuration,
)
from rocks.inventory.slurm_drains import configuration_file, drain_command, drained_nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from rocks.database.connection import Database
    from rocks.inventory.records import Host, Interface

RESTART_HOST = (
    "if systemctl cat slurmd.service >/dev/null 2>&1; then systemctl try-restart slurmd.service; fi"
)
"""On a host: its slurmd reads the new configuration; its jobs go on."""

_LOCK = "slurm.conf"
_LOCK_SECONDS = 30.0
_ATTRIBUTE = "slurm_server"
_SECONDS = 20.0
_START_SECONDS = 60.0


class SyncedSlurm(NamedTuple):
    """The file, whether it changed, and the hosts of the database whose slurmd must be started again.

    `left_out` has a sentence on each host that cannot be a node.
    """

    path: Path
    changed: bool
    hosts: tuple[str, ...]
    left_out: tuple[str, ...]


def load_configuration(database: Database) -> tuple[str, tuple[str, ...]]:
    """The text of slurm.conf as the database has it now, with the site's lines; and the hosts that are its nodes.

    StateError for a site whose frontend or hosts lack the attribute slurm_server, or have one that is no address or
    name of the frontend; and for a host that is a node of the site's lines, too, with which slurmctld does not start.
    """
    frontend = local_host(database)
    names = physical_hosts(database)
    # as the condition of the graph reads it: `no` leaves out a host whose appliance has the attribute
    hosts = [
        host
        for host in load_hosts(database, names)
        if host.attribute(_ATTRIBUTE).lower() not in ("", *FALSE_VALUES)
    ]
    interfaces = load_interfaces(database, names)
    address = _own_address(hosts, frontend, interfaces[frontend])
    nodes = [
        SlurmNode(
            host.name,
            choose_address(interfaces[host.name], PRIVATE_NETWORK),
            host.cpus,
            host.is_true("kvm"),
        )
        for host in hosts
        if host.name != frontend
    ]
    database.end_reading()
    site_file = configuration_file().parent / "site.conf"
    site_lines = _read(site_file)
    check_named_once(nodes, site_lines, str(site_file))
    text = slurm_configuration(frontend, address, nodes, site_lines)
    present = node_names(text)
    return text, tuple(node.name for node in nodes if node.name in present)


def _own_address(hosts: Sequence[Host], frontend: str, interfaces: Sequence[Interface]) -> str:
    """The frontend's address for its nodes. StateError unless each host has one of the frontend's as slurm_server."""
    given = {host.name: host.attribute(_ATTRIBUTE) for host in hosts}
    if frontend not in given:
        raise StateError(
            f"{frontend} has no Slurm of this system: rocks set host attr {frontend} slurm_server ADDRESS, with its "
            "address for the hosts"
        )
    addresses = {text: _server_address(text, frontend, interfaces) for text in dict.fromkeys(given.values())}
    for name, text in given.items():
        if not addresses[text]:
            raise StateError(
                f"{name} has the slurm_server {printable(text)[:80]}, which is no address or name of {frontend}: "
                f"rocks list host interface {frontend}, then rocks set host attr {name} slurm_server ADDRESS"
            )
    return addresses[given[frontend]] or ""


def _server_address(given: str, frontend: str, interfaces: Sequence[Interface]) -> str | None:
    """The frontend's address that an address or a name means, by the resolver; None where it is another machine's.

    The resolver is not asked for the frontend's own name: its machine may have it as 127.0.1.1.
    """
    if given.lower() == frontend.lower():
        return choose_address(interfaces, PRIVATE_NETWORK)
    meant = addresses_of_name(given)
    own = [
        (one.subnet != PRIVATE_NETWORK, one.ip) for one in interfaces if one.ip in meant and not one.is_bmc
    ]
    return min(own)[1] if own else None


def sync_slurm(database: Database) -> SyncedSlurm:
    """Have this machine's slurmctld run with the nodes of the database.

    Nodes that are no longer in the database are drained first. StateError without Slurm or its service, while one of
    them has a job, for a slurm.conf that is not of this system, and for a lost one while slurmctld runs; HostError for
    a file that cannot be written, and when slurmctld does not answer, or does not start. Then the file stays as it is,
    but for the last case.
    Two commands do it one after the other: the lock is held until the command ends, after the hosts.
    """
    database.end_reading()
    database.lock(_LOCK, _LOCK_SECONDS)
    text, hosts = load_configuration(database)
    path = configuration_file()
    if not path.parent.is_dir():
        raise StateError(
            f"{path.parent} is missing: Slurm is not installed here; rocks sync host profile localhost does that"
        )
    _check_service()
    old = _read(path)
    if old.strip() and not old.startswith(MARK):
        raise StateError(
            f"{path} is not of this system: move it away, its own lines to {path.parent}/site.conf"
        )
    if not old.strip() and _is_active():
        raise StateError(
            f"{path} is empty or missing, and slurmctld runs with its nodes: restore it from a backup; or, when "
            "no host has a job, systemctl stop slurmctld; then repeat this"
        )
    changed = old != text
    if changed:
        _free(_gone_nodes(old, text))
        store_pending(path, hosts)
    try:
        if changed:
            _replace(path, text)
    finally:
        _control("start")
    _wait_for_controller()
    pending = hosts if changed else sorted({*hosts} & {*_read(_pending_file(path)).split()})
    left_out = [line.removeprefix("# ") for line in text.splitlines() if line.startswith(LEFT_OUT)]
    return SyncedSlurm(path, changed, tuple(pending), tuple(left_out))


def store_pending(path: Path, hosts: Collection[str]) -> None:
    """Store whose slurmd is still to be started again after a change of this slurm.conf. HostError."""
    pending = _pending_file(path)
    if hosts:
        write_file(pending, "".join(f"{host}\n" for host in hosts), mode=PUBLIC)
        return
    try:
        remove_file(pending)
    except OSError as error:
        raise HostError(f"cannot remove {pending}: {explain(error, pending)}") from None


def _pending_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.pending")


def _replace(path: Path, text: str) -> None:
    """Stop slurmctld and replace the file. It is on the disk before: a full disk stops nothing."""
    try:
        with draft(path, mode=PUBLIC) as new:
            new.write(text)
            if not dry_run.is_on():
                os.fsync(new.descriptor)
            _control("stop")
    except OSError as error:
        raise HostError(f"cannot write {path}: {explain(error, path)}") from None


def _is_active() -> bool:
    with dry_run.reading():
        answer = run(("systemctl", "is-active", "--quiet", "slurmctld.service"), deadline_seconds=_SECONDS)
    return answer.exit_status == 0


def _gone_nodes(old: str, text: str) -> frozenset[str]:
    """The nodes of the old file, and of a running slurmctld, that the new text lacks. HostError."""
    former = node_names(old)
    if _is_active() and not includes_files(text):  # a node of an included file would seem to be gone
        try:
            ask = ("sinfo", "--noheader", "--all", "--Node", "--format=%N")
            with dry_run.reading():
                former |= {*run_checked(ask, deadline_seconds=_SECONDS).text.split()}
        except ToolError as error:
            raise HostError(
                f"the nodes of the running slurmctld are not known ({error}): repeat this when `sinfo` answers"
            ) from None
    return former - node_names(text)


def _read(path: Path) -> str:
    """'' when there is no such file."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(f"cannot read {path}: {error}") from None


def _free(gone: Collection[str]) -> None:
    """Drain the nodes; StateError while one of them has a job, or its epilog."""
    if not gone:
        return
    nodes = ",".join(sorted(gone))
    try:
        if other := sorted({*gone} - {*drained_nodes(sorted(gone))}):
            change = drain_command(",".join(other), "rocks sync slurm")
            if not dry_run.would(dry_run.HERE, f"run `{shlex.join(change)}`"):
                run_checked(change, deadline_seconds=_SECONDS)
        ask = ("squeue", "--noheader", f"--nodelist={nodes}", "--format=%i %N")
        with dry_run.reading():
            jobs = run_checked(ask, deadline_seconds=_SECONDS).text.strip()
    except ToolError as error:
        raise HostError(
            f"whether {nodes} still have jobs is not known ({error}): systemctl start slurmctld, then repeat this. If "
            f"it does not start with the present {configuration_file()}, as journalctl -u slurmctld says, correct "
            "that file by hand first"
        ) from None
    if jobs:
        first = jobs.splitlines()[0].split()
        drained = "a run would stop here" if dry_run.is_on() else f"{nodes}: drained"
        raise StateError(
            f"job {first[0]} still has {first[-1]}, of which Slurm would lose the end. {drained}; "
            f"when `squeue --nodelist={nodes}` is empty, repeat this"
        )


def _check_service() -> None:
    """StateError where slurmctld could not be stopped and started: its nodes would be drained for nothing."""
    if not runs_here():
        raise StateError(
            "nothing was changed: systemd does not run on this machine, and slurmctld is started by it; repeat this on "
            "a frontend that was booted with it"
        )
    with dry_run.reading():
        answer = run(("systemctl", "cat", "slurmctld.service"), deadline_seconds=_SECONDS)
    if answer.exit_status != 0:
        raise StateError(
            "nothing was changed: this machine has no service slurmctld: rocks sync host profile localhost installs it"
        )


def _control(verb: str) -> None:
    """HostError, in one line, when systemd does not do it."""
    if dry_run.would(dry_run.HERE, f"run `systemctl {verb} slurmctld.service`"):
        return
    try:
        run_checked(("systemctl", verb, "slurmctld.service"), deadline_seconds=_START_SECONDS)
    except ToolError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise HostError(f"cannot {verb} slurmctld: {reason}; journalctl -u slurmctld says why") from None


def _wait_for_controller() -> None:
    """HostError when it does not answer: systemd calls a program started that ends at once."""
    if dry_run.is_on():
        return
    deadline = Deadline(_START_SECONDS)
    while " is UP" not in run(("scontrol", "ping"), deadline_seconds=_SECONDS).text:
        if deadline.passed():
            raise HostError("slurmctld does not answer after its start: journalctl -u slurmctld says why")
        wait_seconds(0.2)
