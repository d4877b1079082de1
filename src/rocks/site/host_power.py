"""Switch physical hosts on and off: by the site's program for a host, else by its BMC."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from rocks.core import dry_run, process
from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.core.site_programs import site_program
from rocks.fleet.run_parallel import run_parallel
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.attributes.records import resolve_attribute
from rocks.inventory.attributes.secret_records import resolve_secret
from rocks.inventory.host_records import find_local_host
from rocks.inventory.power_commands import (
    CYCLE,
    INSTALL,
    ON,
    PASSWORD_VARIABLE,
    PowerControl,
    check_control,
    ipmi_arguments,
    ipmi_steps,
    reads_on,
)
from rocks.leases.lease import leases_of_hosts
from rocks.leases.plan import MOVING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database

_REQUEST_SECONDS = 30.0
_PROGRAM_SECONDS = 120.0
_HOST_SECONDS = 180.0
_THREADS = 64


def check_may_switch(
    database: Database, hosts: Sequence[str], action: str, force: bool
) -> list[PowerControl]:
    """How each of the physical hosts is switched, in their order.

    StateError, for all hosts together, when one has no power control, is this frontend, or may run a virtual machine
    or have a disk of one that may run; the last two not with `force`. UserError unless this process is root, which
    reads passwords.
    """
    if os.geteuid() != 0:
        raise UserError(
            "switching physical hosts needs their passwords, which only root reads: run it as root"
        )
    controls = read_controls(database, hosts)
    for control in controls:
        check_control(control)
    if action == ON:
        return controls
    own = find_local_host(database)
    if own in hosts:
        raise StateError(f"host {own} is this frontend: rocks does not switch it off; name the other hosts")
    held = leases_of_hosts(database, hosts)
    if held and not force:
        first = held[0]
        if first.state == MOVING:
            raise _moving_error(first.name, str(first.host), str(first.target), "its power")
        raise StateError(
            f"host {first.host} may be running the virtual machine {first.name}"
            + (f" and {len(held) - 1} more" if len(held) > 1 else "")
            + f", which would lose its power: rocks stop host vm {first.name}, or add force=yes"
        )
    served = [] if force else _served_machines(database, hosts)
    if served:
        nas, name, host, target = served[0]
        if target:
            raise _moving_error(name, host, target, "its disk")
        more = len(served) - 1
        others = (
            f" (so do {more} more machines)" if more > 1 else " (so does another machine)" if more else ""
        )
        raise StateError(
            f"{name} may be running on {host}, and has a disk on the NAS {nas}{others}: switching {nas} off "
            f"takes the disk away; rocks stop host vm {name}, or add force=yes"
        )
    return controls


def _moving_error(name: str, host: str, target: str, what: str) -> StateError:
    return StateError(
        f"{name} is moving from {host} to {target}, and may run on either, and would lose {what}: when no command is "
        f"moving it, rocks move host vm {name} {target} live=yes ends that; or add force=yes"
    )


def _served_machines(database: Database, hosts: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """(NAS, machine, host, host to which it moves or '') of machines with a disk on one of the hosts and a lease."""
    rows = database.rows(
        "SELECT MIN(s.nas_name), n.Name, l.Host, IF(l.State = 'moving', l.Target, '')"
        " FROM img_nas_server s JOIN vm_disks d ON d.ID = s.vm_disk_id"
        " JOIN vm_nodes v ON v.ID = d.Vm_Node JOIN nodes n ON n.ID = v.Node JOIN vm_leases l ON l.Name = n.Name"
        " WHERE l.State <> 'released' AND s.nas_name IN %s"
        " GROUP BY n.Name, l.Host, l.State, l.Target ORDER BY n.Name",
        [hosts],
    )
    return [(str(nas), str(name), str(host), str(target or "")) for nas, name, host, target in rows]


def read_controls(database: Database, hosts: Sequence[str]) -> list[PowerControl]:
    """How each of the hosts is switched, from its attributes."""
    commands = resolve_secret(database, "power_command", hosts)
    passwords = resolve_secret(database, "ipmi_password", hosts)
    addresses = resolve_attribute(database, "ipmi_address", hosts)
    users = resolve_attribute(database, "ipmi_user", hosts)
    return [
        PowerControl(
            host,
            commands.get(host, ""),
            addresses.get(host, ""),
            users.get(host) or KNOWN["ipmi_user"].default,
            passwords.get(host, ""),
        )
        for host in hosts
    ]


def switch_hosts(controls: Sequence[PowerControl], action: str) -> Mapping[str, RocksError]:
    """Switch the hosts, all at once; host → error."""
    jobs = {control.host: partial(_switch, control, action) for control in controls}
    results = run_parallel(jobs, threads=_THREADS, deadline_seconds=dict.fromkeys(jobs, _HOST_SECONDS))
    return {
        host: HostError(f"command failed: {result}")
        for host, result in results
        if isinstance(result, RocksError)
    }


def _switch(control: PowerControl, action: str) -> None:
    if control.command:
        _run_site_program(control, CYCLE if action == INSTALL else action)
        return
    with dry_run.reading():
        is_on = reads_on(_ask_bmc(control, "power", "status"))
    for request in ipmi_steps(action, is_on):
        if not dry_run.would(control.host, f"be sent {' '.join(request)} by IPMI"):
            _ask_bmc(control, *request)


def _run_site_program(control: PowerControl, action: str) -> None:
    try:
        arguments, variables = site_program(control.command)
    except ValueError as error:
        raise StateError(
            f"the attribute power_command of {control.host} is not a command line: {error}"
        ) from None
    if dry_run.would(control.host, f"be switched by {arguments[0]} … {action}"):
        return
    process.run_checked(
        [*arguments, action, control.host],
        deadline_seconds=_PROGRAM_SECONDS,
        environment={**os.environ, **variables},
    )


def _ask_bmc(control: PowerControl, *request: str) -> str:
    variables = {**os.environ, PASSWORD_VARIABLE: control.password}
    return process.run_checked(
        ipmi_arguments(control, *request), deadline_seconds=_REQUEST_SECONDS, environment=variables
    ).text
