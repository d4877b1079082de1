"""Hooks of commands on virtual machines: how often a machine is loaded, and what a hook finds and leaves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rocks.commands._shared import vm_removal
from rocks.database.connection import Database
from rocks.leases.lease import lock_vms
from tests.system.commands.conftest import Site

ADD = ("add", "host", "vm", "vmc-0-0", "vmc-0-1", "compute")
MACHINES = ("compute-0-0-0", "compute-0-1-0")
LOADING = "v.Mem, v.Slice, v.Virt_Type, v.cdrom_path, v.UUID, v.Restoring FROM vm_nodes"
"""Part of the statement by which `load_vms` reads machines."""

CHANGING_HOOK = """
import rocks.commands
from rocks.core.errors import StateError

class Plugin(rocks.commands.Plugin):
    def run(self, node):
        where = "WHERE n.Name = %s"
        self.db.execute("UPDATE vm_nodes v JOIN nodes n ON n.ID = v.Node SET v.Mem = 77 " + where, (node.name,))
        if node.name == {failing!r}:
            raise StateError("refused by the hook")
"""
READING_HOOK = """
import rocks.commands
from rocks.machine.outcomes import HookResult

class Plugin(rocks.commands.VmPlugin):
    def run_all(self, machines):
        with open({log!r}, "a") as file:
            file.write(" ".join(f"{{vm.name}}:{{vm.memory_mb}}" for vm in machines) + "\\n")
        return HookResult()
"""


@pytest.fixture
def machines(vm_site: Site, silent_hosts: None) -> Site:
    """Two virtual machines, each on a host that does not answer."""
    vm_site.done("set attr vm_image_directory /images")
    vm_site.done(*ADD)
    return vm_site


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many machines each statement has loaded, in order."""
    really_run = Database._run
    found: list[int] = []

    def run(database: Database, sql: str, values: Sequence[Any] = ()) -> Any:
        if LOADING in sql:
            found.append(len(values[0]))  # the set of their names
        return really_run(database, sql, values)

    monkeypatch.setattr(Database, "_run", run)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("start", "host", "vm"), 1),
        (("stop", "host", "vm"), 1),
        (("stop", "host", "vm", "terminate=yes"), 0),
        (("report", "host", "vm", "config"), 0),
        (("remove", "host", "vm"), 0),
        (("remove", "host"), 0),
    ],
    ids=str,
)
def test_a_command_loads_its_machines_once(
    machines: Site, loads: list[int], arguments: tuple[str, ...], status: int
) -> None:
    assert machines.rocks(*arguments, *MACHINES).status == status
    assert loads == [2]


def write_hook(tree: Path, command: str, name: str, text: str) -> None:
    folder = tree / command
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"plugin_{name}.py").write_text(text)


@pytest.mark.parametrize("command", ["start/host/vm", "stop/host/vm", "remove/host/vm"])
def test_a_hook_finds_what_the_one_before_it_has_changed(
    machines: Site, tree: Path, loads: list[int], tmp_path: Path, command: str
) -> None:
    log = tmp_path / "log"
    write_hook(tree, command, "allocate_1", CHANGING_HOOK.format(failing=""))
    write_hook(tree, command, "allocate_2", READING_HOOK.format(log=str(log)))
    end = ["terminate=yes"] if command.startswith("stop") else []
    machines.rocks(*command.split("/"), *MACHINES, *end)
    assert log.read_text() == "compute-0-0-0:77 compute-0-1-0:77\n"
    assert loads == [2, 2], "once for the command, and once because the first hook may have changed the rows"


def test_a_removal_loads_its_machines_under_their_locks(machines: Site, tree: Path, tmp_path: Path) -> None:
    """The command that had them locked has changed them, as a live move changes their host."""

    def lock(database: Database, names: Sequence[str]) -> Any:
        machines.change("UPDATE vm_nodes SET Mem = 77")
        return lock_vms(database, names)

    log = tmp_path / "log"
    write_hook(tree, "remove/host/vm", "reading", READING_HOOK.format(log=str(log)))
    machines.patch.setattr(vm_removal, "lock_vms", lock)
    assert machines.rocks("remove host vm", *MACHINES).status == 0
    assert log.read_text() == "compute-0-0-0:77 compute-0-1-0:77\n"


def test_a_failing_allocate_hook_leaves_no_change_for_its_machine(
    machines: Site, tree: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    write_hook(tree, "start/host/vm", "allocate_1", CHANGING_HOOK.format(failing=MACHINES[0]))
    write_hook(tree, "start/host/vm", "allocate_2", READING_HOOK.format(log=str(log)))
    ended = machines.rocks("start host vm", *MACHINES)
    assert "refused by the hook" in ended.err
    assert log.read_text() == "compute-0-1-0:77\n", "the machine that failed is left out of the next hook"
    rows = machines.database.rows("SELECT Mem FROM vm_nodes ORDER BY ID")
    assert rows == [(2048,), (77,)]


def test_a_failing_remove_hook_is_called_for_no_further_machine(
    machines: Site, tree: Path, tmp_path: Path
) -> None:
    text = CHANGING_HOOK.format(failing=MACHINES[0]) + f"        open({str(tmp_path / 'called')!r}, 'w')\n"
    write_hook(tree, "remove/host/vm", "allocate_1", text)
    assert "refused by the hook" in machines.refused("remove host vm", *MACHINES)
    assert not (tmp_path / "called").exists()
    assert machines.database.rows("SELECT DISTINCT Mem FROM vm_nodes") == [(2048,)]
