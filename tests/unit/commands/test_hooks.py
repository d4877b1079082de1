"""The order of plugins, and of hooks that are rows of a command's table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rocks.commands
from rocks.commands._framework.base import Command
from rocks.commands._framework.plugins import TAIL, ordered
from rocks.commands._framework.tree import load_package, tree_folders
from rocks.commands._shared.vm_hooks import PluginHook
from rocks.core.errors import BugError, RocksError, StateError, UserError
from rocks.database.connection import Database
from rocks.inventory.records import Host, VirtualMachine
from rocks.machine.outcomes import HookResult, VmHook
from tests.command_trees import tree, write_plugin

__all__ = ["tree"]


@pytest.mark.parametrize(
    ("constraints", "order"),
    [
        ({"c": ((), ()), "a": ((), ()), "b": ((), ())}, "abc"),
        ({"a": (["c"], []), "b": ([], []), "c": ([], ["b"])}, "cab"),
        ({"b": (["nobody"], []), "a": ([], ["nobody"])}, "ab"),
        ({"a": ([TAIL], []), "z": ([], []), "b": ([TAIL, "z"], ["a"]), "m": (["z"], [])}, "zmba"),
    ],
    ids=["alphabetical", "required and preceded ones", "unknown names", "the tail"],
)
def test_the_order(constraints: dict[str, tuple[list[str], list[str]]], order: str) -> None:
    assert ordered(constraints) == list(order)


@pytest.mark.parametrize(
    "constraints",
    [
        {"a": (["b"], []), "b": (["a"], []), "c": ([], [])},
        {"a": (["a"], [])},
        {"a": ([], ["b"]), "b": ([], ["a"])},
        {"a": ([TAIL], []), "b": (["a"], [])},
    ],
)
def test_a_cycle_is_an_error_that_names_its_members(
    constraints: dict[str, tuple[list[str], list[str]]],
) -> None:
    with pytest.raises(UserError, match=re.compile(r"has a cycle: a.* drop a requires")):
        ordered(constraints)


@given(st.permutations(range(8)), st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7))))
def test_every_constraint_is_satisfied(ranks: list[int], pairs: set[tuple[int, int]]) -> None:
    pairs = {(i, j) for i, j in pairs if ranks[i] < ranks[j]}  # so drawn, no cycle is possible
    constraints = {
        str(n): (
            [str(i) for i, j in pairs if j == n and i % 2],
            [str(j) for i, j in pairs if i == n and not i % 2],
        )
        for n in range(8)
    }
    order = ordered(constraints)
    assert sorted(order) == sorted(constraints)
    assert all(order.index(str(i)) < order.index(str(j)) for i, j in pairs)


DUMP = [
    *("first-rows", "network", "distribution", "appliance", "appliance-attr", "appliance-route"),
    *("attr", "os-attr", "route", "os-route", "bootaction", "host", "interface", "host-alias"),
    *("host-partition", "vm", "host-attr", "vm-nas", "host-bootflags", "host-route", "host-key"),
    *("host-boot", "host-sriov", "host-ibport", "ib-partition", "roll", "host-roll"),
    *("firewall", "end"),
]


def plugins_of(*command_path: str) -> list[str]:
    """Names of a command's plugins, in order."""
    command: Command = load_package(command_path, tree_folders()).Command(cast("Database", None))
    return [plugin.provides() for plugin in command.loadPlugins()]


def folder_of(tree: Path, *command_path: str) -> Path:
    """A folder for plugins of a command, in another tree."""
    folder = tree.joinpath(*command_path)
    folder.mkdir(parents=True)
    return folder


def test_the_parts_of_a_dump_come_in_the_order_in_which_they_can_be_replayed() -> None:
    assert plugins_of("dump") == DUMP


def test_a_hosts_data_is_removed_after_its_virtual_machine_and_before_the_host_itself() -> None:
    order = plugins_of("remove", "host")
    others = {"alias", "attr", "boot", "bootflags", "interface", "key", "node_rolls", "partition", "route"}
    assert order[-2:] == ["node", "certificate"]
    assert others <= set(order[order.index("vm") + 1 : -1])
    assert order.index("boot_file") < order.index("interface")
    assert order.index("img-storage") < order.index("vm")


def test_a_file_of_another_tree_is_ordered_among_the_rows(tree: Path) -> None:
    folder = folder_of(tree, "dump")
    write_plugin(
        folder,
        "colour",
        "def requires(self): return ['host']\n\n    def precedes(self): return ['interface']",
    )
    order = plugins_of("dump")
    assert [name for name in order if name != "colour"] == DUMP
    assert order.index("host") < order.index("colour") < order.index("interface")


def test_a_file_cannot_have_the_name_of_a_row(tree: Path) -> None:
    folder = folder_of(tree, "remove", "host")
    write_plugin(folder, "node")
    with pytest.raises(
        UserError, match='have the name "node": one of the command\'s own and .*plugin_node.py'
    ):
        plugins_of("remove", "host")


# Plugins of commands on virtual machines: which calls they receive, and what their errors become.


