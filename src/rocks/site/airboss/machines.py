"""What owners do with the machines of their clusters: list them, and switch them by `rocks set host power`.

The power of a whole cluster is one request, and the frontend finds the machines in the transaction that
checks the key: a list of the owner would be older, and has at most 256. The cluster's frontend is left on,
since an owner who switches it off from inside cannot switch it on again.
"""

from __future__ import annotations

import os
import queue
import re
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rocks.core import process
from rocks.core.errors import EXIT_SOME_HOSTS_FAILED, RocksError, StateError
from rocks.inventory.host_records import expand_selectors
from rocks.machine.listing import show_vm_states
from rocks.machine.listing_records import vm_rows
from rocks.site.airboss.audit import log_call
from rocks.site.airboss.rules import Shares

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database
    from rocks.site.airboss.audit import OwnerCall
    from rocks.site.airboss.rules import ClusterMachine

WAIT_SECONDS = 45.0
"""How long an answer waits for a start or stop; the bound of a connection is 60 s."""

_COMMAND_SECONDS = 4 * 3600.0
"""A start may wait for an image that is written back."""

_COMMANDS_AT_ONCE = 16
_COMMANDS_OF_ONE = 4
_FAILURE = re.compile(r"^Error: ([^\s:]+)[\s:]", re.MULTILINE)


def list_machines(
    database: Database, machines: Sequence[ClusterMachine], with_status: bool
) -> list[dict[str, object]]:
    """The machines as they are answered: `mac` (on the cluster's VLAN), `names`, and with `with_status` the `state`."""
    states: dict[str, str] = {}
    if with_status:
        rows = vm_rows(database, [machine.name for machine in machines])
        found = show_vm_states(database, {row.name: row.container for row in rows})
        states = {name: state.text for name, state in found.states.items()}
    listed: list[dict[str, object]] = []
    for machine in machines:
        mac = machine.macs[0] if machine.macs else ""
        listed.append({"mac": mac, "names": [machine.name, *machine.aliases]})
        if with_status:
            listed[-1]["state"] = states.get(machine.name, "")
    return listed


class Power:
    """Runs `rocks set host power` for owners, a bounded number of commands at once, for each cluster and together."""

    def __init__(self, launcher: str) -> None:
        self._launcher = launcher
        self._shares = Shares(_COMMANDS_OF_ONE, _COMMANDS_AT_ONCE, "commands at work")

    def check(self, database: Database, names: Sequence[str]) -> None:
        """StateError when the command would take a name for another host's, too."""
        if set(expand_selectors(database, list(names))) != set(names):
            raise StateError(
                "the name of a machine means other hosts of the site, too; ask the site's operators"
            )

    def switch(self, cluster: str, names: Sequence[str], action: str, call: OwnerCall) -> dict[str, object]:
        """Switch machines `on` or `off`, or `install` them; the answer: `done`, `failed`, and whether that is all yet.

        A command that takes longer than an answer may goes on (`begun`). StateError beyond the bounds.
        """
        share = ExitStack()
        share.enter_context(self._shares.held(cluster))
        outcome: queue.SimpleQueue[set[str]] = queue.SimpleQueue()

        def work() -> None:
            with share:
                outcome.put(self._run(tuple(names), action, call))

        try:
            threading.Thread(target=work, daemon=True).start()
        except BaseException:
            share.close()
            raise
        try:
            failed = outcome.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            return {"begun": list(names), "done": [], "failed": []}
        return {
            "begun": [],
            "done": [name for name in names if name not in failed],
            "failed": [name for name in names if name in failed],
        }

    def _run(self, names: tuple[str, ...], action: str, call: OwnerCall) -> set[str]:
        """The machines that failed. Why is for operators only: the text names hosts, devices and other machines."""
        try:
            finished = process.run(
                [*_outside_of_unit(), self._launcher, "set", "host", "power", *names, f"action={action}"],
                deadline_seconds=_COMMAND_SECONDS,
            )
        except RocksError as error:
            log_call(call, f"failed: {error}")
            return set(names)
        failed = set(names) if finished.exit_status else set()
        if finished.exit_status == EXIT_SOME_HOSTS_FAILED:
            failed = failed & set(_FAILURE.findall(finished.error_text)) or failed
        outcome = "done" if not failed else f"failed: {finished.error_text}"
        log_call(call, f"{outcome} (exit status {finished.exit_status})")
        return failed


def _outside_of_unit() -> list[str]:
    """How a unit of systemd starts a program without its own restrictions: it may have to start a machine here."""
    if "RUNTIME_DIRECTORY" not in os.environ:
        return []
    return ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--"]
