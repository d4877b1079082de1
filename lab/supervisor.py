"""`python3 -m lab.supervisor FOLDER NETWORK STARTER TICKS`: makes a machine's namespaces and ends them with their user.

Two processes stay. The supervisor, outside, waits for the process that started the machine and ends the machine with
it, unless the machine was released. The init process, inside, is process 1 of the machine's process namespace: it
reaps, and with it the kernel ends every process of the machine and removes mounts and network. It ends with the
supervisor. So no kill of any of them leaves a process.

NETWORK is `own`, `shared` for the starter's, or the number of a process whose network the machine joins.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path
from typing import NoReturn

from lab import device_nodes, root_folder, system_calls
from lab.namespace import CHECKOUT, Machine, Network
from lab.processes import ProcessIdentity, identify, open_handle, rename_this_process, write_record
from rocks.core.errors import RocksError

_PLACE = Path("/sys")
"""Where the new root folder is built: a folder that every machine has, whose content is not needed for it."""

_NAMESPACES = system_calls.NEW_MOUNTS | system_calls.NEW_IPC | system_calls.NEW_HOST_NAME


def supervise(machine: Machine, network: str, starter: ProcessIdentity) -> int:
    """Start the init process, record it, and wait until it or the starter ends; returns the exit status."""
    rename_this_process("rocks-superv")
    starter_handle = open_handle(starter)
    if starter_handle is None:
        return 1
    system_calls.unshare(system_calls.NEW_PROCESSES)
    alive_read, alive_write = os.pipe()
    ready_read, ready_write = os.pipe()
    number = os.fork()
    if number == 0:
        os.close(alive_write)
        _run_init(machine, network, alive_read, ready_write)
    os.close(ready_write)
    init_handle = os.pidfd_open(number)
    if os.read(ready_read, 1):
        _record(machine, number)
    _wait(machine, starter_handle, init_handle)
    os.kill(number, signal.SIGKILL)  # not waited for yet, so no other process has its number
    os.waitpid(number, 0)
    return 1


def _record(machine: Machine, number: int) -> None:
    process = identify(number)
    if process is not None:
        write_record(machine.init_record, process)


def _wait(machine: Machine, starter_handle: int, init_handle: int) -> None:
    """Until the init process has ended, or the starter of a machine that was not released."""
    poll = select.poll()
    for handle in (starter_handle, init_handle):
        poll.register(handle, select.POLLIN)
    while True:
        ended = {handle for handle, _ in poll.poll()}
        if init_handle in ended or not machine.is_released():
            return
        poll.unregister(starter_handle)


def _run_init(machine: Machine, network: str, supervisor_alive: int, ready: int) -> NoReturn:
    """Process 1: make the other namespaces, report, reap. It never returns into the supervisor's code."""
    try:
        system_calls.die_with_parent()
        if select.select([supervisor_alive], [], [], 0)[0]:
            os._exit(1)  # the supervisor had ended before
        rename_this_process("rocks-init")
        _make_namespaces(machine, network)
        events = device_nodes.open_events()
        if os.fork() == 0:
            rename_this_process("rocks-devices")
            # by the last to begin, so that a machine that is ready has all its processes
            os.write(ready, b"1")
            os.close(ready)
            device_nodes.follow(events, Path("/dev"))
        events.close()
        os.close(ready)
        _reap_for_ever()
    except BaseException as error:
        print(error if isinstance(error, RocksError) else repr(error), file=sys.stderr, flush=True)
    os._exit(1)


def _make_namespaces(machine: Machine, network: str) -> None:
    if network == Network.OWN:
        system_calls.unshare(system_calls.NEW_NETWORK)
        system_calls.set_loopback_up()
    elif network != Network.SHARED:
        system_calls.enter_network(int(network))
    system_calls.unshare(_NAMESPACES)
    system_calls.make_mounts_private()
    root_folder.build(_PLACE, machine.folder / "root", (CHECKOUT, machine.folder))
    system_calls.change_root(_PLACE)


def _reap_for_ever() -> NoReturn:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        signal.sigwait({signal.SIGCHLD})


if __name__ == "__main__":
    try:
        folder, where, starter_number, ticks = sys.argv[1:]
        sys.exit(supervise(Machine(Path(folder)), where, ProcessIdentity(int(starter_number), int(ticks))))
    except RocksError as error:
        sys.exit(str(error))