COMMAND_PATH = ("start", "host", "vm")
COMMAND = cast("Any", SimpleNamespace(db=None))


def machine(name: str) -> VirtualMachine:
    host = Host(name, "Compute", "compute", 1, 0, 0, None, None, None, True)
    return VirtualMachine(host, None, 1024, 0, "hvm", "", ())


A, B, C = machine("vm-a"), machine("vm-b"), machine("vm-c")


class NodePlugin(rocks.commands.Plugin):
    """A plugin of Rocks' kind, called once per machine."""

    module_name = "plugin_allocate_one"

    def __init__(self) -> None:
        super().__init__(COMMAND)
        self.seen: list[tuple[str, int]] = []

    def run(self, node: Any) -> None:
        self.seen.append((node.name, node.vm_defs.mem))
        if node.name == "vm-b":
            raise StateError("not this one")


class AllPlugin(rocks.commands.VmPlugin):
    """A plugin that receives all machines, and fails as specified."""

    module_name = "plugin_allocate_all"

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__(COMMAND)
        self.error = error
        self.seen: list[Sequence[VirtualMachine]] = []

    def run_all(self, machines: Sequence[VirtualMachine]) -> HookResult:
        self.seen.append(machines)
        if self.error is not None:
            raise self.error
        return HookResult({"vm-b": StateError("the disk is full")}, ["vm-a"])

    def undo_all(self, machines: Sequence[VirtualMachine]) -> Mapping[str, RocksError]:
        self.seen.append(machines)
        if self.error is not None:
            raise self.error
        return {"vm-a": StateError("still mapped")}


def test_a_plugin_of_rocks_is_called_once_per_machine() -> None:
    plugin = NodePlugin()
    result = PluginHook(plugin, COMMAND_PATH).run_all([A, B, C])
    assert plugin.seen == [("vm-a", 1024), ("vm-b", 1024), ("vm-c", 1024)]
    assert [(name, str(error)) for name, error in result.failed.items()] == [("vm-b", "not this one")]
    assert list(result.changed) == ["vm-a", "vm-c"], "it may have changed what it succeeded for"
    assert PluginHook(plugin, COMMAND_PATH).undo_all([A]) == {}


def test_a_vm_plugin_receives_the_loaded_machines_at_once() -> None:
    plugin = AllPlugin()
    hook = PluginHook(plugin, COMMAND_PATH)
    result = hook.run_all([A, B])
    assert (list(result.failed), result.changed) == (["vm-b"], ["vm-a"])
    assert list(hook.undo_all([C])) == ["vm-a"]
    assert plugin.seen == [[A, B], [C]]
    assert plugin.seen[0][0] is A


@pytest.mark.parametrize(
    ("raised", "kind", "text"),
    [
        (StateError("no broker"), StateError, "no broker"),
        (
            ZeroDivisionError("x"),
            BugError,
            'the plugin "allocate_all" of "start host vm" has a fault (ZeroDivi',
        ),
        (SystemExit(0), BugError, "has a fault (SystemExit: 0; "),
    ],
)
def test_an_error_that_a_vm_plugin_raises_counts_for_each_machine(
    raised: BaseException, kind: type[RocksError], text: str
) -> None:
    hook = PluginHook(AllPlugin(raised), COMMAND_PATH)
    for errors in (hook.run_all([A, B]).failed, hook.undo_all([A, B])):
        assert list(errors) == ["vm-a", "vm-b"]
        for error in errors.values():
            assert type(error) is kind
            assert text in str(error)


class ForgetfulPlugin(rocks.commands.VmPlugin):
    """A plugin whose author forgot the return statements."""

    module_name = "plugin_allocate_forgetful"

    def run_all(self, machines: Sequence[VirtualMachine]) -> HookResult:
        return None  # type: ignore[return-value]

    def undo_all(self, machines: Sequence[VirtualMachine]) -> Mapping[str, RocksError]:
        return None  # type: ignore[return-value]


def test_a_result_of_another_type_is_a_fault_of_the_plugin() -> None:
    hook = PluginHook(ForgetfulPlugin(COMMAND), COMMAND_PATH)
    for errors in (hook.run_all([A]).failed, hook.undo_all([A])):
        assert "it returned NoneType instead of" in str(errors["vm-a"])
        assert '"allocate_forgetful"' in str(errors["vm-a"])


class NarrowPlugin(rocks.commands.VmPlugin):
    """A plugin whose author forgot the argument."""

    module_name = "plugin_allocate_narrow"

    def run_all(self) -> HookResult:  # type: ignore[override]
        return HookResult()


def test_a_plugin_that_cannot_be_called_is_named_by_its_own_file() -> None:
    error = PluginHook(NarrowPlugin(COMMAND), COMMAND_PATH).run_all([A]).failed["vm-a"]
    assert f"; {__file__}); its author must fix it" in str(error)


def test_the_base_class_is_a_hook_that_does_nothing() -> None:
    plugin: VmHook = rocks.commands.VmPlugin(COMMAND)
    assert plugin.run_all([A]) == HookResult({}, ())
    assert plugin.undo_all([A]) == {}
